"""A user's own files as arrays by part and name: .npy, .npz, .csv, .parquet, a folder of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from polyvae.data.cache import cached
from polyvae.data.errors import DataError
from polyvae.data.formats import npy, npz, table

Arrays = Mapping[str, np.ndarray]

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
SYNONYMS = {"data": "x", "images": "x", "imgs": "x", "target": "y", "labels": "y"}
_PART_FIRST = re.compile(rf"({'|'.join(PARTS)})_(.+)")
_PART_LAST = re.compile(rf"(.+)_({'|'.join(PARTS)})")


def arrays_of(path: Path, size: int | None, centre: bool) -> tuple[dict[str, Arrays], bool]:
    """Arrays by part ("all", or "train", "validation", "test") and name, and whether `size` has been applied.

    The names of an .npz are kept; x_train or train_x name a part; data and images stand for x, target and labels for y.
    Decoded pictures and tables are kept in the cache. Raises DataError for a kind of file that is not known.
    """
    if path.is_dir():
        return {
            "all": _kept("folder", {"size": size, "centre": centre}, path, lambda: _folder(path, size, centre))
        }, True
    read = READERS.get(path.suffix.lower())
    if read is None:
        kinds = f"a folder of pictures or a file that ends in {', '.join(READERS)}"
        raise DataError(path, kinds, f"{path.suffix or 'no ending'}", "convert it")
    return read(path), False


def _kept(name: str, options: Mapping[str, object], path: Path, compute: Callable[[], Arrays]) -> Arrays:
    return cached(name, options, [path], compute)


def _folder(path: Path, size: int | None, centre: bool) -> Arrays:
    from polyvae.data.pictures import folder

    x, y, _ = folder(path, size, centre)
    return {"x": x} if y is None else {"x": x, "y": y}


def _table(path: Path) -> dict[str, Arrays]:
    def compute() -> Arrays:
        x, y = table(path)
        return {"x": x} if y is None else {"x": x, "y": y}

    return {"all": _kept("table", {}, path, compute)}


def _npy(path: Path) -> dict[str, Arrays]:
    return {"all": {"x": npy(path)}}


def _npz(path: Path) -> dict[str, Arrays]:
    arrays = npz(path)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        part, name = "all", key
        if match := _PART_FIRST.fullmatch(key):
            part, name = PARTS[match[1]], match[2]
        elif match := _PART_LAST.fullmatch(key):
            part, name = PARTS[match[2]], match[1]
        parts.setdefault(part, {})[SYNONYMS.get(name, name)] = array
    if len(arrays) == 1:
        parts = {"all": {"x": next(iter(arrays.values()))}}
    if ("all" in parts and len(parts) > 1) or ("all" not in parts and "train" not in parts):
        raise DataError(
            path, "x and y, or x_train, y_train, x_test and so on", f"the arrays {list(arrays)}", "rename them"
        )
    return dict(parts)


READERS: dict[str, Callable[[Path], dict[str, Arrays]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _table,
    ".tsv": _table,
    ".parquet": _table,
    ".pq": _table,
}
