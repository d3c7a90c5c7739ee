"""What every reader returns: arrays by name, what each feature of x was in the source, and the names behind codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.columns.gaps import kept_cells, kept_rows
from polyvae.data.columns.labels import KNOWN, told
from polyvae.data.columns.roles import FEW, label_column, modelled
from polyvae.data.columns.rounding import exact
from polyvae.data.errors import DataError

KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float", "U": "text", "O": "text"}


@dataclass(frozen=True)
class Feature:
    """One feature of x (a table's column, a field's channel) as it was in the source.

    `dtype`: "bool", "int", "float" or "text". `labels`: the sorted distinct values of a text, whose indices x holds.
    """

    name: str
    dtype: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Arrays by name, x [N, ...] among them, and what their values do not tell.

    `features`: one for each feature along dimension 1 of a table x [N, d] or of fields; empty for pictures. `labels`:
    names of the classes 0..K-1 of y, None if they have only numbers. `notes`: what a reader left out, in sentences.
    `label`: the name of the column that became y.
    """

    arrays: Mapping[str, np.ndarray]
    features: tuple[Feature, ...] = ()
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    label: str | None = None


def numbered_features(x: np.ndarray, dtype: np.dtype) -> tuple[Feature, ...]:
    """The features of a table x [N, d] or [N] without names, called by their index; none for pictures."""
    count = 0 if x.ndim not in (1, 2) else 1 if x.ndim == 1 else x.shape[1]
    return tuple(Feature(str(place), KINDS[dtype.kind]) for place in range(count))


def assembled(
    columns: Mapping[str, np.ndarray],
    gaps: Mapping[str, np.ndarray],
    label: str | None,
    where: str | Path,
    skip_bad: bool = False,
    first: Table | None = None,
    keep: bool = False,
) -> Table:
    """The table of named columns [N] of numbers, truth values or text: x [N, d], and y int64 [N] if labelled.

    `gaps`: which cells of a column are missing, bool [N]; their contents are not read. With `keep` the others of their
    row are kept, and `seen`, bool [N, d], says which cells are there. x is float32, or wider if
    float32 loses digits (`exact`). `label` names the column of labels; by default the one called label or class, or y
    if its values may be classes; "" means none. Text becomes categories, numbered by its sorted values. Left out, with
    a note: an index that pandas wrote, text of more than 20 values with fewer than five cells each, and, with
    `skip_bad`, rows with a gap in the other columns. `first`: of several parts, the one that decides which columns are
    text and labels. Raises DataError for gaps, cells that are not finite, a fractional label, and a table without
    features.
    """
    if first is not None:
        label = first.label or ""
    chosen, notes = label_column(columns, gaps, label, where)
    known = None if first is None else [feature.name for feature in first.features]
    kept, left = modelled(columns, gaps, chosen, where, known)
    notes += left
    if not kept:
        expected = "at least one column of numbers or categories"
        found = f"only {sorted(columns)}" if left else "labels only"
        way = "" if chosen is None else ', or keep the labels among the features: --label "", in Python label=""'
        raise DataError(where, expected, found, f"add the columns to be modelled{way}")
    y = None if chosen is None else columns[chosen]
    seen, known_labels = None, {}
    if keep and chosen is not None and chosen in gaps and gaps[chosen].any() and y is not None:
        known_labels = told(y, ~gaps[chosen], f"{where}, column {chosen!r}")
        y, gaps = known_labels["y"], {name: gap for name, gap in gaps.items() if name != chosen}
        share = f"{int((~known_labels[KNOWN]).sum()):,} of {len(y):,}"
        notes = [*notes, f"{where}: {share} labels in the column {chosen!r} are missing, and kept as gaps"]
    if missing := {name: gap for name, gap in gaps.items() if (name in kept or name == chosen) and gap.any()}:
        if keep:
            kept, seen, note = _kept_cells(kept, missing, where)
        else:
            rows, note = kept_rows(missing, where, skip_bad)
            kept, y = {name: cells[rows] for name, cells in kept.items()}, None if y is None else y[rows]
        notes = [note, *notes]
    features, said = _coded_features(kept, where)
    notes += said
    values = np.stack([*kept.values()], 1)
    if values.dtype.kind == "f":
        notes += [
            f"{where}: the column {name!r} holds whole numbers beyond 2^53, which are told apart to 16 digits only; "
            "numbers that are names are text"
            for name, cells in kept.items()
            if _too_long(cells)
        ]
    x = _finite(values, [feature.name for feature in features], where)
    held = {"x": x} if seen is None else {"x": x, "seen": seen}
    if y is None:
        return Table(held, features, notes=tuple(notes))
    y, labels = numbered(y.astype(np.str_) if y.dtype.kind == "O" else y, f"{where}, column {chosen!r}")
    if len(np.unique(y)) < 2:  # as later data may be, whose labels are matched with those that were trained on
        notes.append(f"{where}: all labels in the column {chosen!r} are {str(labels[0] if labels else y[0])!r}")
    return Table({**held, **known_labels, "y": y}, features, labels, tuple(notes), chosen)


def _coded_features(columns: dict[str, np.ndarray], where: str | Path) -> tuple[tuple[Feature, ...], list[str]]:
    """What the columns are, and notes; text among them is replaced by the numbers of its categories."""
    features, notes = [], []
    for name, cells in columns.items():
        kind, names = KINDS[cells.dtype.kind], ()
        if kind == "text":
            names, columns[name] = _coded(cells)
            if len(names) > FEW and all(map(is_number, names)):
                said = f"{where}: the column {name!r} is text, read as {len(names):,} categories that are numbers"
                notes.append(f"{said}; pandas.to_numeric makes numbers of it")
        features.append(Feature(name, kind, names))
    return tuple(features), notes


def _kept_cells(
    columns: Mapping[str, np.ndarray], missing: Mapping[str, np.ndarray], where: str | Path
) -> tuple[dict[str, np.ndarray], np.ndarray, str]:
    """As `kept_cells`, of columns some of which miss cells."""
    gaps = {name: missing.get(name, np.zeros(len(cells), bool)) for name, cells in columns.items()}
    return kept_cells(columns, gaps, where)


def _too_long(cells: np.ndarray) -> bool:
    """Whether some of the whole numbers do not fit double precision."""
    with np.errstate(invalid="ignore"):  # 2^63 - 1 becomes 2^63, which is no int64
        return cells.dtype.kind in "iu" and bool((cells.astype(np.float64).astype(cells.dtype) != cells).any())


def _coded(cells: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """The different texts, sorted, and the index of each cell [N] among them, found without sorting the cells."""
    texts = cells.tolist()
    names = tuple(sorted(set(texts)))
    places = {name: place for place, name in enumerate(names)}
    return names, np.fromiter(map(places.__getitem__, texts), np.int64, len(texts))


def numbered(values: np.ndarray, where: str | Path) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Labels [N] as int64 0..K-1 in the order of their values, and the names of the classes unless these are 0..K-1.

    Labels are whole numbers, truth values or text; text of nothing but whole numbers is sorted as numbers. Raises
    DataError for labels that are missing or fractional.
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
    """The tables of the parts of one data set, with the same number for a label or category in all of them.

    Raises DataError, naming the part, if columns have other names, or hold text in one part only.
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
    """The table with the codes that `features` and `labels` (None: unchanged) give its categories and classes.

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
    """The index in `known` of each of the names, int64."""
    place = {name: number for number, name in enumerate(known)}
    if unknown := [name for name in names if name not in place]:
        raise DataError(where, f"one of {list(known)[:20]}", f"{unknown[:20]}", "drop these rows, or train with them")
    return np.array([place[name] for name in names], np.int64)


def _label_names(table: Table) -> tuple[str, ...] | None:
    """Names of the classes, their numbers if they have no names; None for a table without labels."""
    y = table.arrays.get("y")
    if y is None or y.ndim != 1 or y.dtype.kind not in "iu" or not len(y) or y.min() < 0:
        return None
    return table.labels or tuple(map(str, range(int(y.max()) + 1)))


def _union(names: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All names once, sorted; as numbers if all of them are numbers."""
    every = sorted({name for some in names for name in some})
    return tuple(sorted(every, key=float) if all(is_number(name) for name in every) else every)


def _finite(values: np.ndarray, names: Sequence[str], where: str | Path) -> np.ndarray:
    """The features as float32, checked to be finite; in double precision if needed, until they are `prepared`."""
    with np.errstate(over="ignore"):
        x = values.astype(np.float32)
    bad = ~np.isfinite(x)
    if not bad.any():
        return x if exact(values) else values
    row, column = np.argwhere(bad)[0]
    found = f"{values[row, column]} in row {row + 1}, column {names[column]!r} ({int(bad.sum())} in all)"
    raise DataError(where, "finite numbers (float32)", found, "rescale or drop what overflows")


def label_of(value: Any) -> str:
    """The name of a label or category: a text without spaces at its ends, a number in single precision's digits."""
    if isinstance(value, (str, bool, np.bool_)):
        return str(value).strip()
    return str(int(value)) if float(value).is_integer() else str(np.float32(value))


def is_number(text: str) -> bool:
    """Whether a text is a number as files write it; Python's own 1_000 and digits of other scripts are not."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text
