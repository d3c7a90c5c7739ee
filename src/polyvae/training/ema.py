"""An exponential moving average of a model's weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.optim.swa_utils import get_ema_multi_avg_fn

from polyvae.training.store import unique_tensors


class Average:
    """Moves `kept` towards `now` after each step: kept <- decay kept + (1 - decay) now.

    It starts from the weights of the first step. Buffers move like weights; counters are copied. What a parametrisation
    keeps beside its weight, as a spectral norm its singular vectors, is that of the average, found as in a step of
    training: the mean of unit vectors is none. Both are models of one kind, whose tensors stay in place.

    Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, 1992.
    """

    def __init__(self, kept: nn.Module, now: nn.Module, decay: float) -> None:
        self.parametrised = {n: part for n, part in kept.named_modules() if isinstance(part, ParametrizationList)}
        own = {f"{name}.{buffer}" for name, part in self.parametrised.items() for buffer, _ in part.named_buffers()}
        mine, theirs = unique_tensors(kept), unique_tensors(now)
        self.pairs = [(mine[name], theirs[name]) for name in mine]
        moving = [name for name, tensor in mine.items() if tensor.is_floating_point() and name not in own]
        self.kept, self.now = [mine[name] for name in moving], [theirs[name] for name in moving]
        self.counters = [(mine[name], theirs[name]) for name in mine if not mine[name].is_floating_point()]
        self.move = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, first: bool) -> None:
        """Takes in the weights of a step; those of the first one as they are."""
        for kept, now in self.pairs if first else self.counters:
            kept.copy_(now)
        if first:
            return
        self.move(self.kept, self.now, None)
        for part in self.parametrised.values():
            mode = part.training
            part.train()()  # a step of the power iteration, in training mode alone
            part.train(mode)
