"""Families over counts: raw [B, size(F), *rest] holds the logarithm of the mean first, then what else the law needs.

Where a library size scales the mean, the network adds its logarithm, see `networks.library`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.names import find
from polyvae.model.distributions import counts as count_laws
from polyvae.model.precision import full
from polyvae.model.vae import Family

_LARGEST = 30.0  # of a mean and an inverse dispersion, as a logarithm; the least is its reciprocal


class Link(nn.Module):
    """log mu = spread raw + log start of counts, [B, F, *rest], and log theta = raw - 2 log spread.

    `start`: one mean for each feature; `spread`: the deviation of its counts' logarithms, in whose units the network
    speaks, and as wide as which the law starts. Both are 1 by default.
    """

    log_start: Tensor | None
    spread: Tensor | None

    def __init__(self, start: Sequence[float] | None, spread: Sequence[float] | None = None) -> None:
        super().__init__()
        for name, what, values in (("start", "mean", start), ("spread", "deviation", spread)):
            if values is not None and not (len(values) and min(values) > 0):
                raise ValueError(f"{name} holds one {what} for each feature, each above 0; got {values}")
        self.register_buffer("log_start", None if start is None else torch.tensor(start).log(), persistent=False)
        # Kept with the weights: those that were trained without it are refused, not misread.
        self.register_buffer("spread", None if spread is None else torch.tensor(spread))

    def forward(self, raw: Tensor) -> Tensor:
        shape, raw = (-1, *[1] * (raw.ndim - 2)), full(raw)
        scaled = raw if self.spread is None else self.spread.view(shape) * raw
        return _bounded(scaled if self.log_start is None else scaled + self.log_start.view(shape))

    def theta(self, raw: Tensor, rest: int) -> Tensor:
        """log theta, of [B, F, *rest] or [F, *rest]; `rest` counts those dimensions."""
        return _bounded(raw if self.spread is None else full(raw) - 2 * self.spread.log().view(-1, *[1] * rest))


class Poisson(Family):
    """Independent Poisson counts of the mean that `Link` makes of the raw output."""

    def __init__(self, start: Sequence[float] | None = None, spread: Sequence[float] | None = None) -> None:
        super().__init__()
        self.link = Link(start, spread)

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        return _counts(count_laws.Poisson(self.link(raw)))


class _Dispersed(Family):
    """Counts of a mean, by `Link` from raw_1, of an inverse dispersion, and of what else the law reads of `numbers`."""

    law: type[count_laws.CountLaw]
    numbers: int  # for each feature, beside the dispersion

    def __init__(
        self,
        dispersion: str = "column",
        start: Sequence[float] | None = None,
        spread: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.link, self.dispersion = Link(start, spread), _dispersion(dispersion)

    def size(self, features: int) -> int:
        return self.numbers * features + self.dispersion.size(features)

    def forward(self, raw: Tensor) -> Distribution:
        log_theta, log_mean, *others = self.dispersion(raw, self.numbers)
        log_theta = self.link.theta(log_theta, raw.ndim - 2)
        return _counts(self.law(self.link(log_mean), log_theta, *map(full, others)))


class NegativeBinomial(_Dispersed):
    """Independent negative binomial counts of mean mu, by `Link` from raw_1, and inverse dispersion theta.

    `dispersion`: "column", one theta for each feature, learned; "network", one for each value, whose logarithm comes
    last. `start`, `spread`: of `Link`. `size` makes the learned dispersions, so that a family belongs
    to one number of features.

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018.
    """

    law, numbers = count_laws.NegativeBinomial, 1


class ZeroInflatedNegativeBinomial(_Dispersed):
    """Independent counts, zero with probability pi, else negative binomial; the log odds of pi are raw_2.

    `dispersion`, `start`, `spread`: as of `NegativeBinomial`, the mean that of what is not zero by itself.

    Lopez, Regier, Cole, Jordan, Yosef: Deep generative modeling for single-cell transcriptomics, 2018.
    """

    law, numbers = count_laws.ZeroInflatedNegativeBinomial, 2


# Names on the command line; each makes a family of a `start` and a `spread`.
COUNTS: Mapping[str, Callable[..., Family]] = {
    "poisson": Poisson,
    "negative-binomial": NegativeBinomial,
    "negative-binomial-network": partial(NegativeBinomial, "network"),
    "zero-inflated-negative-binomial": ZeroInflatedNegativeBinomial,
    "zero-inflated-negative-binomial-network": partial(ZeroInflatedNegativeBinomial, "network"),
}


class _Column(nn.Module):
    """One theta for each feature, learned: 10 a, so that steps of a reach any size; see `learned_scale`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("raw", None)

    def size(self, features: int) -> int:
        if self.raw is None:
            self.raw = nn.Parameter(torch.zeros(features))
        if len(self.raw) != features:
            raise ValueError(f"a dispersion for {len(self.raw)} columns; asked for {features}: make a new family")
        return 0

    def forward(self, raw: Tensor, parts: int) -> tuple[Tensor, ...]:
        if self.raw is None:
            raise ValueError("the dispersion's columns are not known yet: ask the family for size(features) first")
        return 10 * self.raw.view(-1, *[1] * (raw.ndim - 2)), *raw.chunk(parts, 1)

    def extra_repr(self) -> str:
        return "" if self.raw is None else f"{len(self.raw)}"


class _Network(nn.Module):
    """A theta for every value, from the network."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor, parts: int) -> tuple[Tensor, ...]:
        *others, log_theta = raw.chunk(parts + 1, 1)
        return log_theta, *others


DISPERSIONS: Mapping[str, Callable[[], _Column | _Network]] = {"column": _Column, "network": _Network}


def _dispersion(name: str) -> _Column | _Network:
    return find(DISPERSIONS, name, "dispersion")()


def _counts(law: count_laws.CountLaw) -> Distribution:
    return count_laws.Counts(law, len(law.batch_shape) - 1, validate_args=False)


def _bounded(raw: Tensor) -> Tensor:
    """Within [-30, 30], where exp and its products are finite; the gradient goes on outside, and leads back."""
    raw = full(raw)
    return raw + (raw.clamp(-_LARGEST, _LARGEST) - raw).detach()
