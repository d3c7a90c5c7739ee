"""Completion without a model, from the same seen values: interpolation, gappy PCA, and conditioned laws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor

from polyvae.completion.gappy_pca import MOST, GappyPCA, best_rank, usual_ranks
from polyvae.completion.interpolation import METHODS, interpolate
from polyvae.completion.kriging import Kriging
from polyvae.completion.normal import PIECE, WHOLE, ConditionedNormal, best_ridge
from polyvae.completion.normal_mixture import ConditionedMixture, best_mixture
from polyvae.completion.regression import best_regression
from polyvae.data.seeds import forked, seed_generators
from polyvae.data.split import Split
from polyvae.model.analysers import Analysers, few_factors
from polyvae.model.separable import LARGEST, SeparableNormal, nearest

Limits = tuple[float, float]
Draws = Callable[[Tensor, Tensor, int, int], Tensor]
GAPPY, NORMAL, MIXTURE, KRIGING, PROCESS = "gappy PCA", "normal law", "normal mixture", "kriging", "Gaussian process"
SEPARABLE = "separable normal law"
DRAWS = 200  # of a law that is not normal
JOINT = 50  # joint draws of a law that is stated value by value; their score is unbiased, however many they are
ANALYSERS, HELD, ROWS = 30, 128, 100  # of a mixture; held-out examples that choose its power; examples at once
PAIRS = 2_000  # examples at most that a regression rests on


@dataclass(frozen=True)
class Learned:
    """What baselines are fitted to, `train`, and where ranks and spreads are found, `validation`; None if missing."""

    train: Split | None = None
    validation: Split | None = None


@dataclass(frozen=True)
class Completed:
    """What a baseline says of x [N, ...]: the `mean`, and the standard deviation `std`, None where it states none.

    The law of a value is normal, or has `draws` [S, N, ...]. `limits`: where it is cut off, as grey levels are at 0 and
    1; mean and std are those before.
    """

    mean: Tensor
    std: Tensor | None = None
    draws: Tensor | None = None
    limits: Limits | None = None

    def cut(self, values: Tensor) -> Tensor:
        """Values within the limits."""
        return values if self.limits is None else values.clamp(*self.limits)


@dataclass(frozen=True)
class Baseline:
    """A completion without a model: `complete(x, mask)` says what x [N, ...] may be. `rank`: of gappy PCA.

    `draw(x, mask, S, seed)`: joint draws [S, N, ...] before they are cut off, of a law that is stated value by value
    and whose draws are not too many numbers to make.
    """

    name: str
    complete: Callable[[Tensor, Tensor], Completed]
    rank: int | None = None
    draw: Draws | None = None

    def drawn(self, made: Completed, x: Tensor, mask: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Joint draws [S, n, ...] for some examples at a time, which these are, within the limits of what was `made`;
        none where there are no joint draws."""
        if made.draws is not None:
            yield slice(None), made.cut(made.draws)
        elif self.draw is not None:
            size, seen = max(1, PIECE // (JOINT * x[0].numel())), mask.expand(len(x), *mask.shape[1:])
            for start in range(0, len(x), size):
                rows = slice(start, start + size)
                yield rows, made.cut(self.draw(x[rows], seen[rows], JOINT, start))


class Fitted(Protocol):
    """What was fitted to whole examples: `at(held)` is the baseline for masks like those of held-out examples.

    `held`: these examples "x" and what is "seen" of them, by which it may choose ranks, ridges and the like. None where
    it has nothing to say of such masks.
    """

    def at(self, held: Mapping[str, Tensor]) -> Baseline | None: ...


@dataclass(frozen=True)
class FittedPCA:
    """Gappy PCA, at the rank that is best on the held-out examples, at most twice the number of seen values."""

    basis: GappyPCA

    def at(self, held: Mapping[str, Tensor]) -> Baseline:
        """At the best rank; where all is seen there is nothing to choose it by."""
        seen = held["seen"].expand_as(held["x"]).flatten(1)
        ranks = [rank for rank in usual_ranks(self.basis.rank) if rank <= max(1, 2 * int(seen.sum(1).max()))]
        chosen = self.basis if bool((seen == 1).all()) else best_rank(self.basis, held["x"], held["seen"], ranks)
        return Baseline(GAPPY, partial(_alone, chosen.complete), chosen.rank)


@dataclass(frozen=True)
class FittedNormal:
    """The conditioned normal law, with the ridge that is best on the held-out examples, cut off at the `limits`."""

    law: ConditionedNormal
    limits: Limits | None = None

    def at(self, held: Mapping[str, Tensor]) -> Baseline:
        """With the best ridge."""
        law = best_ridge(self.law, held["x"], held["seen"])
        draw = law.draw if law.root.numel() <= PIECE else None
        return Baseline(NORMAL, lambda x, mask: Completed(*law.complete(x, mask), limits=self.limits), draw=draw)


@dataclass(frozen=True)
class FittedMixture:
    """A conditioned mixture of normal laws, of which `DRAWS` stand for the law of each value."""

    law: ConditionedMixture

    def at(self, held: Mapping[str, Tensor]) -> Baseline:
        """The same for all masks."""
        law = self.law
        return Baseline(MIXTURE, lambda x, mask: Completed(*law.complete(x, mask), draws=law.draw(x, mask, DRAWS)))


@dataclass(frozen=True)
class FittedAnalysers:
    """A mixture of factor analysers of pictures, at the power that is best on the held-out examples.

    `DRAWS` of it stand for the law of each value, cut off at the `limits`.
    """

    law: Analysers
    limits: Limits | None = None

    @classmethod
    def fit(cls, x: Tensor, limits: Limits | None = None) -> FittedAnalysers:
        """Fitted to whole pictures x [M, C, H, W]."""
        shape = tuple(x.shape[1:])
        law = Analysers(shape, ANALYSERS, few_factors(shape, ANALYSERS, 30, 2**24))
        return cls(law.fit(x, rounds=5, least=0.1), limits)

    def at(self, held: Mapping[str, Tensor]) -> Baseline:
        """With the best power."""
        x, seen = (held[name][:HELD].to(self.law.mean) for name in ("x", "seen"))
        return Baseline(MIXTURE, partial(self._complete, deepcopy(self.law).choose_power(x, seen)))

    @torch.no_grad()
    def _complete(self, law: Analysers, x: Tensor, mask: Tensor) -> Completed:
        found, seen = [], mask.expand(len(x), *mask.shape[1:])
        with forked(law.mean.device):
            seed_generators(law.mean.device, 0)
            for some, here in zip(x.to(law.mean).split(ROWS), seen.split(ROWS), strict=True):
                found.append((*law(some, here), law.draw(some, here, DRAWS)))
        mean, std, draws = zip(*found, strict=True)
        return Completed(torch.cat(mean).to(x), torch.cat(std).to(x), torch.cat(draws, 1).to(x), self.limits)


@dataclass(frozen=True)
class FittedSeparable:
    """Normal laws of pictures whose colours share one covariance in space, without and with mirror images: the one, and
    the ridge, that are best on the held-out examples, cut off at the `limits`."""

    laws: tuple[SeparableNormal, ...]
    limits: Limits | None = None

    @classmethod
    def fit(cls, x: Tensor, limits: Limits | None = None) -> FittedSeparable:
        """Fitted to whole pictures x [M, C, H, W]."""
        made = (SeparableNormal(tuple(x.shape[1:])).fit(x, mirrored) for mirrored in (False, True))
        return cls(tuple(made), limits)

    def chosen(self, held: Mapping[str, Tensor]) -> SeparableNormal:
        """The best law with the best ridge."""
        x, seen = (held[name][:HELD].to(self.laws[0].mean) for name in ("x", "seen"))
        return nearest(self.laws, x, seen)

    def at(self, held: Mapping[str, Tensor]) -> Baseline:
        """With the best ridge."""
        law = self.chosen(held)

        def complete(x: Tensor, mask: Tensor) -> Completed:
            mean, std = law(x.to(law.mean), mask)
            return Completed(mean.to(x), std.to(x), limits=self.limits)

        @torch.no_grad()
        def draw(x: Tensor, mask: Tensor, draws: int, seed: int) -> Tensor:
            with forked(law.mean.device):
                seed_generators(law.mean.device, seed)
                return law.draw(x.to(law.mean), mask, draws).to(x)

        return Baseline(SEPARABLE, complete, draw=draw)


@dataclass(frozen=True)
class FittedKriging:
    """Kriging, the same for all masks, cut off at the `limits`."""

    law: Kriging
    limits: Limits | None = None

    def at(self, held: Mapping[str, Tensor]) -> Baseline:
        """The same for all masks."""
        draw = self._joint.draw if self.law.mean.numel() <= WHOLE else None
        return Baseline(KRIGING, lambda x, mask: Completed(*self.law.complete(x, mask), limits=self.limits), draw=draw)

    @cached_property
    def _joint(self) -> ConditionedNormal:
        return self.law.joint()


@dataclass(frozen=True)
class FittedRegression:
    """Gaussian-process regression from what is seen to the axes of the `basis`, where all masks are one."""

    basis: GappyPCA
    x: Tensor
    limits: Limits | None = None

    def at(self, held: Mapping[str, Tensor]) -> Baseline | None:
        """With the kernels that are best on the held-out examples; None where masks differ, or nothing is seen."""
        seen = held["seen"].expand_as(held["x"]) != 0
        if not bool((seen == seen[:1]).all()) or not bool(seen[0].any()):
            return None
        law = best_regression(self.basis, self.x, seen[0], held["x"])
        return Baseline(PROCESS, lambda x, mask: Completed(*law.complete(x, mask), limits=self.limits))


def fitted(x: Tensor, validation: Tensor, limits: Limits | None = None) -> list[Fitted]:
    """All that is fitted to whole examples x [M, ...] of numbers within `limits`; another baseline is another line.

    `validation` [N, ...]: whole held-out examples, by which the number of a mixture's components is chosen.
    """
    basis = GappyPCA(MOST).fit(x)
    found: list[Fitted] = [FittedPCA(basis), FittedNormal(ConditionedNormal.fit(x), limits)]
    if x.ndim == 2:
        found.append(FittedMixture(best_mixture(x, validation)))
    else:
        found += [FittedAnalysers.fit(x, limits), FittedKriging(Kriging.fit(x), limits)]
        if x.shape[1] > 1 and x[0, 0].numel() <= LARGEST:
            found.append(FittedSeparable.fit(x, limits))
    return [*found, FittedRegression(basis, x[:PAIRS], limits)]


def baselines(x: Tensor, fits: Sequence[Fitted] = (), held: Mapping[str, Tensor] | None = None) -> list[Baseline]:
    """Every baseline that can complete examples like x [N, ...].

    For pictures [N, C, H, W]: "nearest" and "linear" interpolation, which return the mean of the fitted principal axes,
    or zero, where nothing is seen. For all examples, given `held` out ones "x" with what is "seen" of them: each of the
    `fits` with the settings that are best there.
    """
    found = []
    if x.ndim == 4 and x.numel():
        empty = next((fit.basis.mean.view(fit.basis.shape) for fit in fits if isinstance(fit, FittedPCA)), 0.0)
        found += [Baseline(name, partial(_alone, partial(interpolate, method=name, empty=empty))) for name in METHODS]
    told = () if held is None else (fit.at(held) for fit in fits)
    return [*found, *(each for each in told if each is not None)]


def _alone(complete: Callable[[Tensor, Tensor], Tensor], x: Tensor, mask: Tensor) -> Completed:
    return Completed(complete(x, mask))
