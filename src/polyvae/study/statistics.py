"""Means over folds, their intervals, paired differences, slopes, and what they say of a claim."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"


@dataclass(frozen=True)
class Interval:
    """A mean over `count` values, their standard deviation and the two-sided interval of the mean.

    Of a single value nothing is known but itself: deviation NaN, interval infinite.
    """

    mean: float
    sd: float
    low: float
    high: float
    count: int


def interval(values: Iterable[float], level: float = 0.95) -> Interval:
    """mean +- t_{(1 + level) / 2, n - 1} s / sqrt(n) (Student: The Probable Error of a Mean, 1908).

    The values must be independent; folds, whose training parts overlap, are so only nearly, and the interval is
    somewhat too narrow for them. Raises ValueError without a value.
    """
    from scipy.stats import t  # slow to import, and only reports need it

    array = np.asarray(list(values), dtype=np.float64)
    if not len(array):
        raise ValueError("an interval needs at least one value")
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, math.nan, -math.inf, math.inf, 1)
    sd = float(array.std(ddof=1))
    half = float(t.ppf((1 + level) / 2, len(array) - 1)) * sd / math.sqrt(len(array))
    return Interval(mean, sd, mean - half, mean + half, len(array))


def paired(mine: Mapping[int, float], other: Mapping[int, float], relative: bool = False) -> list[float]:
    """mine - other on every fold that both have, in the order of the folds; `relative`: divided by other."""
    folds = sorted(set(mine) & set(other))
    return [(mine[fold] - other[fold]) / (abs(other[fold]) if relative else 1.0) for fold in folds]


def averaged(many: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """On every fold that all of them have, their mean."""
    folds = set.intersection(*(set(each) for each in many)) if many else set()
    return {fold: sum(each[fold] for each in many) / len(many) for fold in sorted(folds)}


def slopes(lines: Mapping[float, Mapping[int, float]]) -> list[float]:
    """The least-squares slope of the value against the number it belongs to, on every fold with at least two."""
    folds = sorted({fold for line in lines.values() for fold in line})
    found = []
    for fold in folds:
        points = [(at, line[fold]) for at, line in lines.items() if fold in line]
        if len(points) > 1:
            across, up = np.array(points, dtype=np.float64).T
            across = across - across.mean()
            found.append(float(across @ up / (across @ across)))
    return found


def verdict(found: Interval, side: int) -> str:
    """Of the claim that the mean lies below (side -1) or above (side 1) zero: holds or fails where the whole interval
    lies on one side, else undecided."""
    low, high = (found.low, found.high) if side > 0 else (-found.high, -found.low)
    return HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED


def little(found: Interval, margin: float) -> str:
    """Of the claim that the mean lies within +- margin: holds or fails where the whole interval does or does not."""
    if found.low > -margin and found.high < margin:
        return HOLDS
    return FAILS if found.low > margin or found.high < -margin else UNDECIDED


def together(verdicts: Sequence[str]) -> str:
    """Of a claim with several parts: it fails with one of them, and holds with all."""
    if not verdicts:
        return UNDECIDED
    if FAILS in verdicts:
        return FAILS
    return HOLDS if all(each == HOLDS for each in verdicts) else UNDECIDED
