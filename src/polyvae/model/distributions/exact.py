"""Laws that know their value."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from polyvae.model.distributions.grey import GreyLevels
from polyvae.model.distributions.law import Event, Law

_NEAR = 1e-3  # of a grey level: what rounding in single precision may have moved


class Exact(Law):
    """All probability on one picture of so many grey `levels`, [B, *event].

    log p(x) = 0 where every value of x is the picture's, -inf elsewhere: also where x lies between grey levels.
    """

    def __init__(self, picture: Tensor, levels: int) -> None:
        self.picture = picture
        self.levels = levels
        super().__init__(picture.shape[:1], picture.shape[1:])

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(GreyLevels(self.levels), len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return self.picture

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.picture)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.picture.detach().expand(self._extended_shape(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        near = ((value - self.picture).abs() * (self.levels - 1) < _NEAR).flatten(-len(self.event_shape)).all(-1)
        return torch.where(near, 0.0, -inf).to(self.picture.dtype)


class Known(Event):
    """All probability on one value [B, *event], counted and not measured: log p = 0 there and -inf elsewhere.

    As posterior and likelihood of one value it makes of a prior a model of that value: the bound is log p(z) itself.
    """

    has_rsample = True

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.parameter)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.parameter.expand(self._extended_shape(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        same = (value == self.parameter).flatten(-len(self.event_shape)).all(-1)
        return torch.where(same, 0.0, -inf).to(self.parameter.dtype)
