"""What sensors have read, as a user gives it to a model that reads sensors between the points of its fields."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyvae.data.exchange.given import tensor
from polyvae.model.spec import Spec
from polyvae.observe.readings import Readings, joined


def observed_readings(sensors: Readings, spec: Spec | None, x: Any, works: Any = None) -> tuple[Tensor, Tensor]:
    """m [N, 2 C, T, P] of readings x, and of the fields, of which nothing is seen, zeros [N, C, H, W] without memory.

    `x` [N, C, P], or [N, T, C, P] with what was read at earlier times after now, which may be fewer than the model
    reads; NaN where one is missing. `works` of that shape, or with rows, times or channels of one for all: booleans or
    zeros and ones. Raises ValueError for other shapes, and for readings that work and are not finite.
    """
    if spec is None:
        raise ValueError("a recipe with objects of your own does not record the shape of its fields: complete by a run")
    channels, count, times = spec.x[0], len(sensors.coordinates), sensors.history
    read = tensor(x)
    read = read.unsqueeze(1) if read.ndim == 3 else read
    wanted = f"[N, {channels}, {count}]" if times == 1 else f"[N, {times} or fewer, {channels}, {count}]"
    if read.ndim != 4 or not len(read) or tuple(read.shape[2:]) != (channels, count) or not 0 < read.shape[1] <= times:
        raise ValueError(
            f"this model reads {count} sensors, whose readings are {wanted}; got {list(tensor(x).shape)}: "
            "of whole fields, pv.observe.Readings(positions).read(x) makes them"
        )
    read = read if read.is_floating_point() else read.float()
    found = ~read.isnan() if works is None else tensor(works)
    found = found.unsqueeze(1) if found.ndim == 3 else found
    try:
        found = found.to(read.device).expand_as(read)
    except RuntimeError:
        raise ValueError(f"mask says which readings work, {wanted}; got {list(tensor(works).shape)}") from None
    if not bool(((found == 0) | (found == 1)).all()):
        raise ValueError("mask is 1 where a reading is there and 0 where it is not; it holds other numbers")
    if wrong := int(((found == 1) & ~read.isfinite()).sum()):
        raise ValueError(f"{wrong} readings are not finite; mask them, or mend them")
    m = joined(read.transpose(1, 2), found.transpose(1, 2))
    m = torch.nn.functional.pad(m, (0, 0, 0, times - read.shape[1]))  # what is not known of earlier times
    return m, read.new_zeros(()).expand(len(read), *spec.x)
