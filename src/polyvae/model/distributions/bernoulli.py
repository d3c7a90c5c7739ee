"""Independent bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from polyvae.model.distributions.law import Event, by_slabs


class Bernoulli(Event):
    """Independent bits with log odds l, scored by cross-entropy.

    log p(x) = sum_i x_i l_i - log(1 + exp l_i)

    Takes l [*batch, *event], the last `event_dim` dimensions the event. A grey x in [0, 1] is accepted; the value is
    then the cross-entropy customary for grey pictures and not the logarithm of a normalised density (Loaiza-Ganem,
    Cunningham: The continuous Bernoulli: fixing a pervasive error in variational autoencoders, 2019).
    """

    values = constraints.boolean

    @property
    def accepted(self) -> constraints.Constraint:
        """What is scored, if not as a density."""
        return constraints.independent(constraints.unit_interval, len(self._dims))

    @property
    def logits(self) -> Tensor:
        return self.parameter

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        return self.mean * (-self.logits).sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(self._extended_shape(Size(sample_shape))))

    def log_prob(self, value: Tensor) -> Tensor:
        def score(x: Tensor, logits: Tensor) -> Tensor:
            return (x * logits).sum(self._dims) - F.softplus(logits).sum(self._dims)

        def cross_entropy(x: Tensor, logits: Tensor) -> Tensor:
            return -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(self._dims)

        # torch's own has the cheaper gradient, but wants a value of the logits' shape and makes no use of slabs.
        trained = torch.is_grad_enabled() and self.logits.requires_grad
        trained = trained and value.shape == self.logits.shape[max(0, self.logits.ndim - value.ndim) :]
        return by_slabs(cross_entropy if trained else score, value, self.logits)

    def value_log_prob(self, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, x, reduction="none")
