"""Coordinates in which skewed columns are nearer to a normal law, and how what is said there is read in the old ones.

Every column is taken through one function of two branches, y = (psi((x - origin) / unit) - centre) / scale, where psi
is that of Yeo and Johnson: psi(u) = ((1 + u)^p - 1) / p for u >= 0 and -((1 - u)^(2 - p) - 1) / (2 - p) below, with
logarithms at their limits. For 0 <= p <= 2 it takes the whole line to the whole line, so that a density of y is one of
x; p = 1 leaves a column as it is. Of columns without a value below zero p = 0 is log(x + unit).

Yeo, Johnson: A New Family of Power Transformations to Improve Normality or Symmetry, 2000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import boxcox1p, inv_boxcox1p
from sklearn.preprocessing import PowerTransformer

Array = np.ndarray
UNITS = (0.001, 0.01, 0.1, 0.3, 1.0)  # of a column's mean, which log(x + unit) may add
SYSTEMS = ("as it is", "logarithms", "Yeo-Johnson")
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(12)


@dataclass(frozen=True)
class Coordinates:
    """y of x [..., d] and back; `origin`, `unit`, `power`, `centre` and `scale` are of each column, [d]."""

    origin: Array
    unit: Array
    power: Array
    centre: Array
    scale: Array

    def of(self, x: Array) -> Array:
        return (self._bent(x) - self.centre) / self.scale

    def log_slope(self, x: Array) -> Array:
        """log dy / dx, which a log density of y gains as one of x."""
        u = (x - self.origin) / self.unit
        return np.sign(u) * (self.power - 1) * np.log1p(np.abs(u)) - np.log(self.unit * self.scale)

    def log_likelihood(self, x: Array) -> Array:
        """Of what is seen of x under a normal law of each column of y, to which it was fitted; nats a value, [d]."""
        return np.nanmean(self.log_slope(x), 0) - 0.5 * np.log(2 * np.pi * np.e)

    def back(self, y: Array) -> Array:
        """x of y [..., d]."""
        bent = y * self.scale + self.centre
        above = inv_boxcox1p(np.maximum(bent, 0), self.power)
        below = inv_boxcox1p(np.maximum(-bent, 0), 2 - self.power)
        return self.origin + self.unit * (above - below)

    def at(self, columns: Array) -> Coordinates:
        """Those of cells, one in each of these columns."""
        return Coordinates(*(each[columns] for each in _numbers(self)))

    def expected(self, shares: Array, mean: Array, std: Array) -> Array:
        """E[x] [d] where y is a mixture of K normals: shares, means and standard deviations [K, d].

        By Gauss-Hermite quadrature: the inverse of a mean is no mean.
        """
        found = np.zeros(np.broadcast_shapes(shares.shape, mean.shape))
        for node, weight in zip(NODES, WEIGHTS / WEIGHTS.sum(), strict=True):
            found = found + weight * self.back(mean + node * std)
        return (shares * found).sum(0)

    def _bent(self, x: Array) -> Array:
        u = (x - self.origin) / self.unit
        return boxcox1p(np.maximum(u, 0), self.power) - boxcox1p(np.maximum(-u, 0), 2 - self.power)


def systems(x: Array, zero: Array) -> dict[str, Coordinates]:
    """Coordinates by name, fitted to what is seen of x [N, d], NaN elsewhere; `zero` [d] is where columns have theirs.

    All columns as they are; logarithms of those that are seen to have no value below zero, where there are any, each
    with the likeliest of `UNITS` under a normal law of the column; Yeo and Johnson's likeliest power of each.
    """
    count = x.shape[1]
    nothing, one = np.zeros(count), np.ones(count)
    power = np.clip(PowerTransformer(standardize=False).fit(x).lambdas_, 0, 2)
    found = {"as it is": Coordinates(nothing, one, one, nothing, one)}
    found["Yeo-Johnson"] = _standardised(x, nothing, one, power)
    natural = (np.nanmin(x, 0) >= zero - 1e-9) & (np.nanmean(x, 0) > zero)
    if natural.any():
        mean = np.nanmean(x, 0) - zero
        origin, bent = np.where(natural, zero, 0), np.where(natural, 0, 1)
        tried = [_standardised(x, origin, np.where(natural, unit * mean, 1), bent) for unit in UNITS]
        best = np.argmax([each.log_likelihood(x) for each in tried], 0)
        found["logarithms"] = Coordinates(*(np.choose(best, each) for each in zip(*map(_numbers, tried), strict=True)))
    return {name: found[name] for name in SYSTEMS if name in found}


def _standardised(x: Array, origin: Array, unit: Array, power: Array) -> Coordinates:
    bare = Coordinates(origin, unit, power, np.zeros(len(origin)), np.ones(len(origin)))
    y = bare.of(x)
    spread = np.nanstd(y, 0)
    return Coordinates(origin, unit, power, np.nanmean(y, 0), np.where(spread > 0, spread, 1.0))


def _numbers(some: Coordinates) -> tuple[Array, ...]:
    return some.origin, some.unit, some.power, some.centre, some.scale
