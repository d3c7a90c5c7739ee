"""Some rows of tensors that are too large to be copied: cut by index, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from polyvae.data.readers.mapped import is_large, rows_of


class Rows(Mapping[str, Tensor]):
    """Tensors by name [n, ...], the rows `index` (int64 [n]) of others; asked for by its name, one is copied.

    `select` copies no more than the rows asked for. Tensors under 128 MiB are cut at once.
    """

    def __init__(self, whole: Mapping[str, Tensor], index: Tensor) -> None:
        self.index = index
        self._large = {name: tensor for name, tensor in whole.items() if is_large(tensor.nbytes)}
        small = {name: tensor for name, tensor in whole.items() if name not in self._large}
        self._small = {name: tensor.index_select(0, index) for name, tensor in small.items()}
        self._names = list(whole)

    def __getitem__(self, name: str) -> Tensor:
        return self._small[name] if name in self._small else rows_of(self._large[name], self.index)

    def __contains__(self, name: object) -> bool:  # a Mapping's own would copy to see whether it can
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def heads(self) -> dict[str, Tensor]:
        """One example of each, to tell shape and type."""
        return {name: (self._small if name in self._small else self._large)[name][:1] for name in self._names}

    def select(self, index: Tensor) -> dict[str, Tensor]:
        """The rows at `index` (int64 [B]) of these, as tensors of their own."""
        rows = self.index.index_select(0, index)
        return {
            name: self._small[name].index_select(0, index) if name in self._small else rows_of(self._large[name], rows)
            for name in self._names
        }

    def take(self, index: Tensor) -> Rows:
        """The rows at `index` (int64 [n]) of these, as Rows."""
        taken = Rows({}, self.index.index_select(0, index))
        taken._large, taken._names = self._large, self._names
        taken._small = {name: tensor.index_select(0, index) for name, tensor in self._small.items()}
        return taken

    def to(self, device: torch.device | str) -> Mapping[str, Tensor]:
        """Themselves where they lie there already, else copies on that device."""
        if torch.device(device) == self.index.device:
            return self
        return {name: self[name].to(device) for name in self}


def selected(tensors: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """The rows at `index` (int64 [n]) of all tensors, copied."""
    if isinstance(tensors, Rows):
        return tensors.select(index)
    return {name: rows_of(tensor, index) for name, tensor in tensors.items()}


def cut_rows(tensors: Mapping[str, Tensor], index: Tensor) -> Mapping[str, Tensor]:
    """The rows at `index` (int64 [n]) of all tensors: copied, or by index where that would take much memory."""
    heads = tensors.heads if isinstance(tensors, Rows) else {name: tensor[:1] for name, tensor in tensors.items()}
    if not is_large(sum(head.nbytes for head in heads.values()) * len(index)):
        return selected(tensors, index)
    return tensors.take(index) if isinstance(tensors, Rows) else Rows(tensors, index)
