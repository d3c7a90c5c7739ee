"""The curves of rate and distortion, with lines of equal bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from polyvae.evaluation.numbers import number
from polyvae.figures.style import INK, PALE, Figure, charts, finish, legend, line
from polyvae.study.statistics import Interval

Point = tuple[float, float]
Curve = Mapping[float, tuple[Interval, Interval]]  # rate and distortion by the weight


def curves(found: Mapping[str, Curve], linear: Sequence[Point] = ()) -> Figure:
    """A curve for each recipe, every point with its weight; `linear`: that of the best linear model."""
    figure, (axes,) = charts(1, 1, 7.5, 5.5)
    for place, (label, curve) in enumerate(found.items()):
        held = sorted(curve.items())
        across, up = ([point[axis].mean for _, point in held] for axis in (0, 1))
        spread = [[point[axis].sd if isfinite(point[axis].sd) else 0.0 for _, point in held] for axis in (0, 1)]
        how = {"label": label, "capsize": 2, "elinewidth": 0.8, "markersize": 6}
        axes.errorbar(across, up, xerr=spread[0], yerr=spread[1], **how, **line(place))
        for beta, point in held if place == 0 else ():
            at = point[0].mean, point[1].mean
            axes.annotate(f"{beta:g}", at, (5, 5), textcoords="offset points", fontsize=8, color=INK)
    if linear:
        axes.plot(*zip(*linear, strict=True), color=INK, linewidth=0.8, linestyle=":", label="best linear model")
    _diagonals(axes, found)
    finish(axes, "", "rate, nats", "distortion, nats")
    axes.grid(False)
    legend(figure, columns=3)
    return figure


def _diagonals(axes, found: Mapping[str, Curve]) -> None:
    """Lines on which D + R, minus the plain bound, is the same: through the best point, and others at even steps."""
    sums = [rate.mean + left.mean for curve in found.values() for rate, left in curve.values()]
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    best, step = min(sums), max((max(sums) - min(sums)) / 4, 1e-9)
    for place in range(5):
        total = best + place * step
        axes.plot(
            [left, right], [total - left, total - right], color=INK if place == 0 else PALE, linewidth=0.8, zorder=0
        )
    across = min(max(best - low, left), right)
    words = f"D + R = {number(best, 4)}"
    at = across, min(max(best - across, low), high)
    axes.annotate(words, at, (4, 4), textcoords="offset points", fontsize=8, color=INK)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
