"""A user's table in a file as a frame with gaps, and the same table with its gaps filled."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.files.writing import replacing
from polyvae.data.readers.csv_parquet import columns_of, rows_of


@dataclass(frozen=True)
class Cells:
    """One column of a `Sheet`, with as much of the manners of polars' as reading and filling take."""

    name: str
    values: np.ndarray
    gap: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values.astype(dtype) if dtype else self.values

    def to_numpy(self) -> np.ndarray:
        return self.values

    def is_null(self) -> np.ndarray:
        return self.gap

    def clone(self) -> Cells:
        return replace(self, values=self.values.copy(), gap=self.gap.copy())

    def scatter(self, rows: np.ndarray, found: Sequence[Any]) -> Cells:
        self.values[rows], self.gap[rows] = found, False
        return self


@dataclass(frozen=True)
class Sheet:
    """The table of a csv or parquet file: a frame that needs no library of frames."""

    cells: Mapping[str, Cells] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        return list(self.cells)

    def __getitem__(self, key: Any) -> Any:
        return self.cells[key] if isinstance(key, str) else Sheet({name: self.cells[name] for name in key})

    def to_numpy(self) -> np.ndarray:
        return np.stack([each.values.astype(object) for each in self.cells.values()], 1)

    def with_columns(self, changed: Iterable[Cells]) -> Sheet:
        return Sheet({**self.cells, **{each.name: each for each in changed}})


def sheet_of(path: Path) -> Sheet:
    """The columns of a file by name, read as those that are trained on. Raises DataError."""
    columns, gaps = columns_of(path)
    none = np.zeros(len(next(iter(columns.values()))), bool)
    for name, gap in gaps.items():
        if gap.all():
            columns[name] = np.full(len(gap), np.nan, object)  # of no type: the data say what belongs there
    return Sheet({name: Cells(name, cells, gaps.get(name, none)) for name, cells in columns.items()})


def write_filled(path: Path, source: Path, before: Sheet, filled: Sheet) -> None:
    """Writes the table of the file `source` as csv with the gaps that are `filled`, other cells as they stand there.

    Truth values are written as the column has them.
    """
    delimiter, names, rows = rows_of(source)
    for place, name in enumerate(before.columns):
        rows_filled = np.flatnonzero(before[name].gap & ~filled[name].gap)
        spelt = {row[place].strip().lower(): row[place].strip() for row in rows}
        for row in rows_filled.tolist():
            text = _written(filled[name].values[row])
            rows[row][place] = spelt.get(text.lower(), text)
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows([names, *rows])


def _written(value: Any) -> str:
    """A cell as text, numbers to the seven digits that single precision has."""
    return f"{value:.7g}" if isinstance(value, (float, np.floating)) else str(value)
