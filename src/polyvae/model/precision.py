"""Where half precision ends: networks may run in it, densities, terms and balances never do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def full(raw: Tensor) -> Tensor:
    """A tensor in single precision or better: densities and distances lose their digits in half."""
    return raw.float() if raw.dtype in (torch.float16, torch.bfloat16) else raw


def wide(x: Tensor) -> Tensor:
    """A tensor in double precision, where its device has that."""
    return x if x.device.type == "mps" else x.double()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Within it nothing is rounded to half precision, even inside an autocast region of `device`'s kind."""
    return torch.autocast(device.type, enabled=False) if _within(device) else nullcontext()


def as_here(call: Callable[..., T], device: torch.device) -> Callable[..., T]:
    """`call` as it would run here, in the autocast region around this line if there is one, from wherever it is called.

    Given to an objective that itself runs in full precision, it lets the model's networks keep theirs.
    """
    if not _within(device):
        return call
    region = torch.autocast(device.type, torch.get_autocast_dtype(device.type))
    return region(call)


def _within(device: torch.device) -> bool:
    return device.type != "meta" and torch.is_autocast_enabled(device.type)  # the meta device knows no such region
