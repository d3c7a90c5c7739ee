"""What fills a table with gaps beside our models: imputers and conditioned laws, in coordinates that suit the columns.

Whether columns are taken as they are, as logarithms or by powers (imputation_columns.py), and the ridge and the number
of components of a law, are chosen by a tenth of the visible cells, hidden from a fit of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from imputation_columns import Coordinates, systems

from polyvae.completion.normal_mixture import ConditionedMixture

LEAST = 0.05  # of a standard deviation: the smallest scale of a baseline's normal
RIDGES = (0.0001, 0.001, 0.003, 0.03, 0.1)  # of a column's variance, added to the covariances of a law
USUAL = 0.003  # a ridge
Filled = tuple[np.ndarray, np.ndarray]  # x, and the log density of every cell given what is seen of its row


@dataclass(frozen=True)
class Gaps:
    """A table x [N, d], standardised, which of its cells are hidden, and where its columns have their `zero` [d]."""

    x: np.ndarray
    hidden: np.ndarray
    zero: np.ndarray
    seed: int

    def without_a_tenth(self) -> Gaps:
        """The same with a tenth of the visible cells hidden too, by which a method may be judged."""
        return replace(self, hidden=self.hidden | visible_tenth(self.hidden, self.seed))

    @cached_property
    def systems(self) -> dict[str, Coordinates]:
        """Coordinates of the columns by name, fitted to what is seen."""
        return systems(np.where(self.hidden, np.nan, self.x), self.zero)


def visible_tenth(hidden: np.ndarray, seed: int) -> np.ndarray:
    """A tenth of the cells that are not hidden, which a method may be judged by."""
    return ~hidden & (np.random.default_rng([seed, 7]).random(hidden.shape) < 0.1)


def imputed(build: Callable[[int], Any], gaps: Gaps) -> Filled:
    """What a baseline fills in, and the log density of every cell under a normal about it.

    Its coordinates are chosen by the errors on the visible tenth for the one, and by the log-likelihood there for the
    other; so is whether x is the inverse of what it predicts or the mean under its normal.
    """
    without, x = gaps.without_a_tenth(), gaps.x
    tried, found = without.hidden & ~gaps.hidden, []
    for name, first in without.systems.items():
        again = completed(build, without, first)
        squares = np.where(tried, (again - first.of(x)) ** 2, 0.0).sum(0) / np.maximum(tried.sum(0), 1)
        scale = np.maximum(np.sqrt(squares), LEAST)
        for averaged in (False, True):
            filled, score = read(first, x, again, scale, averaged)
            found.append(((name, scale, averaged), -((filled - x)[tried] ** 2), score[tried]))
    nearest, likely = (better([(each[0], each[place]) for each in found]) for place in (1, 2))
    then = gaps.systems
    whole = {name: completed(build, gaps, then[name]) for name in {nearest[0], likely[0]}}
    ends = [read(then[name], x, whole[name], *rest) for name, *rest in (nearest, likely)]
    return ends[0][0], ends[1][1]


def better(found: Sequence[tuple[Any, np.ndarray]]) -> Any:
    """That of the best scores, means over cells, unless the first are as good within the standard error of a gain."""
    first, best = found[0], max(found, key=lambda each: each[1].mean())
    gain = best[1] - first[1]
    return best[0] if gain.mean() > gain.std() / len(gain) ** 0.5 else first[0]


def completed(build: Callable[[int], Any], gaps: Gaps, coordinates: Coordinates) -> np.ndarray:
    """y with its gaps filled by a baseline."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that rounds end before they converge
        return build(gaps.seed).fit_transform(np.where(gaps.hidden, np.nan, coordinates.of(gaps.x)))


def read(coordinates: Coordinates, x: np.ndarray, centre: np.ndarray, scale: np.ndarray, averaged: bool) -> Filled:
    """x of y's `centre` [N, d], or its mean where y is normal about that, and the log density of x then."""
    filled = coordinates.expected(np.ones((1, 1, 1)), centre[None], scale) if averaged else coordinates.back(centre)
    score = -0.5 * ((coordinates.of(x) - centre) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    return filled, score + coordinates.log_slope(x)


@dataclass(frozen=True)
class Law:
    """A mixture of `count` normal laws of all columns together, in coordinates of this name."""

    system: str
    count: int
    ridge: float
    seed: int

    def fit(self, y: torch.Tensor, seen: torch.Tensor) -> ConditionedMixture:
        return ConditionedMixture.fit(y, self.count, self.ridge, seen, self.seed, rounds=50)

    def filled(self, gaps: Gaps) -> Filled:
        """The mean of each hidden cell given what is seen of its row, and its log density."""
        coordinates, seen = gaps.systems[self.system], torch.from_numpy(~gaps.hidden)
        y = torch.from_numpy(coordinates.of(gaps.x))
        law = self.fit(y, seen)
        found = [[each.numpy()[gaps.hidden] for each in part.complete(y, seen)] for part in law.parts]
        mean, std = (np.stack(each) for each in zip(*found, strict=True))
        row, column = np.nonzero(gaps.hidden)
        shares = law.log_shares(y, seen).exp().numpy()[row].T
        filled = gaps.x.copy()
        filled[gaps.hidden] = coordinates.at(column).expected(shares, mean, std)
        return filled, law.log_values(y, seen).numpy() + coordinates.log_slope(gaps.x)


def likeliest(gaps: Gaps, system: str, counts: Sequence[int] = (1,)) -> tuple[Law, np.ndarray]:
    """Of so many components in these coordinates, and the log-likelihood of each cell of the visible tenth.

    A ridge below `USUAL` is taken only for a gain above its standard error: of small tables the tenth is few cells.
    """
    without = gaps.without_a_tenth()
    tried = without.hidden & ~gaps.hidden
    laws = [Law(system, count, ridge, gaps.seed) for count in counts for ridge in RIDGES]
    found = [(law, law.filled(without)[1][tried]) for law in laws]
    usual, best = (
        max((each for each in found if each[0].ridge >= least), key=lambda each: each[1].mean())
        for least in (min(USUAL, max(RIDGES)), 0)
    )
    return better([(each, each[1]) for each in (usual, best)])
