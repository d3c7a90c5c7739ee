"""A user's own file or folder: which reader takes it, and a draft if its examples can be read one by one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from polyvae.data.columns.table import Feature, Table, numbered
from polyvae.data.errors import DataError
from polyvae.data.files.cache import cached
from polyvae.data.options import Options
from polyvae.data.readers.arrays import table_of
from polyvae.data.readers.csv_parquet import table
from polyvae.data.readers.numpy_files import npy, npy_length, npz_parts

TABLES = (".csv", ".tsv", ".parquet", ".pq")


@dataclass(frozen=True)
class Draft:
    """A file or folder whose examples are not read yet.

    `count`: how many examples. `y`: their labels, int64 [count], if known. `read`: returns the examples at `rows`
    (int64, None: all) as a table, and the rows that could be read. `sized`: whether pictures are resized already.
    """

    count: int
    y: np.ndarray | None
    read: Callable[[np.ndarray | None], tuple[Table, np.ndarray]]
    sized: bool = False


def draft_of(path: Path, options: Options) -> Draft | None:
    """The draft of a folder of pictures or an .npy; None for what must be read as a whole.

    The label "" ignores the classes of a folder. Raises DataError for another label, and for `skip_bad` without a
    folder or table.
    """
    if options.skip_bad and not path.is_dir() and path.suffix.lower() not in TABLES:
        expected = "a folder of pictures or a table, of which some are skipped"
        raise DataError(path, expected, "another file", "leave skip_bad away")
    if not path.is_dir() and path.suffix.lower() != ".npy":
        return None
    if options.label:
        expected = f"labels under the name {options.label!r}"
        raise DataError(path, expected, "no names", "write an .npz of arrays by name, or a table")
    return _folder(path, options) if path.is_dir() else _npy(path, options.gaps)


def _npy(path: Path, gaps: bool) -> Draft:
    def read(rows: np.ndarray | None) -> tuple[Table, np.ndarray]:
        array = npy(path, rows, gaps)
        return table_of({"x": array}, str(path), gaps=gaps), np.arange(len(array)) if rows is None else rows

    return Draft(npy_length(path), None, read)


def _folder(path: Path, asked: Options) -> Draft:
    from polyvae.data.readers.pictures import listed, read_pictures  # Pillow, for those who have pictures

    files, names = listed(path)
    options = {"size": asked.size, "centre": asked.centre, "skip_bad": asked.skip_bad}
    y, labels = (None, None) if names is None or asked.label == "" else numbered(names, path)

    def read(rows: np.ndarray | None) -> tuple[Table, np.ndarray]:
        chosen = np.arange(len(files)) if rows is None else rows

        def compute() -> dict[str, np.ndarray]:
            x, places, note = read_pictures(path, [files[row] for row in chosen], **options)
            return {"x": x, "rows": chosen[places], "note": np.array([note or ""])}

        known = {} if rows is None else {"rows": hashlib.sha256(rows.tobytes()).hexdigest()}
        arrays = cached("folder", options | known, [path], compute)
        found = arrays["rows"]
        named = {"x": arrays["x"]} | ({} if y is None else {"y": y[found]})
        return Table(named, labels=labels, notes=tuple(note for note in arrays["note"].tolist() if note)), found

    return Draft(len(files), y, read, sized=True)


def tables_of(path: Path, label: str | None, skip_bad: bool = False, gaps: bool = False) -> dict[str, Table]:
    """A table by part ("all", or "train", "validation", "test").

    `label` and `gaps` as in `table_of`, `skip_bad` as in `table`. Tables are cached. Raises DataError for an unknown
    kind of file, or a `label` that the file does not have.
    """
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return {"all": _table(path, label, skip_bad, gaps)}
    if suffix != ".npz":
        kinds = f"a folder of pictures or a file that ends in .npy, .npz, {', '.join(TABLES)}"
        raise DataError(path, kinds, f"{path.suffix or 'no ending'}", "convert it")
    parts = npz_parts(path, gaps)
    return {part: table_of(named, place_of(path, part), label, gaps=gaps) for part, named in parts.items()}


def place_of(path: Path, part: str) -> str:
    """The name of a part of a file in messages."""
    return str(path) if part == "all" else f"{path}, part {part}"


def _table(path: Path, label: str | None, skip_bad: bool, gaps: bool) -> Table:
    def compute() -> dict[str, np.ndarray]:
        found = table(path, label, skip_bad, gaps)
        facts = {"features": [asdict(each) for each in found.features], "labels": found.labels, "notes": found.notes}
        facts["label"] = found.label
        return {**found.arrays, "facts": np.array([json.dumps(facts)])}

    options = {
        "label": label,
        "rules": 2,
        **({"skip_bad": True} if skip_bad else {}),
        **({"gaps": True} if gaps else {}),
    }
    arrays = dict(cached("table", options, [path], compute))
    facts = json.loads(str(arrays.pop("facts")[0]))
    features = tuple(Feature(each["name"], each["dtype"], tuple(each["labels"])) for each in facts["features"])
    labels = None if facts["labels"] is None else tuple(facts["labels"])
    return Table(arrays, features, labels, tuple(facts["notes"]), facts.get("label", label))
