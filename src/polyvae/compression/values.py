"""Observed values as symbols: bits, grey levels and counts, each by the probabilities that a likelihood gives it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from polyvae.compression.latents import Coding
from polyvae.model.distributions.bernoulli import Bernoulli
from polyvae.model.distributions.counts import CountLaw
from polyvae.model.distributions.coupled import CoupledLogisticMixture
from polyvae.model.distributions.exact import Exact
from polyvae.model.distributions.grey import DiscretisedLogistic, GridCategorical
from polyvae.model.distributions.hats import PiecewiseLinear

_AT_ONCE = 2**20  # numbers of a table that are computed at once: what a cache holds


class Values(Protocol):
    """The values of x of one example: symbols from 0, as many as `levels`, None for counts, which have no largest."""

    @property
    def levels(self) -> int | None: ...

    def coding(self, p: Any, symbols: np.ndarray | None, largest: int) -> Coding:
        """`largest`: of all counts that are coded, beyond which none has a probability."""
        ...


def values_of(p: Distribution, name: str) -> Values:
    """How the values of a likelihood are coded; ValueError for densities, and for laws of values that depend on others
    in a way that no table tells."""
    base: Any = p.base_dist if isinstance(p, Independent) else p
    parts = base.component_distribution if isinstance(base, MixtureSameFamily) else base
    if isinstance(base, Bernoulli):
        return Bits()
    if isinstance(base, CoupledLogisticMixture):
        return Coupled(base.levels)
    if isinstance(parts, (DiscretisedLogistic, GridCategorical, PiecewiseLinear)):
        return Greys(parts.levels)
    if isinstance(base, CountLaw):
        return Counts()
    if isinstance(base, Exact):
        return Sure(base.levels)
    kind = type(base).__name__
    raise ValueError(
        f"the likelihood of {name!r} is a {kind}, which gives values no probabilities to code them by: train with "
        "--likelihood logistic-mixture or categorical for grey levels, bernoulli for bits, poisson or "
        "negative-binomial for counts"
    )


class Bits:
    """0 and 1."""

    levels: int | None = 2

    def coding(self, p: Any, symbols: np.ndarray | None, largest: int) -> Coding:
        odds = p.logits.double().reshape(-1, 1)
        return (yield torch.cat([-odds, odds], 1).sigmoid(), symbols)


class Greys:
    """The levels of independent values."""

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def coding(self, p: Any, symbols: np.ndarray | None, largest: int) -> Coding:
        law = p.base_dist
        if isinstance(law, GridCategorical):
            return (yield law.logits.double().reshape(-1, self.levels).softmax(1), symbols)
        if isinstance(law, PiecewiseLinear):
            return (yield law.probs.double().flatten(0, -2) @ law.hats.double(), symbols)
        if not isinstance(law, MixtureSameFamily):
            return (yield _logistic(law.loc.reshape(-1, 1), law.scale.reshape(-1, 1), self.levels), symbols)
        parts: Any = law.component_distribution
        weights, loc, scale = law.mixture_distribution.probs, parts.loc, parts.scale  # [1, *shape, K]
        table = _logistic(loc.flatten(0, -2), scale.flatten(0, -2), self.levels, weights.flatten(0, -2))
        return (yield table, symbols)


class Sure:
    """The levels that a latent tells: they cost nothing more."""

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def coding(self, p: Exact, symbols: np.ndarray | None, largest: int) -> Coding:
        yield from ()
        return (p.picture.reshape(-1) * (self.levels - 1)).round().long().numpy()


class Counts:
    """Whole numbers from 0 to the largest of all that are coded: what lies beyond it has no share."""

    levels: int | None = None

    def coding(self, p: Any, symbols: np.ndarray | None, largest: int) -> Coding:
        return (yield _table(p.base_dist, torch.arange(largest + 1, dtype=torch.float64)), symbols)


class Coupled:
    """The levels of pixels whose channels depend on each other: all places of a channel at once, given those before it.

    p(x_c | x_1 .. x_(c-1)) is the mixture of weights w_k prod_(b < c) p_k(x_b | ...).
    """

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def coding(self, p: Any, symbols: np.ndarray | None, largest: int) -> Coding:
        channels, mixed = p.event_shape[0], p.logits.shape[1]
        weights = p.logits.double().reshape(mixed, -1).T  # [n, K]; loc and scale [C, n, K]
        loc, scale = (each.double().reshape(mixed, channels, -1).movedim(0, -1) for each in (p.loc, p.scale))
        coupling = p.coupling.double().reshape(mixed, channels, channels, -1).movedim(0, -1)
        known = None if symbols is None else symbols.reshape(channels, -1)
        found: list[np.ndarray] = []
        x = torch.zeros(loc.shape[:2], dtype=torch.float64)
        for c in range(channels):
            moved = loc[c] + (coupling[c, :c] * (x[:c].unsqueeze(-1) - 0.5)).sum(0)
            table = _logistic(moved, scale[c], self.levels, weights.softmax(1))
            found.append((yield table, None if known is None else known[c]))
            x[c] = torch.from_numpy(found[-1]) / (self.levels - 1)
            weights = weights + DiscretisedLogistic(moved, scale[c], self.levels).log_prob(x[c].unsqueeze(-1))
        return np.concatenate(found)


def _logistic(loc: Tensor, scale: Tensor, levels: int, weights: Tensor | None = None) -> Tensor:
    """Probabilities [n, levels] under n discretised logistics [n, 1], or mixtures of K of them [n, K] by `weights`."""
    ends = (torch.arange(1, levels, dtype=torch.float64) - 0.5) / (levels - 1)
    below = ends.new_zeros(len(loc), levels + 1)
    below[:, -1] = 1
    for k in range(loc.shape[1]):
        share = ((ends - loc[:, k : k + 1].double()) / scale[:, k : k + 1].double()).sigmoid()
        below[:, 1:-1] += share if weights is None else share.mul_(weights[:, k : k + 1].double())
    return below.diff(dim=1).clamp_(min=0)


def _table(law: Distribution, grid: Tensor) -> Tensor:
    """Probabilities [n, S] of n independent values, of S numbers each."""
    shape = (-1, *[1] * len(law.batch_shape))
    size = max(1, _AT_ONCE // law.batch_shape.numel())
    rows = [law.log_prob(part.view(shape)).flatten(1) for part in grid.split(size)]
    return torch.cat(rows).T.double().exp()
