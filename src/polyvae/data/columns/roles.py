"""The role of a table's column: the label, a feature, or not modelled."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from polyvae.data.errors import DataError

LABELS = ("label", "y", "class")  # names of the column of labels, where none is given
FEW = 20  # distinct texts that are always taken for categories
EACH = 5  # rows that a category has on average, where there are more
INDEX = re.compile(r"(|Unnamed: 0(\.\d+)*|__index_level_\d+__)")  # what pandas calls an index without a name in a file


def label_column(
    columns: Mapping[str, np.ndarray], gaps: Mapping[str, np.ndarray], label: str | None, where: str | Path
) -> tuple[str | None, list[str]]:
    """The column of labels, if any, and a note on a column y that is not one."""
    if label and label not in columns:
        raise DataError(where, f"a column of labels {label!r}", f"the columns {list(columns)}", "name one of these")
    if label is not None:
        return label or None, []
    notes: list[str] = []
    for name in (name for name in columns if name.lower() in LABELS):
        why = _no_classes(name, _held(gaps, name, columns[name])) if name.lower() == "y" else ""
        if not why:
            return name, []
        notes.append(f"{where}: the column {name!r} holds {why} and is a feature, not the label")
    return None, notes


def _no_classes(name: str, cells: np.ndarray) -> str:
    """Why the cells of a column y are measurements and not classes, in words."""
    if cells.dtype.kind not in "iuf":
        return ""
    if (cells != np.round(cells)).any():
        return "fractional numbers"
    count = len(np.unique(cells))
    if count <= min(FEW, len(cells) / EACH):
        return ""
    way = f"--label {shlex.quote(name)}, in Python label={name!r}, takes it for classes"
    return f"{count:,} different numbers in {len(cells):,} rows ({way})"


def is_index(place: int, name: str) -> bool:
    """Whether a column has a name that pandas or R give to an index."""
    return bool(INDEX.fullmatch(name)) and (place == 0 or name != "")


def modelled(
    columns: Mapping[str, np.ndarray],
    gaps: Mapping[str, np.ndarray],
    label: str | None,
    where: str | Path,
    known: Collection[str] | None = None,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns that are features, and notes on those that are left out: an index, and text that is no category.

    Text is a category if it has at most FEW different values, or EACH cells to a value, or is `known` to be one.
    """
    kept: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for place, (name, cells) in enumerate(columns.items()):
        if name == label:
            continue
        if is_index(place, name):
            notes.append(f"{where}: the column {name!r} without a name of its own is taken for an index and left out")
            continue
        if cells.dtype.kind in "UO":
            held = _held(gaps, name, cells).tolist()
            count = len(set(held))
            if count > max(FEW, len(held) / EACH) if known is None else name not in known:
                notes.append(
                    f"{where}: the column {name!r} holds {count:,} different texts in {len(held):,} rows, fewer than "
                    f"{EACH} rows to a text, and is left out"
                )
                continue
        kept[name] = cells
    return kept, notes


def _held(gaps: Mapping[str, np.ndarray], name: str, cells: np.ndarray) -> np.ndarray:
    """The cells of a column that are not missing."""
    return cells[~gaps[name]] if name in gaps and gaps[name].any() else cells
