"""Validation values that depend on the weights, the examples and a seed, and on nothing of the training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from polyvae.data.seeds import VALIDATION, forked, mixed, seed_generators
from polyvae.data.split import Split
from polyvae.evaluation.blocks import evaluation_mode
from polyvae.model.vae import VAE, Values

BLOCK = 250  # examples at a time, whatever the batch size in training: each block's noise has a seed of its own


def batches(count: int, size: int) -> list[slice]:
    """Consecutive slices of `size` examples of `count`; a single example left over joins the last of them.

    BatchNorm over a single value a channel, and terms that compare examples, are not defined on a batch of one.
    """
    starts = list(range(0, count, size))
    if len(starts) > 1 and size > 1 and count % size == 1:
        starts.pop()
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], count], strict=True)]


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
    blocks = batches(len(split), BLOCK)
    order = torch.arange(len(split), device=split.device)
    names: list[str] = []
    rows: list[Tensor] = []
    with forked(split.device), evaluation_mode(model, objective):
        for place, block in enumerate(blocks):
            mine = place % share[1] == share[0]
            if not mine and names:
                rows.append(torch.zeros_like(rows[0]))
                continue
            seed_generators(split.device, mixed(seed, VALIDATION, place))
            values = objective(model, observe(split.batch(order[block])), step)
            names = list(values)
            row = torch.stack(list(values.values()))
            rows.append(row if mine else torch.zeros_like(row))
    table = torch.stack(rows)
    table = (table if reduce is None else reduce(table)).cpu().double()
    weights = torch.tensor([[block.stop - block.start] for block in blocks], dtype=torch.float64)
    return dict(zip(names, ((table * weights).sum(0) / len(split)).tolist(), strict=True))
