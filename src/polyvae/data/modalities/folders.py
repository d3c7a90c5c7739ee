"""Folders of pictures side by side: names of files without their ending say which row a picture belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.errors import DataError
from polyvae.data.files.cache import cached


@dataclass(frozen=True)
class Rows:
    """The row of every picture by its name without ending, and the names of the rows' classes, where folders tell."""

    places: Mapping[str, int]
    count: int = 0
    classes: np.ndarray | None = None


def rows_of(values: Mapping[str, Any], where: str) -> Rows:
    """The rows of the folders among the values: their names sorted, or numbers where arrays beside have more rows.

    Raises DataError where names cannot be matched with the rows of an array.
    """
    folders = [value for value in values.values() if isinstance(value, Path)]
    if not folders:
        return Rows({})
    from polyvae.data.readers.pictures import listed  # Pillow, for those who have pictures

    classes: dict[str, str] | None = {}
    for folder in folders:
        files, names = listed(folder)
        stems = [_stem(file, folder) for file in files]
        known = None if names is None else dict(zip(stems, names.tolist(), strict=True))
        classes = None if classes is None or known is None else classes | known
    every = {_stem(file, folder) for folder in folders for file in listed(folder)[0]}
    numbers = all(stem.isdecimal() for stem in every)
    order = sorted(every, key=int) if numbers else sorted(every)
    arrays = {
        name: getattr(value, "arrays", {"x": value})["x"]
        for name, value in values.items()
        if not isinstance(value, Path)
    }
    lengths = {name: len(value) for name, value in arrays.items()}
    count = max(lengths.values(), default=len(order))
    if count == len(order):
        made = {stem: place for place, stem in enumerate(order)}
    elif numbers and int(order[-1]) < count:
        made = {stem: int(stem) for stem in order}
    else:
        expected = (
            f"pictures of {count:,} names, as many as {lengths} have rows, or called by the numbers of their rows"
        )
        raise DataError(where, expected, f"{len(order):,} names, as {order[0]!r}", "name missing ones by their row")
    told = None if classes is None or count != len(order) else np.array([classes[stem] for stem in order])
    return Rows(made, count, told)


def pictures_at(folder: Path, rows: Rows, size: int | None, centre: bool) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of a folder in their rows, uint8 [N, C, H, W], zeros where there is none, and where there is one."""
    from polyvae.data.readers.pictures import listed, read_pictures

    files, _ = listed(folder)

    def compute() -> dict[str, np.ndarray]:
        return {"x": read_pictures(folder, files, size, centre)[0]}

    x = cached("folder", {"size": size, "centre": centre, "modality": True}, [folder], compute)["x"]
    places = np.array([rows.places[_stem(file, folder)] for file in files])
    if len(np.unique(places)) < len(places):
        raise DataError(folder, "one picture of each name", "several, with other endings", "rename them")
    made, there = np.zeros((rows.count, *x.shape[1:]), np.uint8), np.zeros(rows.count, bool)
    made[places], there[places] = x, True
    return made, there


def _stem(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()
