"""Tables of numbers with a header: csv (comma, semicolon or tab) and parquet, with or without a column of labels."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.errors import DataError, reading

LABELS = ("label", "y", "class")
_NAMES = "write the names of the columns into the first line"
_NUMBERS = "fill or drop missing values; name the column of labels if the table has one"


def table(path: str | Path, label: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The columns of a csv or parquet file: x float32 [N, d], and y int64 [N] where there is a column of labels.

    `label` names that column; by default it is the one called label, y or class, if any; "" says that there is none.
    Labels are whole numbers or names; their sorted values are numbered from 0. Raises DataError for a missing header,
    cells that are not finite numbers, rows of uneven length, one class only, and an empty table.
    """
    if Path(path).suffix.lower() in (".parquet", ".pq"):
        return _parquet(Path(path), label)
    return _csv(Path(path), label)


def _csv(path: Path, label: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    with reading(path, "a csv table of numbers", "save it as UTF-8 text", OSError, UnicodeDecodeError, csv.Error):
        with open(path, encoding="utf-8-sig", newline="") as lines:
            first, second = lines.readline(), lines.readline()
        delimiter = max(",;\t", key=first.count)
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not second.strip():
        raise DataError(path, "a header and at least one row", "an empty table", "give a table that is not empty")
    if names != [str(number) for number in range(len(names))] and any(_is_number(name) for name in names):
        raise DataError(path, "names of columns in the first line", f"numbers: {first.strip()[:60]}", _NAMES)
    features, chosen = _columns(path, names, label)
    values = _cells(path, delimiter, features, np.float64)
    x = _checked(path, values, [names[i] for i in features])
    if chosen is None:
        return x, None
    return x, _labels(path, _cells(path, delimiter, [chosen], np.str_)[:, 0], names[chosen])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cells(path: Path, delimiter: str, columns: list[int], dtype: Any) -> np.ndarray:
    """Some columns of the rows below the header, [N, len(columns)]."""
    with reading(path, "rows of numbers as long as the header", _NUMBERS, ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of blank lines
        return np.loadtxt(
            path, dtype, delimiter=delimiter, skiprows=1, usecols=columns, ndmin=2, comments=None, quotechar='"',
            encoding="utf-8",
        )  # fmt: skip


def _parquet(path: Path, label: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(path, "pyarrow to read parquet", "none", "pip install 'polyvae[tables]'") from error
    with reading(path, "a parquet table", "save it again as parquet", OSError, arrow.ArrowException):
        columns = parquet.read_table(path)
    if not columns.num_rows:
        raise DataError(path, "at least one row", "an empty table", "give a table that is not empty")
    names = list(columns.column_names)
    features, chosen = _columns(path, names, label)
    for name in (names[i] for i in (*features, *([] if chosen is None else [chosen]))):
        if nulls := columns.column(name).null_count:
            raise DataError(path, "a value in every cell", f"{nulls} missing in column {name!r}", _NUMBERS)
    values = np.empty((columns.num_rows, len(features)))
    for place, name in enumerate(names[i] for i in features):
        kind = columns.schema.field(name).type
        if not (arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_boolean(kind)):
            raise DataError(path, "columns of numbers", f"{kind} in column {name!r}", _NUMBERS)
        values[:, place] = columns.column(name).to_numpy()
    x = _checked(path, values, [names[i] for i in features])
    if chosen is None:
        return x, None
    return x, _labels(path, np.asarray(columns.column(names[chosen]).to_pylist()), names[chosen])


def _columns(path: Path, names: list[str], label: str | None) -> tuple[list[int], int | None]:
    """Positions of the features and of the labels."""
    if len(set(names)) < len(names):
        raise DataError(path, "a name of its own for every column", f"{names}", _NAMES)
    if label and label not in names:
        raise DataError(path, f"a column of labels {label!r}", f"the columns {names}", "name one of these")
    wanted = LABELS if label is None else (label,)
    chosen = next((place for place, name in enumerate(names) if name.lower() in wanted or name == label), None)
    features = [place for place in range(len(names)) if place != chosen]
    if not features:
        raise DataError(path, "at least one column of numbers", "labels only", "add the columns to be modelled")
    return features, chosen


def _checked(path: Path, values: np.ndarray, names: list[str]) -> np.ndarray:
    """The features as float32, every one finite."""
    with np.errstate(over="ignore"):
        x = values.astype(np.float32)
    bad = ~np.isfinite(x)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        found = f"{values[row, column]} in row {row + 1}, column {names[column]!r} ({int(bad.sum())} in all)"
        raise DataError(path, "finite numbers (float32)", found, _NUMBERS)
    return x


def _labels(path: Path, values: np.ndarray, name: str) -> np.ndarray:
    """Labels numbered by their sorted values: whole numbers where all are, else names."""
    place = f"{path}, column {name!r}"
    if values.dtype.kind in "US":
        values = np.char.strip(values)
        if (missing := int((values == "").sum())) > 0:
            raise DataError(place, "a label in every row", f"{missing} missing", "drop the rows without a label")
        if all(_is_number(value) for value in np.unique(values)):
            values = values.astype(np.float64)
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.round(values))).all():
        advice = 'give label="" to keep the column among the features'
        raise DataError(place, "labels: whole numbers or names", "missing or fractional numbers", advice)
    classes, y = np.unique(values, return_inverse=True)
    if len(classes) < 2:
        raise DataError(place, "labels of two classes at least", f"only {classes[0]}", "drop the column")
    return y.astype(np.int64)
