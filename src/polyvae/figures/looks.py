"""How a model's values are shown: whether they are pictures in [0, 1], and what columns and classes are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from polyvae.completion.errors import CODED
from polyvae.data.cuts import subset
from polyvae.data.sources import CATALOGUE
from polyvae.data.split import Split
from polyvae.evaluation.pictures import recorded_spec
from polyvae.model.spec import Spec

_SCANNED = 200  # examples that tell whether values lie in [0, 1] where nothing is recorded


@dataclass(frozen=True)
class Look:
    """`unit`: values in [0, 1] by what they are, so that what leaves the interval is clamped.

    `names`: of the channels or columns; `labels`: of the classes; empty where they have none. `codes`: by the number of
    a table's column what its codes stand for, of categories and of bits.
    """

    unit: bool
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    codes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def label(self, number: Any) -> str:
        """What a class is called."""
        return self.labels[int(number)] if 0 <= int(number) < len(self.labels) else str(number)

    def words(self, part: str = "") -> dict[str, Any]:
        """How a figure of these values shows them, and which part of the data it is."""
        return {"unit": self.unit, "names": self.names, "codes": self.codes, "part": part}


def look_of(source: Any, split: Split | None = None, value: str = "x") -> Look:
    """What a run or its recipe records of the data.

    Where the kinds of numbers are not recorded, a seeded subset of the split shows whether they lie in [0, 1]; without
    a split, pictures do.
    """
    spec = recorded_spec(source)
    labels = () if spec is None else spec.labels or ()
    columns = () if spec is None else spec.columns
    names = names_of(spec, ((getattr(source, "description", {}).get("data") or {}).get("call") or {}).get("name"))
    if spec is not None and (columns or spec.levels is not None):
        coded = columns if len(spec.x) == 1 else ()
        codes = {str(n): column.labels or ("0", "1") for n, column in enumerate(coded) if column.kind in CODED}
        return Look(spec.unit, names, labels, codes)
    if split is None or value not in split.tensors:
        return Look(spec is None, names, labels)
    x = subset(split, _SCANNED, 0).tensors[value]
    return Look(x.dtype is torch.uint8 or bool(((x >= 0) & (x <= 1)).all()), names, labels)


def names_of(spec: Spec | None, data: Any = None) -> tuple[str, ...]:
    """The names of channels or columns, those of the library's own `data` of fields too; empty where they have none."""
    columns = () if spec is None else spec.columns
    if spec is None or not any(column.name for column in columns):
        channels = CATALOGUE[data].channels if isinstance(data, str) and data in CATALOGUE else ()
        return channels if spec is not None and len(channels) == spec.x[0] else ()
    noun = "channel" if len(spec.x) > 1 else "column"
    return tuple(column.name or f"{noun} {place}" for place, column in enumerate(columns))


def part(shown: int, total: int, what: str = "examples") -> str:
    """ "2,000 of 10,000 examples", or nothing where all are shown."""
    return f"{shown:,} of {total:,} {what}" if shown < total else ""
