"""Families over counts: raw [B, size(F), *rest] holds the logarithm of the mean first, then what else the law needs.

Where a library size scales the mean, the network adds its logarithm, see `networks.library`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae import count_laws
from polyvae.core import Family
from polyvae.scales import find, full

_LARGEST = 30.0  # of a mean and an inverse dispersion, as a logarithm; the least is its reciprocal


class Poisson(Family):
    """Independent Poisson counts, log mu the raw output."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        return _event(count_laws.Poisson(_logarithm(raw)))


class NegativeBinomial(Family):
    """Independent negative binomial counts of mean mu, log mu from the network, and inverse dispersion theta.

    `dispersion`: "column", one theta for each feature, learned, started at 1; "network", one for each value. `size`
    makes the learned ones, so that a family belongs to one number of features.

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018.
    """

    def __init__(self, dispersion: str = "column") -> None:
        super().__init__()
        self.dispersion = _dispersion(dispersion)

    def size(self, features: int) -> int:
        return features + self.dispersion.size(features)

    def forward(self, raw: Tensor) -> Distribution:
        return _event(count_laws.NegativeBinomial(*self.dispersion(raw, 1)))


class ZeroInflatedNegativeBinomial(Family):
    """Independent counts, zero with probability pi, else negative binomial; the log odds of pi from the network.

    `dispersion`: as that of `NegativeBinomial`.

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018.
    """

    def __init__(self, dispersion: str = "column") -> None:
        super().__init__()
        self.dispersion = _dispersion(dispersion)

    def size(self, features: int) -> int:
        return 2 * features + self.dispersion.size(features)

    def forward(self, raw: Tensor) -> Distribution:
        log_mean, log_theta, gate = self.dispersion(raw, 2)
        return _event(count_laws.ZeroInflatedNegativeBinomial(log_mean, log_theta, gate))


COUNTS = (Poisson, NegativeBinomial, ZeroInflatedNegativeBinomial)


class _Column(nn.Module):
    """One theta for each feature, learned."""

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("log_theta", None)

    def size(self, features: int) -> int:
        if self.log_theta is None:
            self.log_theta = nn.Parameter(torch.zeros(features))
        if len(self.log_theta) != features:
            raise ValueError(f"a dispersion for {len(self.log_theta)} columns; asked for {features}: make a new family")
        return 0

    def forward(self, raw: Tensor, parts: int) -> tuple[Tensor, ...]:
        if self.log_theta is None:
            raise ValueError("the dispersion's columns are not known yet: ask the family for size(features) first")
        log_mean, *others = raw.chunk(parts, 1)
        log_theta = self.log_theta.view(-1, *[1] * (raw.ndim - 2))
        return _logarithm(log_mean), _logarithm(log_theta), *map(full, others)

    def extra_repr(self) -> str:
        return "" if self.log_theta is None else f"{len(self.log_theta)}"


class _Network(nn.Module):
    """A theta for every value, from the network."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor, parts: int) -> tuple[Tensor, ...]:
        log_mean, log_theta, *others = raw.chunk(parts + 1, 1)
        return _logarithm(log_mean), _logarithm(log_theta), *map(full, others)


DISPERSIONS: Mapping[str, Callable[[], _Column | _Network]] = {"column": _Column, "network": _Network}


def _dispersion(name: str) -> _Column | _Network:
    return find(DISPERSIONS, name, "dispersion")()


def _event(law: count_laws.CountLaw) -> Distribution:
    return count_laws.Counts(law, len(law.batch_shape) - 1, validate_args=False)


def _logarithm(raw: Tensor) -> Tensor:
    """Within [-30, 30], where exp and its products are finite; the gradient goes on outside, and leads back."""
    raw = full(raw)
    return raw + (raw.clamp(-_LARGEST, _LARGEST) - raw).detach()
