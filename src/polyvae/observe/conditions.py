"""Conditions that may be missing: which rows know them, and the same rows without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyvae.model.conditions import flag
from polyvae.observe.transforms import OneHot


@dataclass(frozen=True)
class Known:
    """Say in which rows a condition is known, truth values [B] under the name of `flag`: those of the batch, or all.

    A condition that the batch lacks is known in no row, and zeros of its `shape` stand for it; in a batch of nothing
    else there is one row. `labels`: it is a number of a class, whose vector has this shape.
    """

    name: str
    shape: tuple[int, ...]
    labels: bool = False

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.labels and self.name in values:
            values = OneHot(self.name, *self.shape)(values)
        y, like = values.get(self.name), next(iter(values.values()), torch.zeros(1))
        known = values.get(flag(self.name))
        if known is None:
            known = torch.full((len(like),), y is not None, device=like.device)
        if y is None:
            y = torch.zeros(len(like), *self.shape, device=like.device)
        return {**values, self.name: y, flag(self.name): known.view(-1).bool()}


@dataclass(frozen=True)
class Hide:
    """Hide conditions in all rows: evaluation then is of a model that is not told them."""

    names: Sequence[str]

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        gone = {flag(name): torch.zeros_like(values[flag(name)]) for name in self.names}
        return {**values, **gone}
