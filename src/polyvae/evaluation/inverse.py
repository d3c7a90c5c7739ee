"""How well draws of x solve F(x) = y, and whether they find every solution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from polyvae.data.sources.inverse import Problem
from polyvae.objectives.terms import mmd


@dataclass(frozen=True)
class Solved:
    """Of K draws for each of Q values y: `error` |F(x) - y| [Q, K]; for M known solutions the share of the draws at
    each, among those that solve, `shares` [Q, M], NaN where none does."""

    error: np.ndarray
    shares: np.ndarray | None
    tolerance: float

    @property
    def solving(self) -> float:
        """The share of draws that solve within the tolerance."""
        return float((self.error <= self.tolerance).mean())

    @property
    def covered(self) -> float | None:
        """The share of values y for which every known solution is hit by a draw that solves."""
        return None if self.shares is None else float((self.shares > 0).all(1).mean())

    @property
    def imbalance(self) -> float | None:
        """The mean total variation between the shares and 1 / M each; 1 where no draw solves."""
        if self.shares is None:
            return None
        apart = np.abs(self.shares - 1 / self.shares.shape[1]).sum(1) / 2
        return float(np.where(np.isnan(apart), 1.0, apart).mean())


def solved(problem: Problem, x: np.ndarray, y: np.ndarray, tolerance: float) -> Solved:
    """Judges draws x [Q, K, d] for values y [Q, m]; a draw is at the known solution that is nearest to it.

    A draw solves where |F(x) - y| (Euclidean) is within `tolerance`. ValueError for other shapes.
    """
    if x.ndim != 3 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"draws are [Q, K, d] and values y [Q, m]; got {list(x.shape)} and {list(y.shape)}")
    found = problem.function(x.reshape(-1, x.shape[2])).reshape(*x.shape[:2], -1)
    error = np.linalg.norm(found - y[:, None], axis=2)
    if problem.solutions is None:
        return Solved(error, None, tolerance)
    roots = problem.solutions(y)
    nearest = np.linalg.norm(x[:, :, None] - roots[:, None], axis=3).argmin(2)
    hits = np.stack([((nearest == m) & (error <= tolerance)).sum(1) for m in range(roots.shape[1])], 1)
    with np.errstate(invalid="ignore"):
        return Solved(error, hits / hits.sum(1, keepdims=True), tolerance)


def rejected(problem: Problem, y: np.ndarray, count: int, tolerance: float, seed: int = 0) -> np.ndarray:
    """For each y [Q, m] draws of p(x | F(x) within `tolerance` of y), [Q, count, d]: x is drawn, others are left out.

    ValueError where too few of ten million are near enough.
    """
    stream = np.random.default_rng(seed)
    kept = [np.empty((0, problem.draw(1, stream).shape[1]))] * len(y)
    for _ in range(10):
        x = problem.draw(1_000_000, stream)
        values = problem.function(x)
        for n, value in enumerate(y):
            if len(kept[n]) < count:
                near = np.abs(values - value).max(1) <= tolerance  # a box, then the ball in it
                near[near] = np.linalg.norm(values[near] - value, axis=1) <= tolerance
                kept[n] = np.concatenate([kept[n], x[near]])[:count]
        if min(map(len, kept)) == count:
            return np.stack(kept)
    least = min(range(len(y)), key=lambda n: len(kept[n]))
    raise ValueError(f"{len(kept[least])} of ten million draws are within {tolerance:g} of {y[least].tolist()}")


def discrepancy(x: np.ndarray, other: np.ndarray) -> float:
    """The squared maximum mean discrepancy of draws [N, d], [M, d], whose values are first divided by the spread of
    `other`.

    Gretton, Borgwardt, Rasch, Schölkopf, Smola: A Kernel Two-Sample Test, 2012.
    """
    spread = other.std(0) + 1e-6
    mine, others = (torch.from_numpy(each / spread).double() for each in (x, other))
    return float(mmd(mine, others))
