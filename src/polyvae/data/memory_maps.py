"""Arrays too large to copy: mapped from the disk, read page by page, indexed lazily, and released again."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

import numpy as np

if TYPE_CHECKING:  # what only reads arrays starts without torch
    import torch
    from torch import Tensor

LARGE = 128 * 2**20  # bytes; a larger array is mapped, not read, and cut by index, not copied
HELD = 64 * 2**20  # bytes of a map that may lie in memory before they are let go
PIECE = 16 * 2**20  # bytes looked at at a time
_AROUND = 512 * 2**10  # bytes that a system may map around one that is read
_maps: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()  # by the address where the array begins
_held: dict[int, int] = {}

Array = TypeVar("Array", np.ndarray, "Tensor")


def is_large(size: int) -> bool:
    """Whether an array of so many bytes is mapped and indexed lazily."""
    return size > LARGE


def opened(path: Path) -> np.ndarray:
    """The array of an .npy file, mapped copy-on-write, so that the file stays as it is. Raises what NumPy raises."""
    # Not read-only: torch warns of arrays that cannot be written.
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if isinstance(array, np.memmap) and array.size:
        _known(array)
    return array


def pieces(array: Array, size: int = PIECE) -> Iterator[Array]:
    """Consecutive rows of about `size` bytes together; of a mapped array, each piece is released before the next."""
    rows = max(1, size // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        let_go(array.ctypes.data if isinstance(array, np.ndarray) else array.untyped_storage().data_ptr())


def float32(array: np.ndarray) -> np.ndarray:
    """The array as float32: itself if it is that already, else a copy; for a large array, a map of a temporary file.

    Values that overflow become infinite.
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
    """A copy of the rows at `index` (int64 [n]) of a tensor; of a map, few pages are kept in memory."""
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
    """Releases the memory of the map at an address; pages that are needed again come from the disk's cache."""
    mapped = _maps.get(address)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
        _held[address] = 0


class Rows(Mapping[str, "Tensor"]):
    """Rows `index` (int64 [n]) of named tensors, read lazily; asking for a name copies that tensor's rows.

    `select` copies only the rows asked for. Tensors under 128 MiB are copied at once.
    """

    def __init__(self, whole: Mapping[str, Tensor], index: Tensor) -> None:
        self.index = index
        self._large = {name for name, tensor in whole.items() if is_large(tensor.nbytes)}  # whole; the others are cut
        self._held = {name: each if name in self._large else rows_of(each, index) for name, each in whole.items()}

    def __getitem__(self, name: str) -> Tensor:
        return rows_of(self._held[name], self.index) if name in self._large else self._held[name]

    def __contains__(self, name: object) -> bool:  # a Mapping's own would copy to see whether it can
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def heads(self) -> dict[str, Tensor]:
        """The first row of each, to tell shape and type."""
        return {name: tensor[:1] for name, tensor in self._held.items()}

    def select(self, index: Tensor) -> dict[str, Tensor]:
        """The rows at `index` (int64 [B]) of these, as tensors of their own."""
        rows = self.index.index_select(0, index)
        return {name: rows_of(held, rows if name in self._large else index) for name, held in self._held.items()}

    def take(self, index: Tensor) -> Rows:
        """The rows at `index` (int64 [n]) of these, as Rows."""
        taken = Rows({}, self.index.index_select(0, index))
        taken._large = self._large
        taken._held = {name: held if name in self._large else rows_of(held, index) for name, held in self._held.items()}
        return taken

    def to(self, device: torch.device | str) -> Mapping[str, Tensor]:
        """Themselves if they are on that device already, else copies on it."""
        from torch import device as named

        if named(device) == self.index.device:
            return self
        return {name: self[name].to(device) for name in self}


def selected(tensors: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """The rows at `index` (int64 [n]) of all tensors, copied."""
    if isinstance(tensors, Rows):
        return tensors.select(index)
    return {name: rows_of(tensor, index) for name, tensor in tensors.items()}


def cut_rows(tensors: Mapping[str, Tensor], index: Tensor) -> Mapping[str, Tensor]:
    """The rows at `index` (int64 [n]) of all tensors: copied, or lazy `Rows` if a copy would take much memory."""
    heads = tensors.heads if isinstance(tensors, Rows) else {name: tensor[:1] for name, tensor in tensors.items()}
    if not is_large(sum(head.nbytes for head in heads.values()) * len(index)):
        return selected(tensors, index)
    return tensors.take(index) if isinstance(tensors, Rows) else Rows(tensors, index)
