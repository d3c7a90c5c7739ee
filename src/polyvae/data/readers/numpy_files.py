"""NumPy's own files: an .npy of one array, mapped if it is large, and an .npz of arrays by name and part."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError, reading
from polyvae.data.memory_maps import is_large, opened

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
SYNONYMS = {"data": "x", "images": "x", "imgs": "x", "target": "y", "labels": "y"}
BROKEN = (
    OSError,
    EOFError,
    MemoryError,
    ValueError,
    SyntaxError,
    tokenize.TokenError,  # of a damaged head, which NumPy reads as Python
    zlib.error,
    zipfile.BadZipFile,
    RuntimeError,  # of an archive with a password, or packed in a way that Python has not
    struct.error,
    KeyError,
    IndexError,
    TypeError,
)


def npy(path: str | Path, rows: np.ndarray | None = None, gaps: bool = False) -> np.ndarray:
    """The array of an .npy file or its `rows`, finite and not empty; Python objects (pickles) are refused.

    With `gaps`, NaN is a value that is missing.

    A file of 128 MiB or more is mapped, copy-on-write, and not checked yet.
    """
    array = _mapped_npy(path)
    if rows is None and is_large(array.nbytes):
        return array
    return finite(np.array(array if rows is None or not array.ndim else array[rows]), path, gaps)


def npy_length(path: str | Path) -> int:
    """The number of rows in an .npy file, from its header. Raises DataError if it holds a single number."""
    array = _mapped_npy(path)
    if not array.ndim:
        raise DataError(path, "a leading dimension of examples", "shape []", "give an array")
    return len(array)


def _mapped_npy(path: str | Path) -> np.ndarray:
    advice = "save a plain array of numbers with numpy.save"
    with reading(path, "an .npy array of numbers", advice, *BROKEN):
        array = opened(Path(path))
        if not isinstance(array, np.ndarray):
            array.close()
            raise DataError(path, "an .npy array", "an .npz archive", "name it .npz")
    return array


def npz(path: str | Path, names: Sequence[str] | None = None, gaps: bool = False) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, all or those in `names`, finite and not empty; pickles are refused.

    With `gaps`, NaN is a value that is missing.
    """
    advice = "save plain arrays of numbers with numpy.savez"
    with reading(path, "an .npz archive of arrays", advice, *BROKEN), open(path, "rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(path, "an .npz archive", "a single array", "name it .npy")
        with archive:
            if missing := [name for name in names or () if name not in archive.files]:
                raise DataError(path, f"the arrays {list(names or ())}", f"no {missing}, only {archive.files}", AGAIN)
            arrays = {name: archive[name] for name in names or archive.files}
    if not arrays:
        raise DataError(path, "at least one array", "an empty archive", advice)
    return {name: finite(array, f"{path}[{name!r}]", gaps) for name, array in arrays.items()}


def finite(array: np.ndarray, where: str | Path, gaps: bool = False) -> np.ndarray:
    """The array, checked: numbers or names, not empty, neither NaN, which with `gaps` is missing, nor infinite."""
    dtype = getattr(array, "dtype", np.dtype("V"))  # an archive may hold other files, which NumPy gives as bytes
    if dtype.kind not in "biufU":
        raise DataError(where, "numbers", f"dtype {dtype}", "save plain arrays of numbers")
    if not array.size:
        raise DataError(where, "values", f"an empty array of shape {list(array.shape)}", "give data that is not empty")
    bad = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(0, bool)
    bad = bad & ~np.isnan(array) if gaps and len(bad) else bad
    if bad.any():
        first = [int(i) for i in np.argwhere(bad)[0]]
        raise DataError(where, "finite numbers", f"NaN or infinity, first at {first}", "drop or fill what is missing")
    return array


def npz_parts(path: Path, gaps: bool = False) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of an .npz by part ("all", or "train", "validation", "test") and name.

    A prefix or suffix names a part (train_x, x_train); data and images mean x, target and labels mean y. Raises
    DataError otherwise.
    """
    arrays = npz(path, gaps=gaps)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        part, name = part_of(key)
        parts.setdefault(part, {})[SYNONYMS.get(name, name)] = array
    if len(arrays) == 1:
        parts = {"all": {"x": next(iter(arrays.values()))}}
    if ("all" in parts and len(parts) > 1) or ("all" not in parts and "train" not in parts):
        wanted = "x and y, or x_train, y_train, x_test and so on"
        raise DataError(path, wanted, f"the arrays {list(arrays)}", "rename them")
    return parts


def part_of(key: str) -> tuple[str, str]:
    """The part that an array belongs to by its name, and what it is there: x_train and train_x are x of "train"."""
    first, _, rest = key.partition("_")
    before, _, last = key.rpartition("_")
    if rest and first in PARTS:
        return PARTS[first], rest
    return (PARTS[last], before) if before and last in PARTS else ("all", key)
