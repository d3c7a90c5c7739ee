"""Student's t, whose tails are heavier than a normal's."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Gamma, constraints

from polyvae.model.distributions.law import Law

_MANY = 20.0  # degrees of freedom from which the difference of two log-gammas is a series


class StudentT(Law):
    """Student's t with more than 2 degrees of freedom df, so that it has a mean and a variance.

    log p(x) = -(df + 1) / 2 log(1 + y^2 / df) + log G((df + 1) / 2) - log G(df / 2) - log(pi df) / 2 - log s,
    y = (x - loc) / s, one law for each value; its variance is s^2 df / (df - 2).

    torch's law of that name takes the difference of the two log-gammas as it stands, which in single precision leaves
    no digit of it where df is large, and looks at its arguments, which makes a GPU wait.
    """

    has_rsample = True

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor) -> None:
        # As given too: what is one number for all values is worked out once, not at each of them.
        self._df, self._scale = df, scale
        self.df, self.loc, self.scale = torch.broadcast_tensors(df, loc, scale)
        super().__init__(self.loc.shape)

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> StudentT:
        shape = Size(batch_shape)
        return StudentT(self._df, self.loc.expand(shape), self._scale)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * self.df / (self.df - 2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(Size(sample_shape))
        eps = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        half = 0.5 * self.df.expand(shape)
        return self.loc + self.scale * eps * Gamma(half, half, validate_args=False).rsample().rsqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        y = (value - self.loc) / (self._scale * self._df.sqrt())
        constant = _gammas(self._df) - 0.5 * (self._df.log() + log(pi)) - self._scale.log()
        return constant - 0.5 * (self._df + 1) * torch.log1p(y.square())


def _gammas(df: Tensor) -> Tensor:
    """log G((df + 1) / 2) - log G(df / 2)"""
    few, many = df.clamp(max=_MANY), df.clamp(min=_MANY)
    z = 1 / many
    series = 0.5 * (0.5 * many).log() - z / 4 + z**3 / 24 - z**5 / 20
    return torch.where(df < _MANY, torch.lgamma((few + 1) / 2) - torch.lgamma(few / 2), series)
