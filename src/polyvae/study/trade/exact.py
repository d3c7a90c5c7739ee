"""The curve of the best linear model, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi


def linear_point(
    variances: Sequence[float], noise: float, beta: float, latents: int | None = None
) -> tuple[float, float]:
    """Rate and distortion, nats, of the linear model that minimises D + beta R.

    R = 1/2 sum_i log(l_i / t), D = (sum_i t + sum_j l_j) / (2 s^2) + n/2 log(2 pi s^2), t = beta s^2, where i runs over
    the at most `latents` principal variances l_i above t, j over the others, and `noise` is s^2, the likelihood's
    variance: the water level of rate-distortion theory, and at beta = 1 probabilistic PCA's optimum for that s^2.
    dD/dR = -beta along the curve. ValueError for a noise or a weight that is not positive.

    Kolmogorov: On the Shannon Theory of Information Transmission in the Case of Continuous Signals, 1956; Tipping,
    Bishop: Probabilistic Principal Component Analysis, 1999.
    """
    if not (noise > 0 and beta > 0):
        raise ValueError(f"noise and beta are positive numbers; got {noise} and {beta}")
    level, ordered = beta * noise, sorted(variances, reverse=True)
    told = [each for each in ordered[:latents] if each > level]
    error = level * len(told) + sum(ordered[len(told) :])
    rate = sum(log(each / level) for each in told) / 2
    return rate, error / (2 * noise) + len(ordered) / 2 * log(2 * pi * noise)
