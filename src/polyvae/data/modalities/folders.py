"""Folders of pictures side by side: names of files without their ending say which row a picture belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.checks.names import near
from polyvae.data.errors import DataError
from polyvae.data.files.cache import cached
from polyvae.data.modalities.groups import Groups


@dataclass(frozen=True)
class Rows:
    """The row of every picture by its name without ending, and the names of the rows' classes, where folders tell."""

    places: Mapping[str, int]
    count: int = 0
    classes: np.ndarray | None = None


def subfolders(path: Path, groups: Groups) -> dict[str, Path] | None:
    """The folders by name where modalities of a folder are its subfolders; None where they are something else.

    Raises DataError for one that is not there. Names that are numbers are channels of the folder's own pictures.
    """
    wanted = [member for members in groups.values() for member in members]
    if not path.is_dir() or all(name.isdecimal() for name in wanted):
        return None
    there = sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    if unknown := [name for name in wanted if name not in there]:
        found = f"{', '.join(there) or 'none'}{near(unknown[0], there)}"
        raise DataError(path, f"a subfolder {unknown[0]!r} of pictures, a modality", found, "name these")
    return {name: path / name for name in wanted}


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


def pictures_at(
    folder: Path, rows: Rows, size: int | None, centre: bool, skip_bad: bool = False
) -> tuple[np.ndarray, np.ndarray, str]:
    """The pictures of a folder in their rows, uint8 [N, C, H, W], zeros where there is none, and where there is one.

    Then a note on files that cannot be read, which with `skip_bad` are as if they were not there.
    """
    from polyvae.data.readers.pictures import listed, read_pictures

    files, _ = listed(folder)

    def compute() -> dict[str, np.ndarray]:
        x, read, said = read_pictures(folder, files, size, centre, skip_bad)
        return {"x": x, "read": read, "note": np.array([said or ""])}

    asked = {"size": size, "centre": centre, "modality": "with notes", "skip_bad": skip_bad}
    found = cached("folder", asked, [folder], compute)
    x, note = found["x"], str(found["note"][0]).replace("and left out", "and their rows lack it")
    places = np.array([rows.places[_stem(files[place], folder)] for place in found["read"]])
    if len(np.unique(places)) < len(places):
        raise DataError(folder, "one picture of each name", "several, with other endings", "rename them")
    made, there = np.zeros((rows.count, *x.shape[1:]), np.uint8), np.zeros(rows.count, bool)
    made[places], there[places] = x, True
    return made, there, note


def _stem(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()
