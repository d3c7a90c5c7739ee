"""What a recipe is shown before its first step, or later: some of the examples, the same ones in every process."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor

from polyvae.data.cuts import shuffled
from polyvae.data.seeds import forked, seed_generators
from polyvae.data.split import Split
from polyvae.model.vae import Values
from polyvae.recipes import Recipe


def show(function: Callable[[Values], None], recipe: Recipe, train: Split, seed: int) -> None:
    """Calls a function of the recipe with examples that it observes, without gradients."""
    chosen = shuffled(len(train), seed)[: recipe.shown].to(train.device)
    with forked(train.device), torch.no_grad():
        seed_generators(train.device, seed)
        function(recipe.observe(train.batch(chosen)))


def rows_of(recipe: Recipe, train: Split) -> Tensor:
    """The examples of an epoch, int64: every one, and those that the recipe asks for more often so many times more."""
    every = torch.arange(len(train))
    name, share = recipe.often or ("", 0.0)
    marked = train.tensors.get(name)
    if marked is None or not (count := int(marked.sum())):
        return every
    times = ceil(share * (len(train) - count) / ((1 - share) * count))
    return torch.cat([every, marked.cpu().nonzero()[:, 0].repeat(max(0, times - 1))])
