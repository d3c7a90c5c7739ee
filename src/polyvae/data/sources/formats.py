"""Formats of several published data sets, IDX and MATLAB: NumPy arrays, or a DataError for a bad file.

Sizes are checked against the header, so a truncated file is never read as a shorter one.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError, reading
from polyvae.data.readers.numpy_files import BROKEN, finite

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(path: str | Path) -> np.ndarray:
    """An array in IDX format (MNIST and its relatives), gzip-compressed or not, in native byte order.

    Two zero bytes, a type byte, the number of dimensions, the sizes as big-endian 32-bit integers, then the values.
    """
    raw = raw_bytes(path, "an IDX file")
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES or not raw[3]:
        raise DataError(path, "an IDX file (magic number 00 00, type, dimensions)", f"bytes {raw[:4].hex(' ')}", AGAIN)
    dtype, start = np.dtype(_IDX_TYPES[raw[2]]), 4 + 4 * raw[3]
    if len(raw) < start:
        raise DataError(path, f"an IDX header of {start} bytes", f"{len(raw)} bytes (truncated)", AGAIN)
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    expected, found = prod(shape) * dtype.itemsize, len(raw) - start
    if found != expected or not expected:
        fault = "empty" if not expected else "truncated" if found < expected else "too long"
        what = f"{expected:,} bytes of values of shape {list(shape)}"
        raise DataError(path, what, f"{found:,} bytes ({fault})", AGAIN)
    return finite(np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("=")), path)


def labels(y: np.ndarray, path: str | Path, classes: int | None = None, several: bool = True) -> np.ndarray:
    """Labels [N] as int64, checked to be whole numbers in 0..classes-1 and, if `several`, of two classes at least."""
    whole = y.astype(np.int64)
    if (whole != y).any() or whole.min() < 0 or (classes is not None and whole.max() >= classes):
        expected = f"labels in 0..{classes - 1}" if classes else "whole labels from 0 on"
        raise DataError(path, expected, f"labels from {y.min()} to {y.max()}", AGAIN)
    if several and (whole == whole[0]).all():
        raise DataError(path, "labels of two classes at least", f"only the label {whole[0]}", AGAIN)
    return whole


def raw_bytes(path: str | Path, expected: str) -> bytes:
    """The bytes of a file that is not empty, decompressed if it is gzip."""
    with reading(path, expected, AGAIN, *BROKEN):
        raw = Path(path).read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    if not raw:
        raise DataError(path, expected, "an empty file", AGAIN)
    return raw


def matlab(path: str | Path, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """The named matrices of a MATLAB 5 file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    with reading(path, "a MATLAB 5 file", AGAIN, MatReadError, NotImplementedError, MemoryError, *BROKEN):
        found = loadmat(Path(path), variable_names=names)
    if missing := [name for name in names if name not in found]:
        there = [name for name in found if not name.startswith("__")]
        raise DataError(path, f"the matrices {list(names)}", f"no {missing}, only {there}", AGAIN)
    return {name: found[name] for name in names}
