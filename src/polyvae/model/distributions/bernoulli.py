"""Independent bits, and the density over [0, 1] of the same form."""

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


class ContinuousBernoulli(Event):
    """Independent values in [0, 1] of density proportional to that of a bit with log odds l, normalised.

    log p(x) = sum_i x_i l_i - log((exp l_i - 1) / l_i),  E x = 1 / (1 - exp -l) - 1 / l,  uniform at l = 0

    torch's law of that name takes l only as far as single precision tells a probability from 0 and 1, some 16, beyond
    which its density does not integrate to one; this one takes any l, and is a series where l is near 0.

    Loaiza-Ganem, Cunningham: The continuous Bernoulli: fixing a pervasive error in variational autoencoders, 2019.
    """

    values = constraints.unit_interval
    has_rsample = True

    @property
    def logits(self) -> Tensor:
        return self.parameter

    @property
    def mean(self) -> Tensor:
        small, odds = _apart(self.logits, 1.0)
        square = self.logits.square()
        series = 0.5 + self.logits * (1 / 12 - square / 720 + square**2 / 30240 - square**3 / 1209600)
        return torch.where(small, series, -1 / (-odds).expm1() - 1 / odds)

    @property
    def variance(self) -> Tensor:
        small, odds = _apart(self.logits, 1.0)
        square, away = self.logits.square(), -odds.abs()
        series = 1 / 12 - square / 240 + square**2 / 6048 - square**3 / 172800 + square**4 / 5322240
        return torch.where(small, series, 1 / odds.square() - away.exp() / away.expm1().square())

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = torch.rand(self._extended_shape(Size(sample_shape)), dtype=self.logits.dtype, device=self.logits.device)
        small, odds = _apart(self.logits, 0.03)
        falling = -(u * (-odds.abs()).expm1()).log1p() / odds.abs()  # the inverse of its distribution function at -|l|
        bent = 0.5 * self.logits * (u - u.square())
        series = u + bent + bent * self.logits * (1 - 2 * u) / 3
        return torch.where(small, series, torch.where(odds > 0, 1 - falling, falling)).clamp(0, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        def score(x: Tensor, logits: Tensor) -> Tensor:
            return ((x - 0.5) * logits).sum(self._dims) - _log_sinhc(logits).sum(self._dims)

        return by_slabs(score, value, self.logits)

    def value_log_prob(self, x: Tensor) -> Tensor:
        return (x - 0.5) * self.logits - _log_sinhc(self.logits)


def _log_sinhc(logits: Tensor) -> Tensor:
    """log(sinh(l / 2) / (l / 2)), which is log((exp l - 1) / l) - l / 2."""
    small, odds = _apart(logits, 1.0)
    size = odds.abs()
    square = logits.square()
    series = square / 24 - square**2 / 2880 + square**3 / 181440 - square**4 / 9676800
    return torch.where(small, series, 0.5 * size + (-(-size).expm1() / size).log())


def _apart(logits: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Where log odds are so near 0 that a series stands for what divides by them, and others in their place there."""
    small = logits.abs() < bound
    return small, logits.masked_fill(small, 1.0)
