"""Tables with a header: csv (comma, semicolon or tab) and parquet, of numbers, truth values and text."""

from __future__ import annotations

import csv
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.errors import DataError, reading
from polyvae.data.table import INDEX, Table, assembled, is_number, kept_rows

MISSING = ("", "na", "n/a", "nan", "-nan", "#n/a", "<na>", "null", "none")  # as pandas reads them, in small letters
SAMPLE = 1000  # rows by which a column is judged before the others are read
_NAMES = "write the names of the columns into the first line"
_EVEN = "give every row as many cells as the header, text with the delimiter inside in double quotes"


def table(path: str | Path, label: str | None = None, skip_bad: bool = False) -> Table:
    """The columns of a csv or parquet file: x float32 [N, d], and y int64 [N] where there is a column of labels.

    `label` as in `assembled`; with `skip_bad`, rows that lack a cell are left out and noted. Raises DataError for a
    missing header, rows of uneven length, cells that are missing, columns that mix numbers and text, and what
    `assembled` refuses.
    """
    read = _parquet if Path(path).suffix.lower() in (".parquet", ".pq") else _csv
    columns, notes = read(Path(path), skip_bad)
    return assembled(columns, label, path, notes)


def _csv(path: Path, skip_bad: bool) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns of a csv file, numbers as int64 or float64, and notes."""
    with reading(path, "a csv table", "save it as UTF-8 text", OSError, UnicodeDecodeError, csv.Error):
        with open(path, encoding="utf-8-sig", newline="") as lines:
            first = lines.readline()
            delimiter = max(",;\t", key=first.count)
            rows = [row for row in islice(csv.reader(lines, delimiter=delimiter), SAMPLE) if row]
        names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not rows:
        raise DataError(path, "a header and at least one row", "an empty table", "give a table that is not empty")
    if names != [str(number) for number in range(len(names))] and any(is_number(name) for name in names):
        raise DataError(path, "names of columns in the first line", f"numbers: {first.strip()[:60]}", _NAMES)
    if all(len(row) == len(names) + 1 for row in rows):
        names = ["", *names]  # as R writes its names of rows
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise DataError(path, f"{len(names)} cells in every row", f"{len(row)} in row {number + 1}", _EVEN)
    sample = [[row[place].strip() for row in rows] for place in range(len(names))]
    numbers = [place for place, cells in enumerate(sample) if not any(_is_text(cell) for cell in cells)]
    columns: dict[int, np.ndarray] = {}
    try:
        values = _cells(path, delimiter, numbers, np.float64)
        columns = {place: values[:, order] for order, place in enumerate(numbers)}
        rest = [place for place in range(len(names)) if place not in columns]
    except DataError:  # a cell is missing, or a text comes later
        rest = list(range(len(names)))
    columns |= dict(zip(rest, _cells(path, delimiter, rest, np.str_).T, strict=True)) if rest else {}
    keep, notes = kept_rows(_gaps(names, columns), path, skip_bad)
    columns = {place: cells[keep] for place, cells in columns.items()}
    made = {place: _numbers(path, names[place], columns[place], delimiter) for place in columns}
    for place, cells in made.items():
        plain = cells.dtype.kind == "f" and not any(set(cell) & set(".eE") for cell in sample[place])
        if plain and (np.abs(cells) < 2**53).all():
            made[place] = cells.astype(np.int64)
    if len(set(names)) < len(names):
        raise DataError(path, "a name of its own for every column", f"{names}", _NAMES)
    return {name: made[place] for place, name in enumerate(names)}, notes


def _is_text(cell: str) -> bool:
    return cell.lower() not in MISSING and not is_number(cell)


def _cells(path: Path, delimiter: str, columns: list[int], dtype: Any) -> np.ndarray:
    """Some columns of the rows below the header, [N, len(columns)]."""
    with reading(path, "rows as long as the header", _EVEN, ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of blank lines
        return np.loadtxt(
            path, dtype, delimiter=delimiter, skiprows=1, usecols=columns, ndmin=2, comments=None, quotechar='"',
            encoding="utf-8",
        )  # fmt: skip


def _gaps(names: list[str], columns: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
    """Which cells of each column are missing."""
    found: dict[str, np.ndarray] = {}
    for place, cells in columns.items():
        if cells.dtype.kind == "f":
            found[names[place]] = np.isnan(cells)
        else:
            index = place == 0 and INDEX.fullmatch(names[place])
            found[names[place]] = np.isin(np.char.lower(np.char.strip(cells)), () if index else MISSING)
    return found


def _numbers(path: Path, name: str, cells: np.ndarray, delimiter: str) -> np.ndarray:
    """A column of text as numbers or truth values, where that is what it holds."""
    if cells.dtype.kind == "f":
        return cells
    cells = np.char.strip(cells)
    distinct = np.unique(cells)
    text = [cell for cell in distinct.tolist() if not is_number(cell)]
    place = f"{path}, column {name!r}"
    if not text:
        return cells.astype(np.float64)
    if {cell.lower() for cell in text} <= {"true", "false"} and len(text) == len(distinct):
        return np.char.lower(cells) == "true"
    if len(text) < len(distinct):
        row = int(np.isin(cells, text).argmax())
        count = int(np.isin(cells, text).sum())
        found = f"{str(cells[row])!r} in row {row + 1} ({count:,} texts in {len(cells):,} cells)"
        raise DataError(place, "numbers throughout, or text throughout", found, "write all its cells alike")
    if delimiter != "," and all(is_number(cell.replace(",", ".", 1)) for cell in text):
        raise DataError(place, "numbers with a decimal point", f"{text[0]!r}", "save the table with decimal points")
    return cells


def _parquet(path: Path, skip_bad: bool) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns of a parquet file in their own types, and notes."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(path, "pyarrow to read parquet", "none", "pip install 'polyvae[tables]'") from error
    with reading(path, "a parquet table", "save it again as parquet", OSError, arrow.ArrowException):
        found = parquet.read_table(path)
    if not found.num_rows:
        raise DataError(path, "at least one row", "an empty table", "give a table that is not empty")
    names = list(found.column_names)
    if len(set(names)) < len(names):
        raise DataError(path, "a name of its own for every column", f"{names}", _NAMES)
    gaps = {name: found.column(name).is_null(nan_is_null=True).to_numpy() for name in names}
    keep, notes = kept_rows(
        gaps | {name: np.zeros_like(gaps[name]) for name in names if INDEX.fullmatch(name)}, path, skip_bad
    )
    found = found.filter(keep)
    columns = {}
    for name in names:
        kind = found.schema.field(name).type
        text = kind.value_type if arrow.types.is_dictionary(kind) else kind
        if arrow.types.is_string(text) or arrow.types.is_large_string(text):
            columns[name] = np.asarray(found.column(name).to_pylist(), dtype=np.str_)
        elif any(test(kind) for test in (arrow.types.is_integer, arrow.types.is_floating, arrow.types.is_boolean)):
            columns[name] = found.column(name).to_numpy()
        elif INDEX.fullmatch(name):
            columns[name] = np.zeros(found.num_rows)  # dates, say: it is left out
        else:
            advice = "write numbers or text, or leave the column out"
            raise DataError(path, "columns of numbers or text", f"{kind} in column {name!r}", advice)
    return columns, notes
