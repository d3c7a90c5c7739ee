"""Splits of data: how long they are, all that they hold, which examples of them follow each other."""

from __future__ import annotations

import torch
from torch import Tensor

from polyvae.data import Data, Split


def runs(index: Tensor) -> list[list[int]]:
    """The numbers of each run of consecutive indices."""
    return [run.tolist() for run in torch.tensor_split(index, (index.diff() != 1).nonzero().flatten() + 1)]


def lengths(loaded: Data) -> tuple[int, int, int]:
    return len(loaded.train), len(loaded.validation), len(loaded.test)


def everything(split: Split) -> Tensor:
    return split.batch(torch.arange(len(split)))["x"]


def keys(split):
    """The examples by their bytes; those of the written sets are all different."""
    return [row.tobytes() for row in split.tensors["x"].flatten(1).numpy()]
