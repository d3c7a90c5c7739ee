"""Laws over counts 0, 1, 2, ...: Poisson, negative binomial, and that with more zeros.

All are scored through their deviance: in single precision the usual sum of log-gammas loses a nat at counts of 10^6,
and more at a large inverse dispersion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Gamma, Independent, constraints
from torch.nn import functional as F

from polyvae.model.distributions.law import HALF_LOG_TWO_PI, Law

_NEAR = 0.01  # of v^2, up to which the seven terms of artanh v are exact in double precision
_SERIES = 8.0  # from here on Stirling's series has more digits than the difference of two large numbers


class CountLaw(Law):
    """One law per value; the parameters broadcast, and the first has the whole shape."""

    def __init__(self, first: Tensor, *others: Tensor) -> None:
        self.parameters = first, *others
        super().__init__(torch.broadcast_shapes(*(parameter.shape for parameter in self.parameters)))

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> Self:
        return type(self)(self.parameters[0].expand(Size(batch_shape)), *self.parameters[1:])

    def unfold(self, samples: int) -> Self:
        """[K * B, ...] -> [K, B, ...], views; a parameter that is the same in every row stays as it is."""
        rows, whole = self.batch_shape[0], len(self.batch_shape)
        own = (p.ndim == whole and len(p) == rows for p in self.parameters)
        return type(self)(
            *(p.unflatten(0, (samples, -1)) if each else p for p, each in zip(self.parameters, own, strict=True))
        )

    @property
    def support(self) -> constraints.Constraint:
        return constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return self.parameters[0].exp().expand(self.batch_shape)


class Poisson(CountLaw):
    """Poisson law of mean mu, given by its logarithm.

    log p(x) = x log mu - mu - log x! = -D - log(2 pi x) / 2 - d(x), D = x log(x / mu) - (x - mu)

    d(x) is what Stirling's formula leaves of log x!.

    Loader: Fast and Accurate Computation of Binomial Probabilities, 2000.
    """

    def __init__(self, log_mean: Tensor) -> None:
        super().__init__(log_mean)

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return torch.poisson(self.mean.expand(self._extended_shape(Size(sample_shape))))

    def log_prob(self, value: Tensor) -> Tensor:
        mean = self.parameters[0].exp()
        some, x = _some(value)
        low, gap, sign = _apart(x, mean)
        deviance = sign * (x * (gap / low).log1p() - gap)
        return torch.where(some, -deviance - 0.5 * x.log() - HALF_LOG_TWO_PI - _stirling(x), -mean)


class NegativeBinomial(CountLaw):
    """Negative binomial of mean mu and inverse dispersion theta, given by their logarithms; variance mu + mu^2 / theta.

    p(x) = G(x + theta) / (x! G(theta)) (theta / (theta + mu))^theta (mu / (theta + mu))^x, G the gamma function

    It is the Poisson law whose rate is gamma distributed with mean mu and shape theta, and Poisson's own for theta
    without bound.

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018; scored as by
    Loader: Fast and Accurate Computation of Binomial Probabilities, 2000.
    """

    def __init__(self, log_mean: Tensor, log_theta: Tensor) -> None:
        super().__init__(log_mean, log_theta)

    @property
    def variance(self) -> Tensor:
        return self.mean + self.mean.square() / self.parameters[1].exp()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return _gamma_poisson(self.parameters[0], self.parameters[1], self._extended_shape(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return _negative_binomial(value, self.parameters[0], self.parameters[1])


class ZeroInflatedNegativeBinomial(CountLaw):
    """Zero with probability pi, whose log odds are `gate`, else a negative binomial of mean mu.

    p(x) = pi [x = 0] + (1 - pi) NB(x; mu, theta), of mean (1 - pi) mu

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018.
    """

    def __init__(self, log_mean: Tensor, log_theta: Tensor, gate: Tensor) -> None:
        super().__init__(log_mean, log_theta, gate)

    @property
    def mean(self) -> Tensor:
        return (-self.parameters[2]).sigmoid() * super().mean

    @property
    def variance(self) -> Tensor:
        """(1 - pi) (mu + mu^2 / theta + pi mu^2)"""
        log_mean, log_theta, gate = self.parameters
        mean = log_mean.exp()
        return (-gate).sigmoid() * (mean + mean.square() * ((-log_theta).exp() + gate.sigmoid()))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        log_mean, log_theta, gate = self.parameters
        shape = self._extended_shape(Size(sample_shape))
        with torch.no_grad():
            present = torch.bernoulli((-gate).sigmoid().expand(shape))
            return present * _gamma_poisson(log_mean, log_theta, shape)

    def log_prob(self, value: Tensor) -> Tensor:
        log_mean, log_theta, gate = self.parameters
        counted = F.logsigmoid(-gate) + _negative_binomial(value, log_mean, log_theta)
        return torch.where(value > 0, counted, torch.logaddexp(F.logsigmoid(gate), counted))


class Counts(Independent):
    """Independent counts, the event summed; K draws are scored against x [B, ...] without K copies of it."""

    def unfold(self, samples: int) -> Counts:
        """[K * B] -> [K, B], a view: what x and the columns alone decide is then computed once for all K."""
        return Counts(self.base_dist.unfold(samples), self.reinterpreted_batch_ndims, validate_args=False)


def _negative_binomial(value: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """log p(x) = -D - log(1 + x / theta) / 2 - log(2 pi x) / 2 + d(x + theta) - d(theta) - d(x), and -D at x = 0."""
    theta = log_theta.exp()
    some, x = _some(value)
    # Neither line reads the mean: with a theta per column they have one row for all draws of an example.
    shape = _stirling(x + theta) - _stirling(theta) - 0.5 * (x / theta).log1p()
    counted = shape - 0.5 * x.log() - HALF_LOG_TWO_PI - _stirling(x)
    found: Any = _LessDeviance.apply(value, some, x, counted, log_mean, theta)
    return found


class _LessDeviance(torch.autograd.Function):
    """What is `counted` less D = x log(x / mu) - (x + theta) log((x + theta) / (mu + theta)), and -D at x = 0.

    Value and derivatives are each arranged so that nothing large cancels, which those of the value's own terms do where
    theta is large: with u = (x - mu) / (mu + theta), dD / dlog mu = -theta u and dD / dtheta = u - log(1 + u). Counts
    themselves have no gradient.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, some: Tensor, x: Tensor, counted: Tensor, log_mean: Tensor, theta: Tensor) -> Tensor:
        mean = log_mean.exp()
        low, gap, sign = _apart(x, mean)
        spread = (gap / low * (theta / (low + gap + theta))).log1p()
        deviance = sign * (x * spread - theta * (gap / (low + theta)).log1p())
        return torch.where(some, counted - deviance, -theta * (mean / theta).log1p())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        value, some, _, counted, log_mean, theta = inputs
        ctx.save_for_backward(value, some, log_mean, theta)
        ctx.counted = counted.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        value, some, log_mean, theta = ctx.saved_tensors
        mean = log_mean.exp()
        apart = value - mean
        u = apart / (mean + theta)
        by_mean = (gradient * theta * u).sum_to_size(log_mean.shape)
        if not ctx.needs_input_grad[5]:
            return None, None, None, None, by_mean, None
        by_counted = torch.where(some, gradient, 0.0).sum_to_size(ctx.counted)
        low = torch.minimum(value, mean)
        # log(1 + u) = 2 artanh v, whose first terms leave u v of u.
        v = apart / (value + mean + 2 * theta)
        square = v.square()
        series = square * (1 / 11 + square * (1 / 13 + square / 15))
        series = 1 / 3 + square * (1 / 5 + square * (1 / 7 + square * (1 / 9 + series)))
        whole = apart.sign() * (apart.abs() / (low + theta)).log1p() - u
        rest = torch.where(square < _NEAR, v * (2 * square * series - u), whole)
        return None, None, None, by_counted, by_mean, (gradient * rest).sum_to_size(theta.shape)


def _some(value: Tensor) -> tuple[Tensor, Tensor]:
    """Whether anything was counted, and the counts with 1 for none: the branch not taken must have a gradient too."""
    some = value > 0
    return some, torch.where(some, value, 1.0)


def _apart(x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The smaller of the two, how far apart they are, and 1 or -1 as x is the larger or the smaller."""
    low, high = torch.minimum(x, mean), torch.maximum(x, mean)
    return low, high - low, torch.where(x < mean, -1.0, 1.0).to(low.dtype)


def _stirling(x: Tensor) -> Tensor:
    """d(x) = log G(x) - (x - 1/2) log x + x - log(2 pi) / 2, which vanishes as 1 / (12 x)."""
    small, large = x.clamp(max=_SERIES), x.clamp(min=_SERIES)
    exact = small.lgamma() - (small - 0.5) * small.log() + small - HALF_LOG_TWO_PI
    inverse = large.reciprocal()
    square = inverse.square()
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    return torch.where(x < _SERIES, exact, series)


def _gamma_poisson(log_mean: Tensor, log_theta: Tensor, shape: Size) -> Tensor:
    rate = Gamma(log_theta.exp().expand(shape), (log_theta - log_mean).exp().expand(shape), validate_args=False)
    return torch.poisson(rate.sample())
