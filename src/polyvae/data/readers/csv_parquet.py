"""Tables with a header: csv (comma, semicolon or tab) and parquet, of numbers, truth values and text."""

from __future__ import annotations

import csv
import math
import warnings
from contextlib import suppress
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.columns.gaps import spread
from polyvae.data.columns.roles import FEW, is_index
from polyvae.data.columns.table import Table, assembled, is_number
from polyvae.data.errors import DataError, reading

Columns = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # cells [N] by name, and which are missing where any are

MISSING = ("", "na", "n/a", "nan", "-nan", "#n/a", "<na>", "null", "none")  # as pandas reads them, in small letters
SAMPLE = 1000  # rows by which a column is judged before the others are read
_NAMES = "write the names of the columns into the first line"
_EVEN = "give every row as many cells as the header, text with the delimiter inside in double quotes"


def table(path: str | Path, label: str | None = None, skip_bad: bool = False, keep: bool = False) -> Table:
    """The columns of a csv or parquet file: x float32 [N, d], and y int64 [N] if there is a column of labels.

    `label` as in `assembled`; with `skip_bad`, rows with a missing cell are left out and noted, with `keep` they are
    kept. Raises DataError for a missing header, rows of uneven length, missing cells, columns that mix numbers and
    text, and as `assembled`.
    """
    return assembled(*columns_of(path), label, path, skip_bad, keep=keep)


def columns_of(path: str | Path) -> Columns:
    """The columns of a csv or parquet file. Raises DataError as `table`."""
    read = _parquet if Path(path).suffix.lower() in (".parquet", ".pq") else _csv
    return read(Path(path))


def rows_of(path: str | Path) -> tuple[str, list[str], list[list[str]]]:
    """The delimiter, the names as they stand in the file and the cells of each row as text, as `columns_of` has them.

    Of a parquet file as csv would hold it, missing cells empty.
    """
    path = Path(path)
    if path.suffix.lower() in (".parquet", ".pq"):
        import pyarrow.parquet as parquet

        found = parquet.read_table(path)
        columns = [["" if cell is None else str(cell) for cell in column.to_pylist()] for column in found.columns]
        return ",", list(found.column_names), [list(row) for row in zip(*columns, strict=True)]
    with open(path, encoding="utf-8-sig", newline="") as lines:
        first = lines.readline()
        delimiter = max(",;\t", key=first.count)
        names, *rows = csv.reader(chain([first], lines), delimiter=delimiter)
        return delimiter, names, [row for row in rows if row]


def _csv(path: Path) -> Columns:
    """The columns of a csv file, numbers as int64 or float64, and which cells are missing."""
    with reading(path, "a csv table", "save it as UTF-8 text", OSError, UnicodeDecodeError, csv.Error):
        with open(path, encoding="utf-8-sig", newline="") as lines:
            first = lines.readline()
            delimiter = max(",;\t", key=first.count)
            reader = csv.reader(chain([first], lines), delimiter=delimiter)
            names = [" ".join(name.split()) if "\n" in name else name.strip() for name in next(reader, [])]
            above = reader.line_num  # of the header, whose names may have line breaks
            rows = [row for row in islice(reader, SAMPLE) if row]
        if not rows:
            raise DataError(path, "a header and at least one row", "an empty table", "give a table that is not empty")
        if not _is_header(names):
            raise DataError(path, "names of columns in the first line", f"numbers: {first.strip()[:60]}", _NAMES)
        if all(len(row) == len(names) + 1 for row in rows):
            names = ["", *names]  # as R writes its names of rows
        _check_even(path, names, rows, 0)
        if len(set(names)) < len(names):
            raise DataError(path, "a name of its own for every column", f"{names}", _NAMES)
        sample = [[cell for row in rows if not _is_missing(cell := row[place])] for place in range(len(names))]
        numbers = [place for place, cells in enumerate(sample) if all(map(is_number, cells))]
        columns: dict[int, np.ndarray] = {}
        if numbers and all(len(sample[place]) == len(rows) for place in numbers):
            with suppress(ValueError):  # a cell is missing, or a text comes later
                columns = _numbers(path, delimiter, numbers, above)
        for asked in (set(numbers), set()):  # in the end numbers among which a text comes late are text
            missed = [place for place in range(len(names)) if place not in columns]
            columns |= _cells(path, delimiter, names, missed, asked) if missed else {}
    made: dict[str, np.ndarray] = {}
    gaps: dict[str, np.ndarray] = {}
    for place, name in enumerate(names):
        cells = columns.pop(place)
        if cells.dtype.kind == "f":
            gap = np.isnan(cells)
            known = cells[~gap] if gap.any() else cells
            if not any(set(cell) & set(".eE") for cell in sample[place]):
                if (np.abs(known) < 2**53).all():
                    cells = spread(known.astype(np.int64), ~gap)
                else:  # double precision does not tell them apart
                    with suppress(ValueError, OverflowError):
                        cells = _numbers(path, delimiter, [place], above, np.int64)[place]
        else:
            missing = set() if is_index(place, name) else {cell for cell in set(cells.tolist()) if _is_missing(cell)}
            gap = np.fromiter((cell in missing for cell in cells), bool, len(cells))
            cells = cells if is_index(place, name) else _text(path, name, cells, missing, delimiter)
        made[name] = cells
        if gap.any():
            gaps[name] = gap
    return made, gaps


def _is_header(names: list[str]) -> bool:
    """Whether the first line names columns; numbers are names as 0, 1, 2, ... or beside names, such as years."""
    if names == [str(number) for number in range(len(names))]:
        return True
    numbers = [float(name) for name in names if is_number(name)]
    steps = {after - before for before, after in pairwise(numbers)}
    even = len(numbers) > 2 and len(steps) == 1 and 0 not in steps and all(number.is_integer() for number in numbers)
    return not numbers or (even and len(numbers) < len(names))


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _check_even(path: Path, names: list[str], rows: list[list[str]], before: int) -> None:
    for number, row in enumerate(rows):
        if len(row) != len(names):
            found = f"{len(row)} in row {before + number + 1}"
            raise DataError(path, f"{len(names)} cells in every row", found, _EVEN)


def _numbers(
    path: Path, delimiter: str, columns: list[int], above: int, dtype: Any = np.float64
) -> dict[int, np.ndarray]:
    """The columns below the header if all are numbers, by far the fastest way. Raises ValueError otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of blank lines
        values = np.loadtxt(
            path, dtype, delimiter=delimiter, skiprows=above, usecols=columns, ndmin=2, comments=None, quotechar='"',
            encoding="utf-8",
        )  # fmt: skip
    return {place: values[:, order] for order, place in enumerate(columns)}


def _cells(
    path: Path, delimiter: str, names: list[str], columns: list[int], numbers: set[int]
) -> dict[int, np.ndarray]:
    """Some columns [N] of the rows below the header; those in `numbers` as float64, NaN if a cell is missing.

    Text is an array of objects in which equal cells share one text; a column of `numbers` that has a text is left out.
    """
    read: dict[int, list[np.ndarray]] = {place: [] for place in columns}
    texts: dict[int, dict[str, str]] = {place: {} for place in columns}
    count = 0
    with open(path, encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        next(reader)
        while rows := list(islice(reader, SAMPLE)):
            rows = [row for row in rows if row]
            _check_even(path, names, rows, count)
            count += len(rows)
            for place in list(read):
                cells = [row[place] for row in rows]
                if place not in numbers:
                    same = texts[place]
                    read[place].append(
                        np.array([same.setdefault(cell, cell) for cell in map(str.strip, cells)], object)
                    )
                    continue
                try:
                    read[place].append(_floats(cells))
                except ValueError:
                    del read[place]
    return {place: np.concatenate(parts) for place, parts in read.items()}


def _floats(cells: list[str]) -> np.ndarray:
    """Cells as float64, NaN for missing ones. Raises ValueError for text."""
    whole = "".join(cells)
    if "_" in whole or not whole.isascii():
        raise ValueError(whole)  # which Python might read as a number, see `is_number`
    try:
        return np.array([*map(float, cells)])
    except ValueError:
        return np.array([math.nan if _is_missing(cell) else float(cell) for cell in cells])


def _text(path: Path, name: str, cells: np.ndarray, missing: set[str], delimiter: str) -> np.ndarray:
    """A column of text, as truth values if that is what it holds; numbers in it may be categories too.

    They are if the column has few different values, whole numbers and words. Raises DataError otherwise.
    """
    distinct = set(cells.tolist()) - missing
    text = sorted(cell for cell in distinct if not is_number(cell))
    if {cell.lower() for cell in text} <= {"true", "false"} and len(text) == len(distinct):
        return np.array([cell.lower() == "true" for cell in cells])
    place = f"{path}, column {name!r}"
    if delimiter != "," and all(is_number(cell.replace(",", ".", 1)) for cell in text):
        raise DataError(place, "numbers with a decimal point", f"{text[0]!r}", "save the table with decimal points")
    whole = all(float(cell).is_integer() for cell in distinct.difference(text))
    named = all(any(map(str.isalnum, cell)) for cell in text)
    if len(text) < len(distinct) and not (len(distinct) <= FEW and whole and named):
        words = set(text)  # np.isin of objects compares all with all
        among = np.fromiter((cell in words for cell in cells), bool, len(cells))
        row = int(among.argmax())
        found = f"{cells[row]!r} in row {row + 1} ({among.sum():,} texts in {len(cells):,} cells)"
        raise DataError(place, "numbers throughout, or text throughout", found, "write all its cells alike")
    return cells


def _parquet(path: Path) -> Columns:
    """The columns of a parquet file in their own types, and which cells are missing."""
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
    columns: dict[str, np.ndarray] = {}
    gaps: dict[str, np.ndarray] = {}
    for place, name in enumerate(names):
        cells, kind = found.column(name), found.schema.field(name).type
        gaps[name] = cells.is_null(nan_is_null=True).to_numpy()
        if gaps[name].any():
            cells = cells.filter(arrow.array(~gaps[name]))
        text = kind.value_type if arrow.types.is_dictionary(kind) else kind
        if arrow.types.is_string(text) or arrow.types.is_large_string(text):
            values = np.array(cells.to_pylist(), dtype=object)
        elif any(test(kind) for test in (arrow.types.is_integer, arrow.types.is_floating, arrow.types.is_boolean)):
            values = cells.to_numpy()
        elif is_index(place, name):
            values = np.array([str(cell) for cell in cells.to_pylist()], dtype=object)  # dates, say
        else:
            advice = "write numbers or text, or leave the column out"
            raise DataError(path, "columns of numbers or text", f"{kind} in column {name!r}", advice)
        columns[name] = spread(values, ~gaps[name])
    return columns, gaps
