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
    """Rows of named tensors, read lazily: of each name its own rows `index[name]` (int64 [n]) of what is `held`.

    A tensor without an index holds its n rows itself; one at least has an index. Several rows may be one of a tensor,
    as where pictures stand in many pairs: they are kept once. Asking for a name copies its rows; `select` copies only
    the rows asked for.
    """

    def __init__(self, held: Mapping[str, Tensor], index: Mapping[str, Tensor]) -> None:
        self._held, self.index = dict(held), dict(index)

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(next(iter(self.index.values())))

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return next(iter(self.index.values())).device

    def __getitem__(self, name: str) -> Tensor:
        return rows_of(self._held[name], self.index[name]) if name in self.index else self._held[name]

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
        places = self._at(index)
        return {name: rows_of(held, places.get(name, index)) for name, held in self._held.items()}

    def take(self, index: Tensor) -> Rows:
        """The rows at `index` (int64 [n]) of these, as Rows."""
        places = self._at(index)
        held = {name: each if name in places else rows_of(each, index) for name, each in self._held.items()}
        return Rows(held, places)

    def having(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """These with other values [n, ...], or more."""
        return _lazy({**self._held, **values}, {name: at for name, at in self.index.items() if name not in values})

    def blanked(self, name: str, there: Tensor) -> Rows:
        """These with zeros under a name in the rows where it is not `there` (truth values [n])."""
        from torch import cat, where, zeros_like

        held, index = self._held[name], self.index[name]
        held, index = cat([held, zeros_like(held[:1])]), where(there, index, len(held))
        return Rows({**self._held, name: held}, {**self.index, name: index})

    def named(self, names: Mapping[str, str]) -> Mapping[str, Tensor]:
        """Those that `names` holds, each under the name that it gives."""
        held, index = (
            {names[key]: each for key, each in of.items() if key in names} for of in (self._held, self.index)
        )
        return _lazy(held, index)

    def spares(self, count: int) -> bool:
        """Whether a copy of so many rows takes more memory than what they are read from."""
        heads = self.heads
        return sum(heads[name].nbytes * count - self._held[name].nbytes for name in self.index) > 0

    def to(self, device: torch.device | str) -> Mapping[str, Tensor]:
        """Themselves if they are on that device already, else copies on it: of the rows, or of less if that spares."""
        from torch import device as named

        if named(device) == self.device:
            return self
        if not self.spares(self.count):
            return {name: self[name].to(device) for name in self}
        moved = {id(each): each.to(device) for each in (*self._held.values(), *self.index.values())}
        held, index = ({name: moved[id(each)] for name, each in of.items()} for of in (self._held, self.index))
        return Rows(held, index)

    @property
    def nbytes(self) -> int:
        """The memory of what is held, or of the rows where these are fewer."""
        heads = self.heads
        return sum(min(each.nbytes, heads[name].nbytes * self.count) for name, each in self._held.items())

    def _at(self, index: Tensor) -> dict[str, Tensor]:
        """The rows of every name that has an index, at `index`; names that share an index share what is made of it."""
        made = {id(each): each.index_select(0, index) for each in self.index.values()}
        return {name: made[id(each)] for name, each in self.index.items()}


def _lazy(held: dict[str, Tensor], index: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return Rows(held, index) if index else held


def selected(tensors: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """The rows at `index` (int64 [n]) of all tensors, copied."""
    if isinstance(tensors, Rows):
        return tensors.select(index)
    return {name: rows_of(tensor, index) for name, tensor in tensors.items()}


def cut_rows(tensors: Mapping[str, Tensor], index: Tensor) -> Mapping[str, Tensor]:
    """The rows at `index` (int64 [n]) of all tensors: copied, or lazy `Rows` if a copy would take much memory."""
    lazy = isinstance(tensors, Rows)
    heads = tensors.heads if lazy else {name: tensor[:1] for name, tensor in tensors.items()}
    large = is_large(sum(head.nbytes for head in heads.values()) * len(index))
    if not large and not (lazy and tensors.spares(len(index))):
        return selected(tensors, index)
    if lazy:
        return tensors.take(index)
    wide = {name for name, tensor in tensors.items() if is_large(tensor.nbytes)}
    held = {name: tensor if name in wide else rows_of(tensor, index) for name, tensor in tensors.items()}
    return _lazy(held, dict.fromkeys(wide, index))


def having(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors with other values, or more; lazy rows stay lazy."""
    return tensors.having(values) if isinstance(tensors, Rows) else {**tensors, **values}


def named(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> Mapping[str, Tensor]:
    """The tensors that `names` holds, each under the name that it gives; lazy rows stay lazy."""
    if isinstance(tensors, Rows):
        return tensors.named(names)
    return {names[name]: tensor for name, tensor in tensors.items() if name in names}


def blanked(tensors: Mapping[str, Tensor], name: str, there: Tensor) -> Mapping[str, Tensor]:
    """The tensors with zeros under a name in the rows where it is not `there` (truth values [n]); lazy rows stay so."""
    if isinstance(tensors, Rows) and name in tensors.index:
        return tensors.blanked(name, there)
    value = tensors[name]
    return having(tensors, {name: value.masked_fill(~there.view(-1, *[1] * (value.ndim - 1)), 0)})


def memory(tensors: Mapping[str, Tensor]) -> int:
    """The bytes of all tensors; of lazy rows, those of what they are read from, or of a copy where it is smaller."""
    return tensors.nbytes if isinstance(tensors, Rows) else sum(tensor.nbytes for tensor in tensors.values())
