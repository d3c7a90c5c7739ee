"""Completion without a model, from the same seen values: interpolation between pixels, and gappy PCA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from polyvae.completion.gappy_pca import GappyPCA, best_rank, usual_ranks
from polyvae.completion.interpolation import METHODS, interpolate
from polyvae.data.split import Split

GAPPY = "gappy PCA"


@dataclass(frozen=True)
class Learned:
    """What baselines are fitted to, `train`, and where ranks and spreads are found, `validation`; None if missing."""

    train: Split | None = None
    validation: Split | None = None


@dataclass(frozen=True)
class Baseline:
    """A completion without a model: `complete(x, mask)` is like x [N, ...]. `rank`: of gappy PCA."""

    name: str
    complete: Callable[[Tensor, Tensor], Tensor]
    rank: int | None = None


def baselines(x: Tensor, basis: GappyPCA | None = None, held: Mapping[str, Tensor] | None = None) -> list[Baseline]:
    """Every baseline that can complete examples like x [N, ...].

    For pictures [N, C, H, W]: "nearest" and "linear" interpolation, which return the mean of the fitted `basis`, or
    zero, where nothing is seen. For all examples, given a basis and `held` out examples "x" with their "seen" values:
    "gappy PCA" at the rank that is best on these, at most twice the number of seen values.
    """
    found = []
    if x.ndim == 4 and x.numel():
        empty = 0.0 if basis is None else basis.mean.view(basis.shape)
        found += [Baseline(name, partial(interpolate, method=name, empty=empty)) for name in METHODS]
    if basis is not None and held is not None:
        seen = held["seen"].expand_as(held["x"]).flatten(1)
        ranks = [rank for rank in usual_ranks(basis.rank) if rank <= max(1, 2 * int(seen.sum(1).max()))]
        whole = bool((seen == 1).all())  # then there is nothing to choose it by
        chosen = basis if whole else best_rank(basis, held["x"], held["seen"], ranks)
        found.append(Baseline(GAPPY, chosen.complete, chosen.rank))
    return found
