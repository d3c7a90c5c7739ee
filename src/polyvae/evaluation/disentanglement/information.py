"""Scores by mutual information between single dimensions of codes, in bins, and factors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.evaluation.disentanglement.metric import CodesMetric, several, single


class MIG(CodesMetric):
    """The mutual information gap: 1/F sum_f [I(z_1; v_f) - I(z_2; v_f)] / H(v_f).

    z_1 and z_2 are the dimensions with the largest and second largest information on a factor; from 0 to 1. Each
    dimension is cut into `bins` of equal width from its smallest to its largest value over all examples, as Locatello,
    Bauer, Lucic, Raetsch, Gelly, Schoelkopf, Bachem (2019) cut the means of posteriors; a code of one dimension has no
    second. Counted on N examples, information is biased up by about (bins - 1) (values - 1) / 2N nats.

    Chen, Li, Grosse, Duvenaud: Isolating Sources of Disentanglement in Variational Autoencoders, 2018.
    """

    def __init__(self, bins: int = 20, **torchmetrics: Any) -> None:
        super().__init__(**torchmetrics)
        at_least("bins", bins, 2, "intervals of a dimension")
        self.bins = bins

    def compute(self) -> Tensor:
        codes, factors = self.gathered()
        information = information_of(codes, factors.values(), self.bins)
        ordered = np.sort(np.vstack([information, np.zeros(len(factors))]), 0)[::-1]
        return single(((ordered[0] - ordered[1]) / entropies(factors.values())).mean())


class Modularity(CodesMetric):
    """Whether each dimension tells one factor at most: 1/d sum_i [1 - sum_{f != f_i} m_if^2 / (m_i^2 (F - 1))].

    m_if is the mutual information of dimension i, in `bins` as by `MIG`, with factor f, f_i its largest and m_i its
    value. A dimension that tells nothing counts 0. ValueError for a single factor.

    Ridgeway, Mozer: Learning Deep Disentangled Embeddings with the F-Statistic Loss, 2018.
    """

    def __init__(self, bins: int = 20, **torchmetrics: Any) -> None:
        super().__init__(**torchmetrics)
        at_least("bins", bins, 2, "intervals of a dimension")
        self.bins = bins

    def compute(self) -> Tensor:
        codes, factors = self.gathered()
        squares = information_of(codes, several(factors, "modularity"), self.bins) ** 2
        most = squares.max(1)
        others = squares.sum(1) - most
        each = 1 - others / (np.where(most > 0, most, 1) * (len(factors) - 1))
        return single(np.where(most > 0, each, 0).mean())


def binned(codes: np.ndarray, bins: int) -> np.ndarray:
    """The bin, 0..bins-1, of each value of codes [N, d]; a dimension that does not vary is all in the first."""
    low, high = codes.min(0), codes.max(0)
    width = np.where(high > low, high - low, 1)
    return np.minimum((codes - low) / width * bins, bins - 1).astype(np.int64)


def information_of(codes: np.ndarray, factors: Iterable[np.ndarray], bins: int = 20) -> np.ndarray:
    """I(z_i; v_f) of every dimension in bins with every factor, nats [d, F]."""
    known = list(factors)
    return np.array([[_information(column, factor) for factor in known] for column in binned(codes, bins).T])


def entropies(factors: Iterable[np.ndarray]) -> np.ndarray:
    """H(v_f), nats [F]."""
    return np.array([_information(factor, factor) for factor in factors])


def _information(one: np.ndarray, other: np.ndarray) -> float:
    """I of two variables of whole numbers from 0 on, of the law in which each example counts alike."""
    columns = int(other.max()) + 1
    joint = np.bincount(one * columns + other, minlength=(int(one.max()) + 1) * columns).reshape(-1, columns)
    joint = joint / joint.sum()
    product = joint.sum(1, keepdims=True) * joint.sum(0)
    seen = joint > 0
    return max(0.0, float((joint[seen] * np.log(joint[seen] / product[seen])).sum()))
