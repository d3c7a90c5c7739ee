"""All probability on one value."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, register_kl

from polyvae.model.distributions.law import Event


class Point(Event):
    """All mass at one value: the posterior of a plain autoencoder.

    log p(x) is +inf at the point and -inf elsewhere, its limit as a density; the Kullback-Leibler divergence to any law
    is +inf. A bound with it is therefore infinite: train it on reconstruction alone.
    """

    has_rsample = True

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.parameter)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.parameter.expand(self._extended_shape(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        at_point = (value == self.parameter).flatten(-len(self._dims)).all(-1)
        return torch.where(at_point, inf, -inf).to(self.parameter.dtype)


@register_kl(Point, Distribution)
def _kl_point(p: Point, q: Distribution) -> Tensor:
    return p.parameter.new_full(torch.broadcast_shapes(p.batch_shape, q.batch_shape), inf)
