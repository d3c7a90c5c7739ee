"""Examples that follow each other."""

from __future__ import annotations

import torch
from torch import Tensor


def runs(index: Tensor) -> list[list[int]]:
    """The numbers of each run of consecutive indices."""
    return [run.tolist() for run in torch.tensor_split(index, (index.diff() != 1).nonzero().flatten() + 1)]
