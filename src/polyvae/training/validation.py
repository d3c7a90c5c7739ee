"""Validation values that depend on the weights, the examples and a seed, and on nothing of the training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from polyvae.data.split import Split
from polyvae.evaluation.blocks import Blocks, Source, each_block
from polyvae.model.parts import evaluation_mode
from polyvae.model.vae import VAE, Values

BLOCK = 250  # examples at a time, whatever the batch size in training; more than evaluation's, for terms that compare
_STREAM = (2,)  # the noise that chooses a model is not that which judges it


def validate(
    model: VAE,
    objective: nn.Module,
    observe: Callable[[Values], Values],
    split: Split,
    seed: int,
    step: int = 0,
    reduce: Callable[[Tensor], Tensor] | None = None,
    share: tuple[int, int] = (0, 1),
) -> dict[str, float]:
    """Loss, every term and the plain bound, each the mean over the split's examples, in evaluation mode.

    `share` = (rank, processes) takes every so many-th block, and `reduce` adds up the processes' values, of which all
    but one are zero: several processes return exactly what one would. The device is waited for once, at the end.
    """
    names: list[str] = []

    def measure(model: VAE, batch: Values) -> Tensor:
        values = objective(model, batch, step)
        names[:] = values
        return torch.stack(list(values.values()))

    rank, processes = share
    blocks = Blocks(BLOCK, alone=False, stream=_STREAM)
    sizes = [block.stop - block.start for block in blocks.cut(len(split))]
    mine = range(rank, len(sizes), processes)
    # A process without a block computes the first one, which tells the names, and leaves it to its owner.
    asked = replace(blocks, only=mine or range(1))
    with evaluation_mode(objective):
        found = torch.stack(each_block(Source(model, observe), split, measure, seed, blocks=asked))
    table = found.new_zeros(len(sizes), len(names))
    table[mine.start :: processes] = found[: len(mine)]
    table = (table if reduce is None else reduce(table)).cpu().double()
    weights = torch.tensor(sizes, dtype=torch.float64)[:, None]
    return dict(zip(names, ((table * weights).sum(0) / len(split)).tolist(), strict=True))
