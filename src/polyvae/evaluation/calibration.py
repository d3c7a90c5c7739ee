"""How well a spread is told: coverage of bands, the continuous ranked probability score, and scaling by held-out data.

Draws are [S, N, ...], values [N, ...]; `where` is boolean or 0 and 1, broadcasts against the values and says which of
them are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, pi, sqrt

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr

from polyvae.checks.names import find
from polyvae.model.precision import wide

LEVELS = (0.5, 0.9, 0.95)


def mean_where(values: Tensor, where: Tensor | None = None) -> Tensor:
    """The mean over each example's scored values, [N, ...] -> [N]; NaN where an example has none."""
    if where is None:
        return values.flatten(1).mean(1)
    scored = where.bool().expand_as(values)
    return torch.where(scored, values, 0).flatten(1).sum(1) / scored.flatten(1).sum(1)


def coverage(x: Tensor, low: Tensor, high: Tensor, where: Tensor | None = None) -> Tensor:
    """The share of each example's values within [low, high], ends included, [N]."""
    return mean_where(((low <= x) & (x <= high)).to(x.dtype), where)


def sorted_draws(draws: Tensor) -> Tensor:
    """Draws [S, ...] in the order of their values, each value on its own."""
    if draws.device.type == "cpu":  # NumPy's sort takes a tenth of the time of torch's
        return torch.from_numpy(np.sort(draws.detach().numpy(), 0))
    return draws.sort(0).values


def quantile(ordered: Tensor, probability: float) -> Tensor:
    """A quantile of S sorted draws [S, ...] -> [...], at the place p (S + 1), between two draws linearly.

    A new draw of the same law lies below it with probability p, whatever the law, so that a band between two such
    quantiles covers as stated. Below 1 / (S + 1) and above S / (S + 1) the outermost draw is taken. ValueError for p
    outside [0, 1].

    Hyndman, Fan: Sample Quantiles in Statistical Packages, 1996, definition 6.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"a quantile's probability lies in [0, 1]; got {probability}")
    count = len(ordered)
    place = min(max(probability * (count + 1) - 1, 0.0), count - 1.0)
    below = min(int(place), max(count - 2, 0))
    return ordered[below].lerp(ordered[min(below + 1, count - 1)], place - below)


def central_band(ordered: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """The ends of the central band that a share `level` of the law lies in, of sorted draws [S, ...]."""
    return quantile(ordered, (1 - level) / 2), quantile(ordered, (1 + level) / 2)


def crps(draws: Tensor, x: Tensor, ordered: bool = False) -> Tensor:
    """The continuous ranked probability score of each value, [...], in its own unit; smaller is better.

    E|X - x| - 1/2 E|X - X'| = 1/S sum_s |x_s - x| - 1 / (2 S (S - 1)) sum_{s, t} |x_s - x_t|

    Unbiased in independent draws x_s of the law; of a single value it would be the absolute error. The double sum is
    made of the sorted draws; `ordered` says that they are sorted. Raises ValueError below two draws.

    Gneiting, Raftery: Strictly Proper Scoring Rules, Prediction, and Estimation, 2007; Ferro: Fair scores for ensemble
    forecasts, 2014.
    """
    count = len(draws)
    if count < 2:
        raise ValueError(f"the score needs at least two draws; got {count}")
    if not ordered:
        draws = sorted_draws(draws)
    # sum_{s < t} (x_(t) - x_(s)) = sum_i (2 i - S - 1) x_(i)
    ranks = 2 * torch.arange(1, count + 1, dtype=draws.dtype, device=draws.device) - count - 1
    apart = torch.tensordot(ranks, draws - x, 1) / (count * (count - 1))  # about x, where fewer digits cancel
    return (draws - x).abs().mean(0) - apart


def energy_score(draws: Tensor, x: Tensor, where: Tensor | None = None) -> Tensor:
    """The energy score of joint draws [S, N, ...] of each example, [N], in the unit of x; smaller is better.

    E|X - x| - 1/2 E|X - X'|, |.| the Euclidean norm over an example's scored values. Unlike scores of single values it
    is better for draws whose values belong together. Unbiased in independent draws; of one value it is `crps`. NaN
    where an example has no scored value. Raises ValueError below two draws.

    Gneiting, Raftery: Strictly Proper Scoring Rules, Prediction, and Estimation, 2007, section 4.3.
    """
    count, rows = len(draws), len(x)
    if count < 2:
        raise ValueError(f"the score needs at least two draws; got {count}")
    scored = torch.ones_like(x, dtype=torch.bool) if where is None else where.bool().expand_as(x)
    found = []
    for row in range(rows):  # all examples' draws in double precision would be held twice
        kept = scored[row]
        drawn, right = wide(draws[:, row][:, kept]), wide(x[row][kept])
        centred = drawn - drawn.mean(0)  # where fewer digits cancel
        apart = torch.cdist(centred, centred).fill_diagonal_(0.0).sum() / (count * (count - 1))
        found.append(
            (drawn - right).norm(dim=1).mean() - apart / 2 if drawn.shape[1] else apart.new_full((), torch.nan)
        )
    return torch.stack(found)


def normal_crps(x: Tensor, mean: Tensor, std: Tensor, limits: tuple[float, float] | None = None) -> Tensor:
    """The same score of a normal law, s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (x - mean) / s.

    Where s is 0 it is the absolute error. `limits` l and u: of a normal value that is cut off there, min(max(X, l), u),

    |x - c| + s (A(z(c)) - A(z(l)) + A(-z(c)) - A(-z(u))), c = min(max(x, l), u)

    where A(z) = z Phi(z)^2 + 2 phi(z) Phi(z) - Phi(sqrt(2) z) / sqrt(pi), the integral of Phi^2.

    Gneiting, Raftery, Westveld, Goldman: Calibrated Probabilistic Forecasting Using Ensemble Model Output Statistics
    and Minimum CRPS Estimation, 2005; Jordan, Krueger, Lerch: Evaluating Probabilistic Forecasts with scoringRules,
    2019.
    """
    spread = std.clamp(min=torch.finfo(std.dtype).tiny)

    def area(far: Tensor) -> Tensor:
        z = far / spread
        density, below = torch.exp(-0.5 * z.square()) / sqrt(2 * pi), ndtr(z)
        return far * below.square() + std * (2 * density * below - ndtr(sqrt(2) * z) / sqrt(pi))

    if limits is not None:
        low, high = limits
        kept = x.clamp(low, high)
        within = area(kept - mean) - area(low - mean) + area(mean - kept) - area(mean - high)
        return (x - kept).abs() + within
    z = (x - mean) / spread
    density = torch.exp(-0.5 * z.square()) / sqrt(2 * pi)
    return (x - mean) * (2 * ndtr(z) - 1) + std * (2 * density - 1 / sqrt(pi))


@dataclass(frozen=True)
class Calibration:
    """What a stated spread must be multiplied by, found on held-out data; every factor broadcasts against [N, ...].

    `factors`: by level, the half width of the band in stated standard deviations. `scale`: the factor with which a
    normal law of the stated mean and standard deviation scores best. Both reach as far above the mean as below: what is
    skewed, such as positive numbers over powers of ten, is calibrated by the mean and deviation of its logarithms.
    """

    factors: Mapping[float, Tensor]
    scale: Tensor

    def band(self, mean: Tensor, std: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """mean -+ factor std. Raises ValueError for a level that was not calibrated."""
        if level not in self.factors:
            raise ValueError(f"calibrated levels are {', '.join(map(str, self.factors))}; got {level}")
        half = self.factors[level].to(std) * std
        return mean - half, mean + half

    def stretched(self, draws: Tensor, mean: Tensor) -> Tensor:
        """Draws [S, N, ...] moved about their mean so that they spread `scale` times as far."""
        return mean + self.scale.to(draws) * (draws - mean)


def calibrate(
    x: Tensor,
    mean: Tensor,
    std: Tensor,
    levels: Sequence[float] = LEVELS,
    over: str = "value",
    where: Tensor | None = None,
) -> Calibration:
    """Factors on a standard deviation by which bands cover held-out values x [N, ...] as often as they say.

    factor(L) = the ceil((n + 1) L)-th smallest of the n scores |x - mean| / std, the largest where that exceeds n

    `over`: "value" (one for each value of an example), "channel" (one along dimension 1) or "all" (one factor). A band
    then covers a new exchangeable value with probability at least L, whatever its law; for "channel" and "all" on
    average over what shares the factor, of which those that hardly vary leave the others too narrow a band. Of a single
    value n are the examples that it is scored in. Where they are too few for a level (see `fewest`; for the scale for
    the highest one) it takes the factor that all values share which differ between the examples, or its own largest
    score where that is larger: the band of a higher level holds that of a lower one. A constant std makes bands for a
    prediction without spread. `scale` has the least `normal_crps`, which outliers move less than they move
    the likelihood. Raises ValueError where nothing is scored, for a level outside (0, 1), and where a std of zero meets
    an error.

    Papadopoulos, Proedrou, Vovk, Gammerman: Inductive Confidence Machines for Regression, 2002; for the scale Gneiting,
    Raftery, Westveld, Goldman: Calibrated Probabilistic Forecasting Using ... Minimum CRPS Estimation, 2005.
    """
    grouped = find(_GROUPS, over, "over")
    if wrong := [level for level in levels if not 0 < level < 1]:
        raise ValueError(f"a level is a share between 0 and 1; got {wrong}")
    error = (wide(x) - wide(mean)).abs()
    scores = torch.where(error == 0, 0.0, error / std)
    scored = torch.ones_like(x, dtype=torch.bool) if where is None else where.bool().expand_as(x)
    if not bool(scored.any()):
        raise ValueError("there is nothing to calibrate on: no value is scored")
    if bool((scored & ~(scores.isfinite() & std.isfinite())).any()):
        raise ValueError("the spread is zero, or no number, where the prediction errs: no factor would reach the truth")
    scores, stated = torch.where(scored, scores, 0.0), std.to(scores).expand_as(x)

    def factors(group: Callable[[Tensor], Tensor], among: Tensor) -> list[Tensor]:
        return _factors(group(scores), group(stated), group(among), levels)

    found = factors(grouped, scored)
    if over != "all":
        shared = scored & varying(x)
        whole = factors(_GROUPS["all"], shared if bool(shared.any()) else scored)
        counts = grouped(scored).sum(0)
        # A band that left out the value's own scores would lie inside the one of a lower level that has them.
        largest = torch.where(grouped(scored), grouped(scores), 0.0).amax(0)
        whole[1:] = [every.maximum(largest) for every in whole[1:]]
        needed = [fewest(level) for level in (max(levels, default=0.5), *levels)]
        found = [
            torch.where(counts < least, every, one) for one, every, least in zip(found, whole, needed, strict=True)
        ]
    shape = {"all": (), "channel": (-1, *[1] * (x.ndim - 2)), "value": x.shape[1:]}[over]
    kept = [one.reshape(shape) for one in found]
    return Calibration(dict(zip(levels, kept[1:], strict=True)), kept[0])


def varying(x: Tensor) -> Tensor:
    """Which values differ between the examples x [N, ...], boolean [...]; the border of a digit never does."""
    return (x != x[:1]).any(0)


# How scores [N, ...] are grouped, [M, G]: one factor is found for each of the G columns.
_GROUPS: dict[str, Callable[[Tensor], Tensor]] = {
    "all": lambda scores: scores.reshape(-1, 1),
    "channel": lambda scores: scores.movedim(1, -1).reshape(-1, scores.shape[1]),
    "value": lambda scores: scores.flatten(1),
}


def _factors(scores: Tensor, std: Tensor, scored: Tensor, levels: Sequence[float]) -> list[Tensor]:
    """The scale of each column's scored values [M, G], then its factor at each level; NaN without any."""
    counts = scored.sum(0)
    ordered = torch.where(scored, scores, torch.inf).sort(0).values
    found = [torch.where(counts == 0, torch.nan, _scale(scores, torch.where(scored, std, 0.0)))]
    for level in levels:
        # ceil((n + 1) L), but for the rounding of L itself; in float64, which not every device has
        rank = ((counts.cpu() + 1).double() * level - 1e-9).ceil().long().to(counts.device).minimum(counts)
        factor = ordered.gather(0, (rank - 1).clamp(min=0).unsqueeze(0)).squeeze(0)
        found.append(torch.where(counts == 0, torch.nan, factor))
    return found


def _scale(scores: Tensor, weights: Tensor) -> Tensor:
    """The s of least sum_i std_i s CRPS(score_i / s), weights [M, G] the std_i: [G].

    The sum is convex in s, and its slope sum_i std_i (2 phi(score_i / s) - 1 / sqrt(pi)) rises from below zero to
    above; the root is cut in half on a logarithmic scale.
    """
    # At twice the largest score the slope is above zero; scores e^40 times smaller than that make no difference.
    largest = torch.where(weights > 0, scores, 0.0).amax(0).clamp(min=torch.finfo(scores.dtype).tiny ** 0.25)
    low, high = largest.log() - 40, largest.log() + 2
    for _ in range(60):
        middle = (low + high) / 2
        density = torch.exp(-0.5 * (scores / middle.exp()).square()) / sqrt(2 * pi)
        rises = (weights * (2 * density - 1 / sqrt(pi))).sum(0) > 0
        low, high = torch.where(rises, low, middle), torch.where(rises, middle, high)
    return high.exp()


def fewest(level: float) -> int:
    """How many scored values a factor at that level needs, below which its band may cover less than it says."""
    return ceil(level / (1 - level) - 1e-9)
