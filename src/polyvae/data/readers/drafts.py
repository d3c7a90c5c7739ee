"""Files whose examples can be read apart: how many there are and their labels first, then those that are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyvae.data.columns.table import Table, numbered
from polyvae.data.errors import DataError
from polyvae.data.files.cache import cached
from polyvae.data.readers.files import TABLES
from polyvae.data.readers.formats import npy, npy_length
from polyvae.data.tensors import table_of


@dataclass(frozen=True)
class Draft:
    """A file or folder before its examples are read.

    `count`: of its examples. `y`: their labels, int64 [count], where it is known. `read`: the examples at `rows`
    (int64, None: all) as a table, and the rows that could be read. `sized`: whether pictures have got their size.
    """

    count: int
    y: np.ndarray | None
    read: Callable[[np.ndarray | None], tuple[Table, np.ndarray]]
    sized: bool = False


def draft_of(path: Path, size: int | None, centre: bool, skip_bad: bool, label: str | None) -> Draft | None:
    """The draft of a folder of pictures or an .npy; None for what must be read as a whole.

    `skip_bad`: leave out files that are no picture. `label`: "" leaves the classes of a folder out. Raises DataError
    for another label, and `skip_bad` without a folder or table.
    """
    if skip_bad and not path.is_dir() and path.suffix.lower() not in TABLES:
        expected = "a folder of pictures or a table, of which some are skipped"
        raise DataError(path, expected, "another file", "leave skip_bad away")
    if not path.is_dir() and path.suffix.lower() != ".npy":
        return None
    if label:
        expected = f"labels under the name {label!r}"
        raise DataError(path, expected, "no names", "write an .npz of arrays by name, or a table")
    return _folder(path, size, centre, skip_bad, label) if path.is_dir() else _npy(path)


def _npy(path: Path) -> Draft:
    def read(rows: np.ndarray | None) -> tuple[Table, np.ndarray]:
        array = npy(path, rows)
        return table_of({"x": array}, str(path)), np.arange(len(array)) if rows is None else rows

    return Draft(npy_length(path), None, read)


def _folder(path: Path, size: int | None, centre: bool, skip_bad: bool, label: str | None) -> Draft:
    from polyvae.data.readers.pictures import listed, read_pictures  # Pillow, for those who have pictures

    files, names = listed(path)
    y, labels = (None, None) if names is None or label == "" else numbered(names, path)

    def read(rows: np.ndarray | None) -> tuple[Table, np.ndarray]:
        chosen = np.arange(len(files)) if rows is None else rows

        def compute() -> dict[str, np.ndarray]:
            x, places, note = read_pictures(path, [files[row] for row in chosen], size, centre, skip_bad)
            return {"x": x, "rows": chosen[places], "note": np.array([note or ""])}

        options = {"size": size, "centre": centre, "skip_bad": skip_bad}
        if rows is not None:
            options |= {"rows": hashlib.sha256(rows.tobytes()).hexdigest()}
        arrays = cached("folder", options, [path], compute)
        found = arrays["rows"]
        named = {"x": arrays["x"]} | ({} if y is None else {"y": y[found]})
        return Table(named, labels=labels, notes=tuple(note for note in arrays["note"].tolist() if note)), found

    return Draft(len(files), y, read, sized=True)
