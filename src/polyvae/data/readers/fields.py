"""A user's own fields: an .npz of arrays [T, H, W], one for each quantity, which become the channels of pictures."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyvae.data.columns.rounding import note, steps
from polyvae.data.errors import DataError
from polyvae.data.readers.numpy_files import SYNONYMS, npz, part_of

TIMES = ("t", "time", "times")
_RESERVED = {"x", "y", *SYNONYMS}


@dataclass(frozen=True)
class Header:
    """Shape and type of one array of an .npz, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype


def field_names(path: Path) -> list[str]:
    """The names of the fields in an .npz, in the file's order; empty if it holds something else.

    Fields are arrays of floats [T, H, W], two or more of one shape, under names of their own; or a single one with
    values outside [0, 1]. Only the headers of the arrays are read if they decide it.
    """
    headers = _headers(path)
    x, of_parts = headers.get("x"), any(part_of(name)[0] != "all" for name in headers)
    if of_parts or (x is not None and len(x.shape) > 1):
        return []  # pictures or a table, perhaps by part
    names = [name for name, found in headers.items() if found.dtype.kind == "f" and len(found.shape) == 3]
    names = [name for name in names if name not in _RESERVED]
    if len(names) == 1:
        values = npz(path, names, gaps=True)[names[0]]  # who reads them says whether some may be missing
        outside = (values < 0) | (values > 1)
        return names if outside.any() else []
    return names


def fields(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """x float32 [T, C, H, W], a channel for each field in the file's order, and t float32 [T, 1] if there are times.

    If a boolean array [H, W] says which points hold fluid, the others are set to zero. Raises DataError for fields of
    different shapes and for values that are not finite.
    """
    headers = _headers(path)
    shapes = {name: headers[name].shape for name in names}
    shape = shapes[names[0]]
    if set(shapes.values()) != {shape}:
        raise DataError(path, "fields [T, H, W] of one shape", f"{shapes}", "interpolate them to one grid and times")
    found = npz(path, [*names, *_static(headers, shape)])
    channels = {name: found.pop(name) for name in names}
    made = {"x": stacked(path, [*channels.values()], shape)}
    told = channels | {name: values for name, values in found.items() if values.dtype.kind != "b"}
    coarse = {name: each[0] for name, values in told.items() if (each := steps(values))}
    made["notes"] = np.array(note(coarse, path), np.str_)
    for array in found.values():
        if array.dtype.kind == "b":
            made["x"] *= array
        else:
            made["t"] = array.astype(np.float32).reshape(-1, 1)
    return made


def stacked(path: Path, channels: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Arrays [T, H, W] as float32 [T, C, H, W]. Raises DataError for values that overflow single precision."""
    x = np.empty((shape[0], len(channels), *shape[1:]), np.float32)
    with np.errstate(over="ignore"):
        for place, values in enumerate(channels):
            x[:, place] = values
    if not np.isfinite(x).all():
        raise DataError(path, "numbers that fit float32", "values above 3.4e38", "rescale what overflows")
    return x


def _static(headers: Mapping[str, Header], shape: tuple[int, ...]) -> list[str]:
    """The names of a mask of the fluid [H, W] and of the times [T], if the file has them."""
    masks = [name for name, found in headers.items() if found.dtype.kind == "b" and found.shape == shape[1:]]
    times = [name for name in TIMES if name in headers and headers[name].shape == shape[:1]]
    return [*masks[:1], *times[:1]]


def array_names(path: Path) -> list[str]:
    """The names of the arrays in an .npz."""
    return [*_headers(path)]


def _headers(path: Path) -> dict[str, Header]:
    """Shape and type of every array; empty for what is no .npz of plain arrays, which the ordinary reader refuses."""
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read = np.lib.format.read_array_header_1_0
                    shape, _, dtype = (np.lib.format.read_array_header_2_0 if version > (1, 0) else read)(file)
                found[member.removesuffix(".npy")] = Header(shape, dtype)
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return found
