"""The files that are compressed: which there are, what their examples are, and their bytes again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from polyvae.compression.containers import SUFFIXES, Unreadable, opened, restored
from polyvae.compression.levels import numbers_of, symbols_of
from polyvae.data.errors import DataError


@dataclass(frozen=True)
class Source:
    """One file: its name in the archive, its bytes, its examples as symbols [n, *shape], none where it is kept whole,
    how it was made (None where it is kept) and the bytes that go with it."""

    name: str
    data: bytes
    symbols: np.ndarray
    how: Mapping[str, Any] | None
    rest: bytes


def listed(paths: Sequence[Path]) -> tuple[dict[str, Path], list[Path]]:
    """The files that paths of files and folders stand for, by the names that they will have again, and those of folders
    that are left out, being of other kinds.

    A folder's files are named from the folder on, a file as it was given, or by its last name where it lies elsewhere.
    Raises DataError for what is not there, for other kinds, and for two files of one name.
    """
    found: dict[str, Path] = {}
    left: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = [each for each in sorted(path.rglob("*")) if each.is_file()]
            left += [each for each in files if each.suffix.lower() not in SUFFIXES]
            named = {_inside(path, each): each for each in files if each.suffix.lower() in SUFFIXES}
            if not named:
                raise DataError(path, "a folder of pictures or arrays", "none", f"the kinds are {', '.join(SUFFIXES)}")
        elif not path.is_file():
            raise DataError(path, "a file or a folder", "no such file", "check the path")
        elif path.suffix.lower() not in SUFFIXES:
            advice = f"compress {', '.join(SUFFIXES)}, of which the same pixels make the same file"
            raise DataError(path, "a picture that lost nothing, or an array", f"{path.suffix or 'no suffix'}", advice)
        else:
            named = {_alone(path): path}
        if twice := sorted(set(named) & set(found)):
            advice = "compress them apart, or their folders as they are"
            raise DataError(named[twice[0]], "one file of each name", f"{found[twice[0]]} has it too", advice)
        found |= named
    return found, left


def source_of(name: str, path: Path, shape: Sequence[int], levels: int | None, remembered: dict[str, Any]) -> Source:
    """A file with its examples, of this shape and so many levels. Raises DataError for those of another."""
    try:
        data = path.read_bytes()
        file = opened(data, path.suffix.lower(), remembered)
    except Unreadable as error:
        raise DataError(path, f"a file of {path.suffix.lower()}", str(error), "leave it out, or replace it") from error
    arranged = _arranged(file.values, tuple(shape), file.picture)
    if arranged is None:
        found = f"{list(file.values.shape)}"
        raise DataError(path, f"examples of shape {list(shape)}, as the run was trained on", found, "resize them")
    values, order = arranged
    told = symbols_of(values, levels)
    if told is None:
        what = "whole numbers from 0" if levels is None else f"{levels} levels"
        low, high = (f"{each:g}" for each in (values.min(initial=0), values.max(initial=0)))
        advice = "prepare them as the run's data were, or train a run on such data"
        raise DataError(path, f"{what}, as the run's likelihood has", f"others, from {low} to {high}", advice)
    if file.how is None:
        return Source(name, data, np.empty((0, *shape), np.int64), None, data)
    symbols, top = told
    how = {**file.how, "top": top, "order_of": order, "shape": list(file.values.shape), "type": file.values.dtype.str}
    return Source(name, data, symbols, {**how, **file.how}, file.rest)


def bytes_of(symbols: np.ndarray, levels: int | None, how: Mapping[str, Any], rest: bytes) -> bytes:
    """The bytes of a file of these examples."""
    values = numbers_of(symbols, levels, how["top"], np.dtype(how["type"]).newbyteorder("="))
    return restored(_back(values, how["order_of"], how["shape"]), how, rest)


def _arranged(values: np.ndarray, shape: tuple[int, ...], picture: bool) -> tuple[np.ndarray, str] | None:
    """Values as examples [n, *shape], and in which order they were: "plain", "last" with channels last, "grey" of three
    equal channels, "colour" of one channel that is to be three."""
    own, channels, places = values.shape, shape[0], shape[1:]
    if own == shape:
        return values[None], "plain"
    if picture and own == (3, *places) and channels == 1 and (values == values[:1]).all():
        return values[None, :1], "grey"
    if picture and own == (1, *places) and channels == 3:
        return np.repeat(values, 3, 0)[None], "colour"
    if picture:
        return None
    single = len(shape) == 3 and channels == 1
    if own[1:] == shape or (single and places in (own, own[1:])):
        return values.reshape(-1, *shape), "plain"
    last = (*places, channels)
    if len(shape) == 3 and own[-3:] == last and len(own) in (3, 4):
        return np.moveaxis(values.reshape(-1, *last), -1, 1), "last"
    return None


def _back(values: np.ndarray, order: str, shape: Sequence[int]) -> np.ndarray:
    if order == "last":
        values = np.ascontiguousarray(np.moveaxis(values, 1, -1))
    elif order == "grey":
        values = np.repeat(values, 3, 1)
    elif order == "colour":
        values = values[:, :1]
    return values.reshape(shape)


def _inside(folder: Path, file: Path) -> str:
    name = folder.resolve().name
    return str(PurePosixPath(name, *file.relative_to(folder).parts))


def _alone(path: Path) -> str:
    outside = path.is_absolute() or ".." in path.parts
    return path.name if outside else path.as_posix()


def check_names(names: Sequence[str], file: Path) -> None:
    """DataError for names that would lie outside a folder, or of which one would be within another."""
    advice = "it is not by polyvae compress"
    for name in names:
        path = Path(name)
        if path.is_absolute() or path.drive or not path.parts or ".." in path.parts or "\0" in name:
            raise DataError(file, "names of files within a folder", repr(name), advice)
        if above := next((each for each in path.parents if each.as_posix() in names), None):
            raise DataError(file, "names of files", f"{name!r} within the file {str(above)!r}", advice)
    if len(set(names)) < len(names):
        raise DataError(file, "one file of each name", "two of one", advice)
