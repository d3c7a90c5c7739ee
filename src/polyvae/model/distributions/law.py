"""What the laws of this folder share: nothing is checked, and an event is summed within."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from itertools import repeat
from math import log, pi
from typing import ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, constraints

HALF_LOG_TWO_PI = 0.5 * log(2 * pi)


_SLAB = 2**17  # values per thread: what a core's cache holds


class Law(Distribution):
    """A distribution that never checks its arguments."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}  # pyright: ignore[reportAssignmentType]

    def __init__(self, batch_shape: Size, event_shape: Sequence[int] = ()) -> None:
        super().__init__(batch_shape, Size(event_shape), validate_args=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch {list(self.batch_shape)}, event {list(self.event_shape)})"


class Event(Law):
    """A law with the event sum inside; `parameter` [*batch, *event] holds all that differs between values."""

    values: constraints.Constraint = constraints.real

    def __init__(self, parameter: Tensor, event_dim: int = 1) -> None:
        if not 1 <= event_dim <= parameter.ndim:
            raise ValueError(f"event_dim must lie between 1 and {parameter.ndim}, got {event_dim}")
        self.parameter = parameter
        self._dims = tuple(range(-event_dim, 0))
        cut = parameter.ndim - event_dim
        super().__init__(parameter.shape[:cut], parameter.shape[cut:])

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> Event:
        return self._with(self.parameter.expand(Size(batch_shape) + self.event_shape))

    def unfold(self, samples: int) -> Event:
        """[K * B] -> [K, B], a view: a value [B, ...] then broadcasts instead of being copied K times."""
        return self._with(self.parameter.unflatten(0, (samples, -1)))

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self.values, len(self._dims))

    @property
    def mean(self) -> Tensor:
        return self.parameter

    def _with(self, parameter: Tensor) -> Event:
        new = copy(self)
        Event.__init__(new, parameter, len(self._dims))
        return new


def by_slabs(score: Callable[[Tensor, Tensor], Tensor], value: Tensor, parameter: Tensor) -> Tensor:
    """score(value, parameter), a slab of the first dimension at a time where that is faster.

    On a CPU the temporaries of one slab stay in the cache: about twice as fast on [4000, 784]. With gradients they must
    all be kept, and on a GPU one launch is better.
    """
    size = _SLAB * torch.get_num_threads()
    whole = parameter.device.type != "cpu" or parameter.numel() <= size or torch.compiler.is_compiling()
    if whole or (torch.is_grad_enabled() and (parameter.requires_grad or value.requires_grad)):
        return score(value, parameter)
    rows = max(1, size // parameter[0].numel())
    values: Iterable[Tensor]
    if value.ndim < parameter.ndim:
        values = repeat(value)
    elif value.shape[: value.ndim - parameter.ndim + 1] == parameter.shape[:1]:
        values = value.split(rows)
    else:
        return score(value, parameter)
    return torch.cat([score(x, p) for x, p in zip(values, parameter.split(rows), strict=False)])


def whole(law: Distribution) -> Independent:
    """The law whose event is all of its batch dimensions but the first."""
    return Independent(law, len(law.batch_shape) - 1, validate_args=False)


class SharedScale(Event):
    """A law of a loc and of one scale for all values, a tensor without dimensions."""

    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, event_dim: int = 1) -> None:
        self.scale = scale
        super().__init__(loc, event_dim)

    @property
    def loc(self) -> Tensor:
        return self.parameter
