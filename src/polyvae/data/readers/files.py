"""A user's own files as tables by part: .npz, .csv, .parquet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from polyvae.data.columns.table import Feature, Table
from polyvae.data.errors import DataError
from polyvae.data.files.cache import cached
from polyvae.data.readers.formats import npz, table
from polyvae.data.tensors import table_of

Arrays = Mapping[str, np.ndarray]

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
TABLES = (".csv", ".tsv", ".parquet", ".pq")
SYNONYMS = {"data": "x", "images": "x", "imgs": "x", "target": "y", "labels": "y"}
_PART_FIRST = re.compile(rf"({'|'.join(PARTS)})_(.+)")
_PART_LAST = re.compile(rf"(.+)_({'|'.join(PARTS)})")


def tables_of(path: Path, label: str | None, skip_bad: bool = False) -> dict[str, Table]:
    """A table by part ("all", or "train", "validation", "test").

    The names of an .npz are kept; x_train or train_x name a part; data and images stand for x, target and labels for y.
    `label` as in `table_of`, `skip_bad` as in `table`. Tables are kept in the cache. Raises DataError for a kind of
    file that is not known, or a `label` that it does not hold.
    """
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return {"all": _table(path, label, skip_bad)}
    if suffix != ".npz":
        kinds = f"a folder of pictures or a file that ends in .npy, .npz, {', '.join(TABLES)}"
        raise DataError(path, kinds, f"{path.suffix or 'no ending'}", "convert it")
    return {part: table_of(named, place_of(path, part), label) for part, named in _npz(path).items()}


def place_of(path: Path, part: str) -> str:
    """How a part of a file is named in messages."""
    return str(path) if part == "all" else f"{path}, part {part}"


def _table(path: Path, label: str | None, skip_bad: bool) -> Table:
    def compute() -> Arrays:
        found = table(path, label, skip_bad)
        facts = {"features": [asdict(each) for each in found.features], "labels": found.labels, "notes": found.notes}
        facts["label"] = found.label
        return {**found.arrays, "facts": np.array([json.dumps(facts)])}

    options = {"label": label, "rules": 2, **({"skip_bad": True} if skip_bad else {})}
    arrays = dict(cached("table", options, [path], compute))
    facts = json.loads(str(arrays.pop("facts")[0]))
    features = tuple(Feature(each["name"], each["dtype"], tuple(each["labels"])) for each in facts["features"])
    labels = None if facts["labels"] is None else tuple(facts["labels"])
    return Table(arrays, features, labels, tuple(facts["notes"]), facts.get("label", label))


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
