"""One value of a user as an array, and as the tensor that its name asks for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.errors import DataError
from polyvae.data.memory_maps import float32, is_large
from polyvae.data.readers.frames import is_series, plain, series_values
from polyvae.data.readers.gaps import check_numbers, unmasked

_TURN = {  # by NumPy's kinds of types
    "U": "text stands in a data frame, or turn it into numbers (numpy.unique(..., return_inverse=True))",
    "c": "give real and imaginary parts as numbers of their own (x.real, x.imag)",
    "O": "give numbers of one type and length: x.astype(float), or numpy.stack(list(x))",
    "M": "turn dates into numbers, such as days since the first",
    "m": "turn times into numbers, such as seconds",
}


def mixed(where: str, first: tuple[int, ...], other: tuple[int, ...], number: int) -> DataError:
    found = f"{list(other)} at example {number}"
    return DataError(where, f"examples of one size, {list(first)} as the first", found, "resize or crop them alike")


def array_of(value: Any, where: str, text: bool = False) -> np.ndarray:
    """A NumPy array of numbers (or `text`), NaN where it is masked, sharing memory if possible."""
    if not text and isinstance(value, (list, tuple)) and any(each is None for each in value):
        row = next(row for row, each in enumerate(value) if each is None)
        advice = "leave these rows out, or name the values that are modalities (modalities=), which rows may lack"
        raise DataError(where, "a value in every row", f"None in row {row}", advice)
    if isinstance(value, np.ma.MaskedArray):
        value = unmasked(value, where)
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype is torch.bfloat16 else value
        array = value.numpy()
    elif isinstance(value, Sequence) and not isinstance(value, str) and len(value) and np.ndim(value[0]):
        parts = [array_of(part, where) for part in value]
        for number, part in enumerate(parts):
            if part.shape != parts[0].shape:
                raise mixed(where, parts[0].shape, part.shape, number)
        array = np.stack(parts)
    else:
        array = series_values(value, where) if is_series(value) else np.asarray(value)
        array = plain(array, where) if text and array.ndim == 1 else array
    if array.dtype.kind not in ("biufU" if text else "biuf"):
        advice = _TURN.get(array.dtype.kind, "turn it into numbers, or leave it away")
        found = f"dtype {array.dtype}" if array.ndim or isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise DataError(where, "an array of numbers", found, advice)
    return array


def without_none(value: Any, where: str) -> tuple[Any, np.ndarray | None]:
    """A list with zeros [N, ...] in place of None, and where it has a value [N]; another value as it is, and None."""
    if not isinstance(value, (list, tuple)) or all(each is not None for each in value):
        return value, None
    there = np.array([each is not None for each in value])
    if not there.any():
        raise DataError(where, "a value in one row at least", "none", "leave the modality away")
    stacked = array_of([each for each in value if each is not None], where)
    made = np.zeros((len(value), *stacked.shape[1:]), stacked.dtype)
    made[there] = stacked
    return made, there


def features(array: np.ndarray, name: str, where: str) -> Tensor:
    """Bytes stay bytes, other numbers become finite float32; pictures and fields get a channel dimension."""
    place = f"{where}[{name!r}]"
    if array.ndim > 4 or 0 in array.shape:
        expected = "examples of shape [N, d], [N, H, W] or [N, C, H, W]"
        raise DataError(place, expected, f"shape {list(array.shape)}", "bring it into one of these shapes")
    picture = array.ndim >= 3
    if picture and array.dtype.kind in "iu" and array.dtype != np.uint8 and 0 <= array.min() <= array.max() <= 255:
        array = array.astype(np.uint8)
    if array.dtype != np.uint8:
        array = float32(array)
        check_numbers(array, place)
    tensor = _shared(array if is_large(array.nbytes) else np.ascontiguousarray(array))
    if array.ndim in (1, 3):
        return tensor[:, None]
    if name == "x" and array.ndim == 4 and array.shape[3] <= 3 < array.shape[1]:
        tensor = tensor.permute(0, 3, 1, 2)  # channels last
        return tensor if is_large(array.nbytes) else tensor.contiguous()
    return tensor


def _shared(array: np.ndarray) -> Tensor:
    """A tensor of the same memory, which nothing here writes to, be it a file that may only be read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def mask(array: np.ndarray, name: str, where: str) -> Tensor:
    """Which values of x are there, booleans [N, d] or [N, 1 or C, H, W]; one channel where all have the same."""
    found = features(array.astype(np.float32), "x", where) != 0
    one = found[:, :1]
    return one.clone() if found.ndim == 4 and bool((found == one).all()) else found


def rows(array: np.ndarray, name: str, where: str) -> Tensor:
    """Which examples have something, booleans [N]."""
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise DataError(f"{where}[{name!r}]", "True or False for every example", f"{array.dtype} {list(array.shape)}")
    return torch.from_numpy(array.astype(bool))


def condition(array: np.ndarray, name: str, where: str) -> Tensor:
    """Integer labels [N] as int64, a condition [N, d] as finite float32, or pictures [N, H, W] or [N, C, H, W]."""
    place = f"{where}[{name!r}]"
    if array.ndim == 2:
        return features(array.astype(np.float64), name, where)
    if array.ndim in (3, 4):
        return features(array, name, where)
    if array.ndim != 1:
        expected = "labels [N], vectors [N, d] or pictures [N, C, H, W]"
        raise DataError(place, expected, f"shape {list(array.shape)}", "bring the condition into one of these shapes")
    if array.dtype.kind == "f":
        missing = int(np.isnan(array).sum())
        found = f"{missing} missing labels (NaN)" if missing else f"dtype {array.dtype}"
        advice = "cast labels to int64, drop examples without one, or give a real condition the shape [N, 1]"
        raise DataError(place, "a whole number for every example", found, advice)
    labels = array.astype(np.int64)
    if labels.min() < 0:
        found = f"{int(labels.min())} at example {int(labels.argmin())}"
        raise DataError(place, "labels from 0 on", found, "number the classes 0, 1, 2, ...; drop what has no label")
    return torch.from_numpy(labels)
