"""Readers of the original distribution formats: a path in, NumPy arrays out, a DataError for every bad file.

Sizes are checked against what the format itself declares, so a truncated file is never read as a shorter one.
"""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

from polyvae.data.errors import DataError, reading
from polyvae.data.readers.mapped import is_large, opened
from polyvae.data.readers.tables import table as table

AGAIN = "delete the file and fetch it again"
_BROKEN = (
    OSError,
    EOFError,
    MemoryError,
    ValueError,
    zlib.error,
    zipfile.BadZipFile,
    struct.error,
    KeyError,
    IndexError,
    TypeError,
)
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(path: str | Path) -> np.ndarray:
    """An array in IDX format (MNIST and its relatives), gzip-compressed or not, in native byte order.

    Two zero bytes, a type byte, the number of dimensions, the sizes as big-endian 32-bit integers, then the values.
    """
    raw = _bytes(path, "an IDX file")
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES or not raw[3]:
        raise DataError(path, "an IDX file (magic number 00 00, type, dimensions)", f"bytes {raw[:4].hex(' ')}", AGAIN)
    dtype, start = np.dtype(_IDX_TYPES[raw[2]]), 4 + 4 * raw[3]
    if len(raw) < start:
        raise DataError(path, f"an IDX header of {start} bytes", f"{len(raw)} bytes (truncated)", AGAIN)
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    expected = prod(shape) * dtype.itemsize
    _size(path, len(raw) - start, expected, f"values of shape {list(shape)}")
    return _finite(np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("=")), path)


def cifar10_binary(paths: str | Path | Sequence[str | Path]) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10's binary version, its files in order: x uint8 [N, 3, 32, 32] and y int64 [N].

    A row is a label byte and 3,072 bytes, channels first. Source: Krizhevsky, Learning multiple layers of features from
    tiny images, 2009.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    rows = []
    for path in paths:
        raw = _bytes(path, "a CIFAR-10 binary batch")
        if len(raw) % 3073:
            found = f"{len(raw):,} bytes, {len(raw) % 3073} over (truncated)"
            raise DataError(path, "rows of 3,073 bytes", found, AGAIN)
        rows.append(np.frombuffer(raw, np.uint8).reshape(-1, 3073))
        labels(rows[-1][:, 0], path, 10, several=False)
    every = np.concatenate(rows)
    return np.ascontiguousarray(every[:, 1:]).reshape(-1, 3, 32, 32), labels(every[:, 0], paths[0], 10)


def svhn_mat(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """SVHN's cropped digits in MATLAB 5 format: x uint8 [N, 3, 32, 32] and y int64 [N], its label 10 read as 0.

    Source: Netzer and others, Reading digits in natural images with unsupervised feature learning, 2011.
    """
    found = _mat(path, ("X", "y"))
    x, y = found["X"], found["y"].reshape(-1)
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3) or x.shape[3] != len(y) or not len(y):
        shapes = f"X {x.dtype} {list(x.shape)}, y {list(found['y'].shape)}"
        raise DataError(path, "X uint8 [32, 32, 3, N] and y [N, 1]", shapes, AGAIN)
    # MATLAB stores columns first: the transpose [N, 3, W, H] is contiguous, the copy then runs through memory in order.
    return np.ascontiguousarray(x.T.swapaxes(2, 3)), labels(np.where(y == 10, 0, y), path, 10)


def amat(path: str | Path, width: int = 784) -> np.ndarray:
    """A text file of zeros and ones, `width` to a line (Larochelle's binarised MNIST): uint8 0 or 1 [N, width]."""
    text = np.frombuffer(_bytes(path, f"lines of {width} zeros and ones"), np.uint8)
    step = 2 * width
    if len(text) % step == 0 and (text[step - 1 :: step] == ord("\n")).all() and (text[1::2] <= ord(" ")).all():
        values, breaks = text[::2], None  # the regular layout: a digit, a separator, a line end after `width` of them
    else:
        is_value = text > ord(" ")
        if (is_value[1:] & is_value[:-1]).any():
            raise DataError(path, "single digits 0 or 1 between spaces", "longer words", AGAIN)
        values = text[is_value]
        breaks = np.cumsum(is_value)[text == ord("\n")]
    if not len(values) or len(values) % width or (breaks is not None and (breaks % width).any()):
        raise DataError(path, f"{width} values to a line", f"{len(values):,} values in uneven lines (truncated)", AGAIN)
    bits = values - ord("0")
    if bits.max() > 1:  # what lies below "0" wraps round
        row = int(np.argmax(bits > 1)) // width
        raise DataError(path, "zeros and ones", f"{chr(values[bits > 1][0])!r} in line {row + 1}", AGAIN)
    return bits.reshape(-1, width)


def npy(path: str | Path, rows: np.ndarray | None = None) -> np.ndarray:
    """The array of an .npy file or its `rows`, finite and not empty; Python objects (pickles) are refused.

    From 128 MiB on all of it is mapped, copy-on-write, and not looked at yet.
    """
    array = _mapped_npy(path)
    if rows is None and is_large(array.nbytes):
        return array
    return _finite(np.array(array if rows is None or not array.ndim else array[rows]), path)


def npy_length(path: str | Path) -> int:
    """The number of rows in an .npy file, by its header. Raises DataError where it holds a single number."""
    array = _mapped_npy(path)
    if not array.ndim:
        raise DataError(path, "a leading dimension of examples", "shape []", "give an array")
    return len(array)


def _mapped_npy(path: str | Path) -> np.ndarray:
    advice = "save a plain array of numbers with numpy.save"
    with reading(path, "an .npy array of numbers", advice, *_BROKEN):
        array = opened(Path(path))
        if not isinstance(array, np.ndarray):
            array.close()
            raise DataError(path, "an .npy array", "an .npz archive", "name it .npz")
    return array


def npz(path: str | Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, all or those of `names`, finite and not empty; pickles are refused."""
    advice = "save plain arrays of numbers with numpy.savez"
    with reading(path, "an .npz archive of arrays", advice, *_BROKEN), open(path, "rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(path, "an .npz archive", "a single array", "name it .npy")
        with archive:
            if missing := [name for name in names or () if name not in archive.files]:
                raise DataError(path, f"the arrays {list(names or ())}", f"no {missing}, only {archive.files}", AGAIN)
            arrays = {name: archive[name] for name in names or archive.files}
    if not arrays:
        raise DataError(path, "at least one array", "an empty archive", advice)
    return {name: _finite(array, f"{path}[{name!r}]") for name, array in arrays.items()}


def dsprites(path: str | Path) -> dict[str, np.ndarray]:
    """dSprites' npz: imgs uint8 0 or 1 [N, 64, 64], latents_values float [N, 6] and latents_classes int64 [N, 6].

    The six factors are colour, shape, scale, orientation, x and y; the pickled metadata is left alone. Source: Matthey
    and others, dSprites: disentanglement testing sprites dataset, 2017.
    """
    arrays = npz(path, ("imgs", "latents_values", "latents_classes"))
    images, factors = arrays["imgs"], (arrays["latents_values"], arrays["latents_classes"])
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if images.dtype != np.uint8 or images.ndim != 3 or any(f.shape != (len(images), 6) for f in factors):
        raise DataError(path, "imgs uint8 [N, H, W] and six factors for each", f"{images.dtype}, {shapes}", AGAIN)
    if (top := int(images.max())) > 1:
        raise DataError(path, "pictures of zeros and ones", f"values up to {top}", AGAIN)
    return arrays


def omniglot(path: str | Path) -> dict[str, np.ndarray]:
    """OMNIGLOT at 28x28: x uint8 [N, 28, 28] with ink 255; split (0 training, 1 test), alphabet, character int64 [N].

    Read from `chardata.mat` (data, testdata [784, N] in [0, 1], target one-hot, targetchar; Burda, Grosse and
    Salakhutdinov, Importance weighted autoencoders, 2016) or from an npz (images, split, alphabet, character, class_id,
    drawer). Source: Lake, Salakhutdinov and Tenenbaum, Human-level concept learning, 2015.
    """
    return _omniglot_mat(path) if Path(path).suffix == ".mat" else _omniglot_npz(path)


def _omniglot_npz(path: str | Path) -> dict[str, np.ndarray]:
    arrays = npz(path, ("images", "split", "alphabet", "character"))
    images = arrays.pop("images")
    shapes = {name: array.shape for name, array in arrays.items()}
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or set(shapes.values()) != {images.shape[:1]}:
        found = f"images {images.dtype} {list(images.shape)}, {shapes}"
        raise DataError(path, "images uint8 [N, 28, 28] and a split, alphabet and character for each", found, AGAIN)
    labels(arrays["split"], path, 2)
    return {"x": images, **{name: labels(array, path, several=False) for name, array in arrays.items()}}


def _omniglot_mat(path: str | Path) -> dict[str, np.ndarray]:
    names = ("data", "testdata", "target", "testtarget", "targetchar", "testtargetchar")
    arrays = _mat(path, names)
    count = {part: arrays[f"{part}data"].shape[-1] for part in ("", "test")}
    for part, n in count.items():
        shapes = [arrays[f"{part}{name}"].shape for name in ("data", "target", "targetchar")]
        if shapes[0] != (784, n) or shapes[1][1:] != (n,) or shapes[2] != (1, n):
            raise DataError(path, "data [784, N], target [A, N] and targetchar [1, N]", f"{shapes}", AGAIN)
    x = np.concatenate([arrays["data"].T, arrays["testdata"].T])
    if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
        raise DataError(path, "pictures in [0, 1]", f"values in [{x.min():g}, {x.max():g}]", AGAIN)
    # MATLAB's pictures run down the columns.
    pictures = np.rint(x * 255).astype(np.uint8).reshape(-1, 28, 28).swapaxes(1, 2)
    alphabet = np.concatenate([arrays["target"].argmax(0), arrays["testtarget"].argmax(0)])
    character = np.concatenate([arrays["targetchar"][0], arrays["testtargetchar"][0]])
    return {
        "x": np.ascontiguousarray(pictures),
        "split": np.repeat(np.arange(2), list(count.values())),
        "alphabet": labels(alphabet, path),
        "character": labels(character, path),
    }


def labels(y: np.ndarray, path: str | Path, classes: int | None = None, several: bool = True) -> np.ndarray:
    """Labels [N] as int64, checked to be whole numbers in 0..classes-1 and, if `several`, of two classes at least."""
    whole = y.astype(np.int64)
    if (whole != y).any() or whole.min() < 0 or (classes is not None and whole.max() >= classes):
        expected = f"labels in 0..{classes - 1}" if classes else "whole labels from 0 on"
        raise DataError(path, expected, f"labels from {y.min()} to {y.max()}", AGAIN)
    if several and (whole == whole[0]).all():
        raise DataError(path, "labels of two classes at least", f"only the label {whole[0]}", AGAIN)
    return whole


def _bytes(path: str | Path, expected: str) -> bytes:
    """The bytes of a file that is not empty, decompressed when they are gzip's."""
    with reading(path, expected, AGAIN, *_BROKEN):
        raw = Path(path).read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    if not raw:
        raise DataError(path, expected, "an empty file", AGAIN)
    return raw


def _mat(path: str | Path, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """The named matrices of a MATLAB 5 file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    with reading(path, "a MATLAB 5 file", AGAIN, MatReadError, NotImplementedError, MemoryError, *_BROKEN):
        found = loadmat(Path(path), variable_names=names)
    if missing := [name for name in names if name not in found]:
        there = [name for name in found if not name.startswith("__")]
        raise DataError(path, f"the matrices {list(names)}", f"no {missing}, only {there}", AGAIN)
    return {name: found[name] for name in names}


def _size(path: str | Path, found: int, expected: int, what: str) -> None:
    if found != expected or not expected:
        fault = "empty" if not expected else "truncated" if found < expected else "too long"
        raise DataError(path, f"{expected:,} bytes of {what}", f"{found:,} bytes ({fault})", AGAIN)


def _finite(array: np.ndarray, where: str | Path) -> np.ndarray:
    """The array, checked: numbers or names, not empty, neither NaN nor infinite."""
    dtype = getattr(array, "dtype", np.dtype("V"))  # an archive may hold other files, which NumPy gives as bytes
    if dtype.kind not in "biufU":
        raise DataError(where, "numbers", f"dtype {dtype}", "save plain arrays of numbers")
    if not array.size:
        raise DataError(where, "values", f"an empty array of shape {list(array.shape)}", "give data that is not empty")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise DataError(where, "finite numbers", f"NaN or infinity, first at {first}", "drop or fill what is missing")
    return array
