"""Validation values that depend on the weights, the examples and a seed, and on nothing of the training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from polyvae.core import VAE, Values
from polyvae.data.split import Split

BLOCK = 100  # examples at a time, whatever the batch size in training: each block's noise has a seed of its own


def validate(
    model: VAE,
    objective: nn.Module,
    observe: Callable[[Values], Values],
    split: Split,
    seed: int,
    step: int = 0,
    share: tuple[int, int] = (0, 1),
    reduce: Callable[[Tensor], Tensor] = lambda totals: totals,
) -> dict[str, float]:
    """Loss, every term and the plain bound, each the mean over the split's examples, in evaluation mode.

    `share` = (rank, processes) takes every so many-th block, and `reduce` adds up the sums, so that several processes
    return what one would.
    """
    modes = model.training, objective.training
    model.eval()
    objective.eval()
    names: list[str] = []
    totals = torch.zeros(0)
    with torch.random.fork_rng(), torch.no_grad():
        for place, index in enumerate(torch.arange(len(split), device=split.device).split(BLOCK)):
            if place % share[1] != share[0] and names:
                continue
            torch.manual_seed(seed * 1_000_003 + place)
            values = objective(model, observe(split.batch(index)), step)
            row = torch.stack([*values.values(), *values["loss"].new_ones(1)]).double() * len(index)
            names = list(values)
            totals = torch.zeros_like(row) if not len(totals) else totals
            if place % share[1] == share[0]:
                totals += row
    model.train(modes[0])
    objective.train(modes[1])
    totals = reduce(totals)
    return dict(zip(names, (totals[:-1] / totals[-1]).tolist(), strict=True))
