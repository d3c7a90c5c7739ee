"""An exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """Moves `kept` towards `now` after each step: kept <- decay kept + (1 - decay) now.

    It starts from the weights of the first step. Buffers move like weights; counters are copied. Both are mappings of
    the same names to tensors that stay in place.

    Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, 1992.
    """

    def __init__(self, kept: Mapping[str, Tensor], now: Mapping[str, Tensor], decay: float) -> None:
        moving = [name for name, tensor in kept.items() if tensor.is_floating_point()]
        self.kept, self.now = [kept[name] for name in moving], [now[name] for name in moving]
        self.counters = [(kept[name], now[name]) for name in kept if name not in moving]
        self.move = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, first: bool) -> None:
        """Takes in the weights of a step; those of the first one as they are."""
        if first:
            for kept, now in zip(self.kept, self.now, strict=True):
                kept.copy_(now)
        else:
            self.move(self.kept, self.now, None)
        for kept, now in self.counters:
            kept.copy_(now)
