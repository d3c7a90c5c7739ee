"""A law of grey levels that is linear between a few of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import lazy_property

from polyvae.model.distributions.grey import GreyLevels
from polyvae.model.distributions.law import Law

LEAST = 1e-30  # in the place of a probability 0, whose logarithm has no gradient


class PiecewiseLinear(Law):
    """P(x) = sum_k p_k h_k(x) over the grey values 0, 1 / (levels - 1), ..., 1; softmax `logits` p [*batch, knots].

    The hat h_k is a law: it rises from knot k - 1 to knot k, falls to knot k + 1, and is zero elsewhere. `hats` [knots,
    levels]: see `hats_of`. The first and the last are single values, so that black and white have probabilities of
    their own, and P is linear between the other knots. At the two knots of two levels it is a law of bits.
    """

    def __init__(self, logits: Tensor, hats: Tensor) -> None:
        self.logits, self.hats = logits, hats
        self.levels = hats.shape[1]
        super().__init__(logits.shape[:-1])

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> PiecewiseLinear:
        return PiecewiseLinear(self.logits.expand(*batch_shape, self.logits.shape[-1]), self.hats)

    @property
    def support(self) -> constraints.Constraint:
        return GreyLevels(self.levels)

    @lazy_property
    def probs(self) -> Tensor:
        """p, [*batch, knots]."""
        return self.logits.softmax(-1)

    @property
    def mean(self) -> Tensor:
        return self.probs @ (self.hats @ self._grid)

    @property
    def variance(self) -> Tensor:
        # around the middle of the values, where squares are small
        shifted = self._grid - 0.5
        mean = self.probs @ (self.hats @ shifted)
        return (self.probs @ (self.hats @ shifted.square()) - mean.square()).clamp(min=0)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(Size(sample_shape))
            rows = self.probs.reshape(-1, self.probs.shape[-1])
            chosen = torch.multinomial(rows, Size(sample_shape).numel(), replacement=True).T.reshape(-1)
            # One rising row of all hats, each on top of the one before, so that none is copied for every value.
            heights = self.hats.cumsum(1)
            heights = heights / heights[:, -1:] + torch.arange(len(heights), device=heights.device).unsqueeze(1)
            below = torch.rand(len(chosen), dtype=heights.dtype, device=heights.device) + chosen
            index = torch.searchsorted(heights.flatten(), below, right=True) - self.levels * chosen
            return index.clamp(0, self.levels - 1).view(shape).to(self.logits) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        index = (value * (self.levels - 1)).round().long().clamp(0, self.levels - 1)
        shape = torch.broadcast_shapes(index.shape, self.batch_shape)
        logits = self.logits.expand(*shape, self.logits.shape[-1])
        # At each value two hats at most are above zero, and they are neighbours.
        first = (self.hats > 0).byte().argmax(0).clamp(max=len(self.hats) - 2)[index].expand(shape).unsqueeze(-1)
        near = torch.cat([first, first + 1], -1)
        height = self.hats[near, index.expand(shape).unsqueeze(-1)].clamp(min=LEAST)
        return (logits.gather(-1, near) + height.log()).logsumexp(-1) - logits.logsumexp(-1)

    @property
    def _grid(self) -> Tensor:
        return torch.linspace(0, 1, self.levels, dtype=self.logits.dtype, device=self.logits.device)


def hats_of(knots: int, levels: int) -> Tensor:
    """Hat functions [knots, levels] of sum one, their knots at 0, at `levels` - 1 and evenly from 1 to `levels` - 2.

    Of so few levels that each may be a knot, each is one.
    """
    count = min(knots, levels)
    last = levels - 1
    if count <= 2 or count == levels:
        places = torch.linspace(0, last, count).round()
    else:
        inner = torch.linspace(1, last - 1, count - 2).round()
        places = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), last)])
    values = torch.arange(levels, dtype=places.dtype)
    before = torch.cat([places[:1] - 1, places[:-1]]).unsqueeze(1)
    after = torch.cat([places[1:], places[-1:] + 1]).unsqueeze(1)
    at = places.unsqueeze(1)
    heights = torch.minimum((values - before) / (at - before), (after - values) / (after - at)).clamp(min=0)
    return heights / heights.sum(1, keepdim=True)
