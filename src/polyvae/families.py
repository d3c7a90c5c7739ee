"""Families: what turns a network's unconstrained output into a distribution.

Each reads raw [B, size(F), *rest] and returns a distribution with batch shape [B] and event shape [F, *rest], in single
precision or better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import expm1, isqrt, log, sqrt

import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import Distribution, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from polyvae import discretised, distributions
from polyvae.core import Family
from polyvae.count_families import COUNTS
from polyvae.count_families import NegativeBinomial as NegativeBinomial
from polyvae.count_families import Poisson as Poisson
from polyvae.count_families import ZeroInflatedNegativeBinomial as ZeroInflatedNegativeBinomial
from polyvae.precision import full
from polyvae.scales import OPTIMAL, SCALES, between, find, scale_of


class DiagonalNormal(Family):
    """Normal with independent values, loc and scale from the network.

    mu = raw_1, s = floor + softplus(raw_2 + c), c such that raw_2 = 0 gives s = 1

    The softplus makes small scales logarithmic in raw_2, large ones linear, so that neither a step nor a bad start
    overflows; the floor bounds log q.
    """

    def __init__(self, floor: float = 1e-4) -> None:
        super().__init__()
        self.floor = _floor(floor)

    def size(self, features: int) -> int:
        return 2 * features

    def forward(self, raw: Tensor) -> Distribution:
        loc, scale = full(raw).chunk(2, 1)
        return _event(_normal(loc, _positive(scale, self.floor)))


class FullNormal(Family):
    """Normal with full covariance L L' over a vector, L lower triangular.

    z = mu + L eps, log q(z) = sum_i log N(eps_i; 0, 1) - log L_ii

    raw holds mu, the diagonal of L through the map of `DiagonalNormal`, and the d (d - 1) / 2 numbers below it as they
    are; with these zero it is `DiagonalNormal`.
    """

    def __init__(self, floor: float = 1e-4) -> None:
        super().__init__()
        self.floor = _floor(floor)

    def size(self, features: int) -> int:
        return features * (features + 3) // 2

    def forward(self, raw: Tensor) -> Distribution:
        features = (isqrt(9 + 8 * raw.shape[1]) - 3) // 2
        if raw.ndim != 2 or self.size(features) != raw.shape[1]:
            raise ValueError(f"a full covariance needs raw [B, d (d + 3) / 2], got {list(raw.shape)}")
        loc, diagonal, lower = full(raw).split([features, features, raw.shape[1] - 2 * features], 1)
        tril = _positive(diagonal, self.floor).diag_embed()
        row, column = torch.tril_indices(features, features, -1, device=raw.device)
        tril[:, row, column] = lower
        return distributions.CholeskyNormal(loc, scale_tril=tril, validate_args=False)


class Point(Family):
    """All mass at the network's output: the posterior of a plain autoencoder."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        raw = full(raw)
        return distributions.Point(raw, raw.ndim - 1)


class Bernoulli(Family):
    """Independent bits, the raw output their log odds; on grey x in [0, 1] the customary cross-entropy."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        raw = full(raw)
        return distributions.Bernoulli(raw, raw.ndim - 1)


class PixelNormal(Family):
    """Normal whose loc is the raw output, not squashed.

    `scale`: a positive number (sqrt(1/2) makes -log p the squared error plus a constant); "learned", one number for all
    values; "network", one per value, between 1/256 and 16, where it starts in the middle of the logarithms, at 1/4;
    "optimal", the analytic optimum of each batch, see `distributions.OptimalNormal`. Its running mean over about the
    last 20 batches serves evaluation, and is updated by `log_prob` in training mode only, as by BatchNorm. Each process
    of a parallel run fits its own.

    Rybkin, Daniilidis, Levine: Simple and Effective VAE Training with Calibrated Decoders, 2021.
    """

    def __init__(self, scale: float | str = "optimal") -> None:
        super().__init__()
        self.scale = scale_of(scale, {**SCALES, **OPTIMAL})

    def size(self, features: int) -> int:
        return self.scale.outputs * features

    def forward(self, raw: Tensor) -> Distribution:
        return self.scale(full(raw), _pixel_normal)


class Laplace(Family):
    """Laplace law whose loc is the raw output, not squashed; `scale` a positive number, "learned" or "network".

    log p(x) = -|x - mu| / b - log 2 b. The three scales are those of `PixelNormal`.
    """

    def __init__(self, scale: float | str = "learned") -> None:
        super().__init__()
        self.scale = scale_of(scale, SCALES)

    def size(self, features: int) -> int:
        return self.scale.outputs * features

    def forward(self, raw: Tensor) -> Distribution:
        return self.scale(full(raw), lambda loc, scale: _event(td.Laplace(loc, scale, validate_args=False)))


class DiscretisedLogistic(Family):
    """Logistic rounded to `levels` grey values, loc (the raw output) and scale from the network, value by value.

    The scale lies between 1/16 of a grey level and 4. See `discretised.DiscretisedLogistic`.
    """

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = _at_least("levels", levels, 2)

    def size(self, features: int) -> int:
        return 2 * features

    def forward(self, raw: Tensor) -> Distribution:
        loc, scale = full(raw).chunk(2, 1)
        return _event(_logistic(loc, scale, self.levels))

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class DiscretisedLogisticMixture(Family):
    """Mixture of `components` discretised logistics for each value on its own, all parameters from the network.

    The raw locs are counted from evenly spaced grey values, so that the components start apart.

    Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017 (without its coupling of colours).
    """

    centres: Tensor

    def __init__(self, components: int = 5, levels: int = 256) -> None:
        super().__init__()
        self.components = _at_least("components", components, 1)
        self.levels = _at_least("levels", levels, 2)
        self.register_buffer("centres", (torch.arange(components) + 0.5) / components, persistent=False)

    def size(self, features: int) -> int:
        return 3 * self.components * features

    def forward(self, raw: Tensor) -> Distribution:
        logits, loc, scale = full(raw).unflatten(1, (3, self.components, -1)).movedim(2, -1).unbind(1)
        parts = _logistic(loc + self.centres, scale, self.levels)
        return _event(MixtureSameFamily(td.Categorical(logits=logits, validate_args=False), parts, validate_args=False))

    def extra_repr(self) -> str:
        return f"components={self.components}, levels={self.levels}"


class Categorical(Family):
    """Any law over `levels` grey values in [0, 1], value by value, the raw output its logits."""

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = _at_least("levels", levels, 2)

    def size(self, features: int) -> int:
        return self.levels * features

    def forward(self, raw: Tensor) -> Distribution:
        return _event(discretised.GridCategorical(full(raw).unflatten(1, (self.levels, -1)).movedim(1, -1)))

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


def _pixel_normal(loc: Tensor, scale: Tensor) -> Distribution:
    return _event(_normal(loc, scale)) if scale.ndim else distributions.SharedNormal(loc, scale, loc.ndim - 1)


def _normal(loc: Tensor, scale: Tensor) -> Distribution:
    return Normal(loc, scale, validate_args=False)


def _logistic(loc: Tensor, scale: Tensor, levels: int) -> Distribution:
    return discretised.DiscretisedLogistic(loc, between(scale, 1 / (16 * (levels - 1)), 4.0), levels)


def _event(law: Distribution) -> Distribution:
    return Independent(law, len(law.batch_shape) - 1, validate_args=False)


def _positive(raw: Tensor, floor: float) -> Tensor:
    """floor + softplus(raw + c), 1 at raw = 0."""
    return floor + F.softplus(raw + log(expm1(1 - floor)))


def _floor(floor: float) -> float:
    if not 0 < floor < 1:
        raise ValueError(f"floor must lie between 0 and 1, got {floor}")
    return floor


def _at_least(name: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


# Names on the command line. A likelihood is made for a number of grey levels, None where the data have none.
POSTERIORS: Mapping[str, Callable[[], Family]] = {"diagonal": DiagonalNormal, "full": FullNormal, "point": Point}

LIKELIHOODS: Mapping[str, Callable[[int | None], Family]] = {
    "bernoulli": lambda levels: Bernoulli(),
    "normal": lambda levels: PixelNormal(sqrt(0.5)),  # squared error summed over the values, plus a constant
    "normal-learned": lambda levels: PixelNormal("learned"),
    "normal-network": lambda levels: PixelNormal("network"),
    "normal-optimal": lambda levels: PixelNormal("optimal"),
    "laplace": lambda levels: Laplace("learned"),
    "logistic": lambda levels: DiscretisedLogistic(_grey(levels)),
    "logistic-mixture": lambda levels: DiscretisedLogisticMixture(levels=_grey(levels)),
    "categorical": lambda levels: Categorical(_grey(levels)),
    **{name: lambda levels, make=make: make() for name, make in COUNTS.items()},
}


def posterior(name: str) -> Family:
    """A new family of that name in `POSTERIORS`; ValueError with the known names if there is none."""
    return find(POSTERIORS, name, "posterior")()


def likelihood(name: str, levels: int | None = 256) -> Family:
    """A new family of that name in `LIKELIHOODS`; ValueError with the known names if there is none."""
    return find(LIKELIHOODS, name, "likelihood")(levels)


def _grey(levels: int | None) -> int:
    if levels is None:
        raise ValueError("likelihood: this one counts grey levels and the data have none; take a normal or Laplace one")
    return levels
