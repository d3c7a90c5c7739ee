"""Families over real values: normals, the Laplace law, and the point."""

from __future__ import annotations

from math import expm1, isqrt, log, sqrt

import torch
from torch import Tensor, nn
from torch import distributions as td
from torch.distributions import Distribution, Normal
from torch.nn import functional as F

from polyvae.model import distributions
from polyvae.model.distributions.law import whole
from polyvae.model.families.scales import OPTIMAL, SCALES, between, scale_of
from polyvae.model.precision import full
from polyvae.model.vae import Family

FLOOR = 1e-4  # of a posterior's scale


class DiagonalNormal(Family):
    """Normal with independent values, loc and scale from the network.

    mu = raw_1, s = floor + softplus(raw_2 + c), c such that raw_2 = 0 gives s = 1

    The softplus makes small scales logarithmic in raw_2, large ones linear, so that neither a step nor a bad start
    overflows; the floor bounds log q.
    """

    def __init__(self, floor: float = FLOOR) -> None:
        super().__init__()
        self.floor = checked_floor(floor)

    def size(self, features: int) -> int:
        return 2 * features

    def forward(self, raw: Tensor) -> Distribution:
        loc, scale = full(raw).chunk(2, 1)
        return whole(_normal(loc, positive(scale, self.floor)))

    def raw_scale(self, scale: Tensor) -> Tensor:
        """The raw numbers of these scales, at least twice the floor."""
        found = scale.clamp(min=2 * self.floor) - self.floor
        return found + (-(-found).expm1()).log() - log(expm1(1 - self.floor))


class FullNormal(Family):
    """Normal with full covariance L L' over a vector, L lower triangular.

    z = mu + L eps, log q(z) = sum_i log N(eps_i; 0, 1) - log L_ii, L = diag(s) (I + M / sqrt(d))

    raw holds mu, s through the map of `DiagonalNormal`, and the d (d - 1) / 2 numbers of M, which are below its
    diagonal; with these zero it is `DiagonalNormal`. A dimension that is told precisely stays so whatever its numbers
    in M are, and the many of a wide z together weigh no more than the few of a narrow one.
    """

    def __init__(self, floor: float = FLOOR) -> None:
        super().__init__()
        self.floor = checked_floor(floor)

    def size(self, features: int) -> int:
        return features * (features + 3) // 2

    def forward(self, raw: Tensor) -> Distribution:
        features = (isqrt(9 + 8 * raw.shape[1]) - 3) // 2
        if raw.ndim != 2 or self.size(features) != raw.shape[1]:
            raise ValueError(f"a full covariance needs raw [B, d (d + 3) / 2], got {list(raw.shape)}")
        loc, diagonal, lower = full(raw).split([features, features, raw.shape[1] - 2 * features], 1)
        scale = positive(diagonal, self.floor)
        row, column = torch.tril_indices(features, features, -1, device=raw.device)
        tril = scale.diag_embed()
        tril[:, row, column] = scale[:, row] * lower / features**0.5
        return distributions.CholeskyNormal(loc, scale_tril=tril, validate_args=False)


class Point(Family):
    """All mass at the network's output: the posterior of a plain autoencoder."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        raw = full(raw)
        return distributions.Point(raw, raw.ndim - 1)


class FixedNormal(Family):
    """Normal with independent values of one given `variance` about the network's output: a Gaussian channel.

    mu = raw, s^2 = variance
    """

    def __init__(self, variance: float) -> None:
        super().__init__()
        if not 0 < variance < float("inf"):
            raise ValueError(f"variance is a positive number; got {variance}")
        self.variance = variance

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        loc = full(raw)
        return whole(_normal(loc, torch.full_like(loc, sqrt(self.variance))))

    def extra_repr(self) -> str:
        return f"variance={self.variance:g}"


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

    def around(self, mean: Tensor, std: Tensor) -> Tensor:
        """The raw output whose law has this mean and, where the network says one, about this standard deviation."""
        return self.scale.around(mean, std)

    def forward(self, raw: Tensor) -> Distribution:
        return self.scale(full(raw), _pixel_normal)


def _pixel_normal(loc: Tensor, scale: Tensor) -> Distribution:
    return whole(_normal(loc, scale)) if scale.ndim else distributions.SharedNormal(loc, scale, loc.ndim - 1)


def _normal(loc: Tensor, scale: Tensor) -> Distribution:
    return Normal(loc, scale, validate_args=False)


def positive(raw: Tensor, floor: float) -> Tensor:
    """floor + softplus(raw + c), 1 at raw = 0."""
    return floor + F.softplus(raw + log(expm1(1 - floor)))


def checked_floor(floor: float) -> float:
    """The floor of a scale; ValueError unless it lies between 0 and 1."""
    if not 0 < floor < 1:
        raise ValueError(f"floor must lie between 0 and 1, got {floor}")
    return floor


class Laplace(Family):
    """Laplace law whose loc is the raw output, or its sigmoid with `unit`; `scale` a positive number, "learned" or
    "network".

    log p(x) = -|x - mu| / b - log 2 b. The three scales are those of `PixelNormal`.
    """

    def __init__(self, scale: float | str = "learned", unit: bool = False) -> None:
        super().__init__()
        self.scale = scale_of(scale, SCALES)
        self.unit = unit

    def size(self, features: int) -> int:
        return self.scale.outputs * features

    def forward(self, raw: Tensor) -> Distribution:
        return self.scale(full(raw), self._law)

    def _law(self, loc: Tensor, scale: Tensor) -> Distribution:
        loc = loc.sigmoid() if self.unit else loc
        if scale.ndim or loc.ndim == 2:  # of vectors torch's own, which has closed forms where it is a posterior
            return whole(td.Laplace(loc, scale, validate_args=False))
        return distributions.SharedLaplace(loc, scale, loc.ndim - 1)


class StudentT(Family):
    """Student's t whose loc is the raw output, not squashed: what lies far off costs its logarithm, not its square.

    `scale`: a positive number, "learned" or "network", as of `PixelNormal`. The degrees of freedom, one learned number
    for all values, lie between 2.01, above which a variance exists, and 1,000, nearly a normal; they start at 45.

    Lange, Little, Taylor: Robust Statistical Modeling Using the t Distribution, 1989.
    """

    def __init__(self, scale: float | str = "learned") -> None:
        super().__init__()
        self.scale = scale_of(scale, SCALES)
        self.raw_df = nn.Parameter(torch.zeros(()))

    def size(self, features: int) -> int:
        return self.scale.outputs * features

    def forward(self, raw: Tensor) -> Distribution:
        df = between(10 * self.raw_df, 2.01, 1000.0)  # ten times, as `learned_scale` is
        return self.scale(full(raw), lambda loc, scale: whole(distributions.StudentT(df, loc, scale)))
