"""Scores of what stays still in codes while one factor is held and the others vary."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.evaluation.disentanglement.metric import CodesMetric, several, single
from polyvae.evaluation.disentanglement.prediction import linear_accuracy


class FactorVAEScore(CodesMetric):
    """The accuracy with which the dimension that varies least tells the factor that was held.

    A vote: a factor and a value of it are drawn, `draws` examples with that value, and the dimension whose variance
    among them is smallest beside its variance in all examples. By `votes` of them each dimension stands for its most
    frequent factor, by as many new ones this is judged. Examples are those at hand, drawn with replacement. Dimensions
    of a standard deviation below `collapsed` are left out; 0 where all are. ValueError for a single factor.

    Kim, Mnih: Disentangling by Factorising, 2018; the threshold of Locatello and others, 2019.
    """

    def __init__(
        self, votes: int = 1000, draws: int = 64, collapsed: float = 0.05, seed: int = 0, **torchmetrics: Any
    ) -> None:
        super().__init__(**torchmetrics)
        at_least("votes", votes, 1, "draws of a factor")
        at_least("draws", draws, 2, "examples that share a value")
        self.votes, self.draws, self.collapsed, self.seed = votes, draws, collapsed, seed

    def compute(self) -> Tensor:
        codes, known = self.gathered()
        factors = several(known, "the FactorVAE score")
        deviation = codes.std(0)
        varying = (deviation >= self.collapsed) & (deviation > 0)
        codes = codes[:, varying] / deviation[varying]
        if not codes.shape[1]:
            return single(0)
        stream = np.random.default_rng(self.seed)
        table = np.zeros((2, codes.shape[1], len(factors)))
        for half in table:
            for number, rows in enumerate(_held(factors, self.votes, stream)):
                chosen = _alike(factors[number], np.repeat(rows[:, None], self.draws, 1), stream)
                np.add.at(half[:, number], codes[chosen].var(1).argmin(1), 1)
        stands_for = table[0].argmax(1)
        return single(table[1][np.arange(len(stands_for)), stands_for].sum() / table[1].sum())


class BetaVAEScore(CodesMetric):
    """The accuracy of a linear classifier that tells which factor two examples share from how far apart they are.

    A vote: a factor is drawn, `draws` pairs of examples that share its value, and the mean over the pairs of
    |z - z'|, dimension by dimension. A logistic regression learns the factor from `votes` of them and is judged by as
    many new ones. Examples are those at hand, drawn with replacement.
    ValueError for a single factor.

    Higgins, Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed, Lerchner: beta-VAE, 2017.
    """

    def __init__(self, votes: int = 1000, draws: int = 64, seed: int = 0, **torchmetrics: Any) -> None:
        super().__init__(**torchmetrics)
        at_least("votes", votes, 2, "draws of a factor")
        at_least("draws", draws, 1, "pairs of examples that share a value")
        self.votes, self.draws, self.seed = votes, draws, seed

    def compute(self) -> Tensor:
        codes, known = self.gathered()
        factors = several(known, "the beta-VAE score")
        stream = np.random.default_rng(self.seed)
        parts = []
        for _ in range(2):
            distances, held = [], []
            for number, first in enumerate(_held(factors, self.votes, stream)):
                one = stream.integers(len(codes), size=(len(first), self.draws))
                other = _alike(factors[number], one, stream)
                distances.append(np.abs(codes[one] - codes[other]).mean(1))
                held.append(np.full(len(first), number))
            parts.append((np.concatenate(distances), np.concatenate(held)))
        return single(linear_accuracy(*parts[0], *parts[1]))


def _held(factors: list[np.ndarray], votes: int, stream: np.random.Generator) -> list[np.ndarray]:
    """For each factor the examples whose value of it is held, one for each of the votes that it was drawn for.

    Each factor is drawn about as often, at least once; each of its values alike.
    """
    counts = np.maximum(1, np.bincount(stream.integers(len(factors), size=votes), minlength=len(factors)))
    found = []
    for factor, count in zip(factors, counts, strict=True):
        first = np.unique(factor, return_index=True)[1]  # an example of each value
        found.append(first[stream.integers(len(first), size=count)])
    return found


def _alike(factor: np.ndarray, rows: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """For each example of `rows` another, or the same, that is drawn among those with its value of a factor."""
    order = factor.argsort(kind="stable")
    counts = np.bincount(factor)
    start = counts.cumsum() - counts
    value = factor[rows]
    return order[start[value] + (stream.random(rows.shape) * counts[value]).astype(np.int64)]
