"""How a model's values are shown: whether they are pictures in [0, 1], and what their channels are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from polyvae.data.split import Split, subset

_SCANNED = 200  # examples that tell whether values lie in [0, 1] where nothing is recorded


@dataclass(frozen=True)
class Look:
    """`unit`: values in [0, 1] by what they are, so that what leaves the interval is clamped; `names`: of channels."""

    unit: bool
    names: tuple[str, ...] = ()


def look_of(source: Any, split: Split | None = None, value: str = "x") -> Look:
    """What the recipe records of its data, or else what a seeded subset of the split shows; pictures where neither."""
    spec = (getattr(getattr(source, "recipe", source), "call", None) or {}).get("spec", {})
    if spec.get("levels") is not None:
        return Look(True)
    if split is None or value not in split.tensors:
        return Look(spec == {})
    x = subset(split, _SCANNED, 0).tensors[value]
    return Look(x.dtype is torch.uint8 or bool(((x >= 0) & (x <= 1)).all()))


def part(shown: int, total: int, what: str = "examples") -> str:
    """ "2,000 of 10,000 examples", or nothing where all are shown."""
    return f"{shown:,} of {total:,} {what}" if shown < total else ""
