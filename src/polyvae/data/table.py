"""What every reader returns: arrays by name, what each feature of x was in its source, the names behind the codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.errors import DataError
from polyvae.data.precision import exact

LABELS = ("label", "y", "class")  # names of the column of labels, where none is given
FEW = 20  # distinct texts that are always taken for categories
KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float", "U": "text"}
INDEX = re.compile(r"(|Unnamed: 0(\.\d+)*|__index_level_\d+__)")  # what pandas calls an index without a name in a file
_NAMES = "write the names of the columns into the first line"


@dataclass(frozen=True)
class Feature:
    """One feature of x (a table's column, a field's channel) as its source had it.

    `dtype`: "bool", "int", "float" or "text". `labels`: of a text its sorted distinct values; x holds their numbers.
    """

    name: str
    dtype: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Arrays by name, x [N, ...] among them, with what their values do not tell.

    `features`: one for each feature along dimension 1 of a table x [N, d] or of fields; empty for pictures. `labels`:
    names of the classes 0..K-1 of y, None where the numbers themselves are all there is. `notes`: what a reader left
    out, in sentences. `label`: the name of the column that y was.
    """

    arrays: Mapping[str, np.ndarray]
    features: tuple[Feature, ...] = ()
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    label: str | None = None


def numbered_features(x: np.ndarray, dtype: np.dtype) -> tuple[Feature, ...]:
    """The features of a table x [N, d] or [N] without names, called by their places; none for pictures."""
    count = 0 if x.ndim not in (1, 2) else 1 if x.ndim == 1 else x.shape[1]
    return tuple(Feature(str(place), KINDS[dtype.kind]) for place in range(count))


def assembled(
    columns: Mapping[str, np.ndarray], label: str | None, where: str | Path, said: Sequence[str] = ()
) -> Table:
    """The table of named columns [N] of numbers, truth values or text: x [N, d], and y int64 [N] if labelled.

    x is float32, or wider where that loses digits (`exact`). `label` names the column of labels; by default it is the
    one called label, y or class, if any; "" says that there is none. Text becomes categories, numbered by its sorted
    values. An index that pandas wrote, and text of which more than half the cells differ, are left out and noted, after
    what the reader has `said`. Raises DataError for cells that are not finite, a label that is missing or fractional,
    and a table without features.
    """
    chosen = _label(list(columns), label, where)
    features: list[Feature] = []
    values: list[np.ndarray] = []
    notes = list(said)
    for place, (name, cells) in enumerate(columns.items()):
        if name == chosen:
            continue
        if INDEX.fullmatch(name) and (place == 0 or name):
            notes.append(f"{where}: the column {name!r} without a name of its own is taken for an index and left out")
            continue
        kind, names = KINDS[cells.dtype.kind], np.empty(0, np.str_)
        if kind == "text":
            names, cells = np.unique(cells, return_inverse=True)
            if len(names) > max(FEW, len(cells) / 2):
                notes.append(
                    f"{where}: the column {name!r} holds {len(names):,} different texts in {len(cells):,} rows, no "
                    "categories, and is left out"
                )
                continue
        features.append(Feature(name, kind, tuple(names.tolist())))
        values.append(cells)
    if not features:
        expected = "at least one column of numbers or categories"
        found = f"only {sorted(columns)}" if notes else "labels only"
        raise DataError(where, expected, found, "add the columns to be modelled")
    x = _finite(np.stack(values, 1), [feature.name for feature in features], where)
    if chosen is None:
        return Table({"x": x}, tuple(features), notes=tuple(notes))
    y, labels = numbered(columns[chosen], f"{where}, column {chosen!r}")
    if len(np.unique(y)) < 2:  # as later data may be, whose labels are matched with those that were trained on
        notes.append(f"{where}: all labels in the column {chosen!r} are {str(labels[0] if labels else y[0])!r}")
    return Table({"x": x, "y": y}, tuple(features), labels, tuple(notes), chosen)


def numbered(values: np.ndarray, where: str | Path) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Labels [N] as int64 0..K-1 by their sorted values, and the names of the classes unless these are 0..K-1.

    Whole numbers, truth values or text; text that is whole numbers throughout is sorted as numbers. Raises DataError
    for labels that are missing or fractional.
    """
    given = values
    if values.dtype.kind == "U":
        values = given = np.char.strip(values)
        if missing := int((values == "").sum()):
            raise DataError(where, "a label in every row", f"{missing:,} missing", "drop the rows without a label")
        if all(is_number(value) for value in np.unique(values)):
            try:
                values = values.astype(np.int64)
            except ValueError:
                values = values.astype(np.float64)
    if values.dtype.kind == "f":
        if missing := int(np.isnan(values).sum()):
            raise DataError(where, "a label in every row", f"{missing:,} missing", "drop the rows without a label")
        if not (np.isfinite(values) & (values == np.round(values))).all():
            advice = 'give label="" to keep the column among the features'
            raise DataError(where, "labels: whole numbers or names", "missing or fractional numbers", advice)
        values = values.astype(np.int64)
    classes, y = np.unique(values, return_inverse=True)
    names = tuple(map(label_of, classes.tolist()))
    if given.dtype.kind == "U" and (written := _union([np.unique(given).tolist()])) != names:  # "01", "1.0"
        return _places(given.tolist(), written, str(where)), written
    plain = classes.dtype.kind in "iu" and classes[0] == 0 and classes[-1] == len(classes) - 1
    return y.astype(np.int64), None if plain else names


def alike(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Tables of the parts of one data set, with one number for a label or category in all of them.

    Raises DataError, naming the part, where columns have other names or hold text in one part only.
    """
    first, *others = tables
    for part in others:
        ours, theirs = tables[first].features, tables[part].features
        names = [[feature.name for feature in features] for features in (ours, theirs)]
        if ours and theirs and names[0] != names[1]:
            raise DataError(part, f"the columns {names[0]}, as in {first}", f"{names[1]}", "give all parts the same")
        for mine, other in zip(ours, theirs, strict=False):
            if (mine.dtype == "text") != (other.dtype == "text"):
                found = f"{other.dtype} in column {other.name!r}"
                raise DataError(part, f"{mine.dtype}, as in {first}", found, "write the column alike in all parts")
    features = [
        replace(feature, labels=_union([table.features[place].labels for table in tables.values() if table.features]))
        for place, feature in enumerate(tables[first].features)
    ]
    named = {part: _label_names(table) for part, table in tables.items()}
    labels = _union([names for names in named.values() if names is not None])
    made = {}
    for part, table in tables.items():
        made[part] = recoded(table, features, None if named[part] is None else labels, part)
        if labels == tuple(map(str, range(len(labels)))):
            made[part] = replace(made[part], labels=None)
    return made


def recoded(
    table: Table, features: Sequence[Feature], labels: tuple[str, ...] | None, where: str | Path = "data"
) -> Table:
    """The table with the numbers that `features` and `labels` (None: as they are) give its categories and classes.

    Raises DataError naming what `features` or `labels` do not know.
    """
    arrays = dict(table.arrays)
    if any(mine.labels != other.labels for mine, other in zip(table.features, features, strict=False)):
        arrays["x"] = x = arrays["x"].copy()
        for place, (mine, other) in enumerate(zip(table.features, features, strict=True)):
            if mine.labels != other.labels:
                new = _places(mine.labels, other.labels, f"{where}, column {mine.name!r}")
                x[:, place] = new[x[:, place].astype(np.int64)]
        table = replace(table, features=tuple(features))
    if labels is not None and "y" in arrays and arrays["y"].ndim == 1:
        arrays["y"] = _places(_label_names(table) or (), labels, f"{where}, labels")[arrays["y"]]
        table = replace(table, labels=labels)
    return replace(table, arrays=arrays)


def _places(names: Sequence[str], known: Sequence[str], where: str) -> np.ndarray:
    """The place in `known` of each of the names, int64."""
    place = {name: number for number, name in enumerate(known)}
    if unknown := [name for name in names if name not in place]:
        raise DataError(where, f"one of {list(known)[:20]}", f"{unknown[:20]}", "drop these rows, or train with them")
    return np.array([place[name] for name in names], np.int64)


def _label_names(table: Table) -> tuple[str, ...] | None:
    """Names of the classes, also where they are their numbers; None for a table without labels."""
    y = table.arrays.get("y")
    if y is None or y.ndim != 1 or y.dtype.kind not in "iu" or not len(y) or y.min() < 0:
        return None
    return table.labels or tuple(map(str, range(int(y.max()) + 1)))


def _union(names: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All names once, sorted: as numbers where all of them are."""
    every = sorted({name for some in names for name in some})
    return tuple(sorted(every, key=float) if all(is_number(name) for name in every) else every)


def _label(names: list[str], label: str | None, where: str | Path) -> str | None:
    """The column of labels, if any."""
    if len(set(names)) < len(names):
        raise DataError(where, "a name of its own for every column", f"{names}", _NAMES)
    if label and label not in names:
        raise DataError(where, f"a column of labels {label!r}", f"the columns {names}", "name one of these")
    if label is not None:
        return label or None
    return next((name for name in names if name.lower() in LABELS), None)


def _finite(values: np.ndarray, names: Sequence[str], where: str | Path) -> np.ndarray:
    """The features as float32, every one finite; in double precision where they need it until they are `prepared`."""
    with np.errstate(over="ignore"):
        x = values.astype(np.float32)
    bad = ~np.isfinite(x)
    if not bad.any():
        return x if exact(values) else values
    check_missing({name: int(count) for name, count in zip(names, np.isnan(values).sum(0), strict=True)}, where)
    row, column = np.argwhere(bad)[0]
    found = f"{values[row, column]} in row {row + 1}, column {names[column]!r} ({int(bad.sum())} in all)"
    raise DataError(where, "finite numbers (float32)", found, "rescale or drop what overflows")


def kept_rows(gaps: Mapping[str, np.ndarray], where: str | Path, skip_bad: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which rows [N] have a value in every cell, and with `skip_bad` a note on the others, which are left out.

    `gaps`: which cells of each column are missing, bool [N]. Raises DataError as `check_missing` where cells are
    missing and are not to be skipped, or no row would be left.
    """
    keep = ~np.logical_or.reduce(list(gaps.values()))
    if skip_bad and len(keep) and (empty := [name for name, gap in gaps.items() if gap.all()]):
        found = ", ".join(f"all {len(keep):,} missing in column {name!r}" for name in empty[:20])
        raise DataError(where, "a value in every cell", found, "drop what is empty")
    if not (skip_bad and keep.any()):
        check_missing({name: int(gap.sum()) for name, gap in gaps.items()}, where)
    left = int((~keep).sum())
    return keep, (f"{where}: {left:,} of {len(keep):,} rows lack a value, and are left out",) if left else ()


def check_missing(missing: Mapping[str, int], where: str | Path) -> None:
    """Raises DataError naming the columns in which cells are missing, with the number of these."""
    found = [f"{count:,} missing in column {name!r}" for name, count in missing.items() if count]
    if found:
        more = f" and in {len(found) - 20} more columns" if len(found) > 20 else ""
        advice = (
            "drop these rows or columns, or fill the cells, with the column's median for instance. No recipe trains on "
            "gaps: load the data without these rows (skip_bad=True), and a run of arbitrary_conditioning on the others "
            "then says what the gaps may hold: run.complete(frame)"
        )
        raise DataError(where, "a value in every cell", ", ".join(found[:20]) + more, advice)


def label_of(value: Any) -> str:
    """What a label or category is called: a text without spaces at its ends, a number as single precision has it."""
    if isinstance(value, (str, bool, np.bool_)):
        return str(value).strip()
    return str(int(value)) if float(value).is_integer() else str(np.float32(value))


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
