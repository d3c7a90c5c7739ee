"""Arrays on the disk, read where they are needed: opened by the page, looked through in pieces, and let go again."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np

if TYPE_CHECKING:  # what only reads arrays starts without torch
    from torch import Tensor

LARGE = 128 * 2**20  # bytes; a larger array is mapped, not read, and cut by index, not copied
HELD = 64 * 2**20  # bytes of a map that may lie in memory before they are let go
PIECE = 16 * 2**20  # bytes looked at at a time
_AROUND = 512 * 2**10  # bytes that a system may map around one that is read
_maps: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()  # by the address where the array begins
_held: dict[int, int] = {}


def is_large(size: int) -> bool:
    """Whether so many bytes are mapped and cut by index."""
    return size > LARGE


def opened(path: Path) -> np.ndarray:
    """The array of an .npy file, mapped; copy-on-write, so that the file stays as it is. Raises what NumPy raises."""
    # Not read-only: torch warns of arrays that cannot be written.
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if isinstance(array, np.memmap) and array.size:
        _known(array)
    return array


def pieces(array: np.ndarray, size: int = PIECE) -> Iterator[np.ndarray]:
    """Consecutive rows of about `size` bytes together; of a mapped array each is let go before the next is read."""
    rows = max(1, size // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        let_go(array.ctypes.data)


def tensor_pieces(tensor: Tensor, size: int = PIECE) -> Iterator[Tensor]:
    """The same of a tensor."""
    rows = max(1, size // max(1, tensor[:1].nbytes))
    for start in range(0, len(tensor), rows):
        yield tensor[start : start + rows]
        let_go(tensor.untyped_storage().data_ptr())


def float32(array: np.ndarray) -> np.ndarray:
    """The array as float32 by rows: itself where it is that, a copy, or for a large one a map of a temporary file.

    What overflows becomes infinite.
    """
    with np.errstate(over="ignore"):
        if not is_large(array.nbytes) or (array.dtype == np.float32 and array.flags.c_contiguous):
            return array.astype(np.float32, copy=False)
        with TemporaryFile() as file:  # it vanishes with the last array that shows it
            made = np.memmap(file, np.float32, "w+", shape=array.shape)
        _known(made)
        start = 0
        for piece in pieces(array):
            made[start : start + len(piece)] = piece
            start += len(piece)
            let_go(made.ctypes.data)
    return made


def rows_of(tensor: Tensor, index: Tensor) -> Tensor:
    """The rows at `index` (int64 [n]) of a tensor, copied; of a map no more is kept in memory than a little."""
    address = tensor.untyped_storage().data_ptr()
    if address not in _maps:
        # index_select copies whole rows: on CPU it is an order of magnitude faster than tensor[index].
        return tensor.index_select(0, index)
    from torch import index_select

    each = max(tensor[:1].nbytes, _AROUND)
    taken = tensor.new_empty((len(index), *tensor.shape[1:]))
    for start in range(0, len(index), step := max(1, HELD // each)):
        rows = index[start : start + step]
        index_select(tensor, 0, rows, out=taken[start : start + step])
        _held[address] += len(rows) * each
        if _held[address] >= HELD:
            let_go(address)
    return taken


def _known(array: np.memmap) -> None:
    address = array.ctypes.data
    _maps[address], _held[address] = array._mmap, 0  # pyright: ignore[reportAttributeAccessIssue]


def let_go(address: int) -> None:
    """Gives back the memory of a map that begins at an address; what is needed again comes from the disk's cache."""
    mapped = _maps.get(address)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
        _held[address] = 0
