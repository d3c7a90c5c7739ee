"""The comparison's plots: negative log-likelihoods beside published ones, and the bound against the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from polyvae.figures.style import COLOURS, INK, PALE, Axes, Figure, charts, finish, legend, line, logarithmic
from polyvae.study.compare.table import Line

OWN, FITTED = "frechet", "frechet_fitted"


def figures(found: Sequence[Line], real: float | None) -> dict[str, tuple[Figure, str]]:
    """Every plot that the lines allow, by the name of its file: the figure and what it shows.

    `real`: the Fréchet distance of real pictures to each other.
    """
    made: dict[str, tuple[Figure, str]] = {}
    if scored := [each for each in found if isfinite(each.mean("nll"))]:
        words = "Negative log-likelihood on the test part in nats, the smaller the better: means over seeds with their "
        words += "standard deviation, and single seeds"
        near = _near(scored)
        marked = any(each.published for each in near)
        more = "; diamonds, published values, of longer training and some of other networks (below)" if marked else ""
        more += "; an arrow to the right, what lies far behind the others" if len(near) < len(scored) else ""
        made["likelihood"] = _likelihoods(scored), f"{words}{more}."
    if drawn := [each for each in found if isfinite(each.mean("bound")) and isfinite(each.mean(OWN))]:
        words = "Fréchet distance of samples against the plain bound: filled, of the model's own prior; hollow, of a "
        words += "mixture of normals fitted to the latents afterwards. To the right and down is better"
        floor = f"; real pictures against real pictures, {real:.3g}, as a dotted line or an arrow" if real else ""
        floor += "; an arrow to the left, a bound far below the others" if _is_far(drawn) else ""
        made["pictures"] = _pictures(drawn, real), f"{words}{floor}."
    return made


def _is_far(found: Sequence[Line]) -> bool:
    bounds = [each.mean("bound") for each in found]
    return min(bounds) < together(bounds)


def _near(found: Sequence[Line]) -> list[Line]:
    """The lines whose means lie where those that stand together are drawn, with their seeds, spread and published."""
    most = -together([-each.mean("nll") for each in found])
    drawn = [most]
    for each in found:
        if (mean := each.mean("nll")) <= most:
            drawn += each.values("nll")
            drawn += [mean + sd for sd in (each.deviation("nll"),) if isfinite(sd)]
            drawn += [each.published.nll] if each.published is not None else []
    return [each for each in found if each.mean("nll") <= max(drawn)]


def _likelihoods(found: Sequence[Line]) -> Figure:
    """A line of points for each recipe, the best on top: an axis of lengths would have to begin at zero.

    What lies far behind is told at the edge.
    """
    near = _near(found)
    figure, (axes,) = charts(1, 1, 8.0, 1.2 + 0.34 * len(found))
    names = {"seed": "a seed", "mean": "mean over seeds", "published": "published"}
    for place, each in enumerate(reversed(found)):
        values, mean, sd = each.values("nll"), each.mean("nll"), each.deviation("nll")
        axes.axhline(place, color=PALE, linewidth=0.8, zorder=0)
        if each not in near:
            edge = ("axes fraction", "data")
            axes.annotate(f"{mean:.1f} \u2192", (0.99, place), xycoords=edge, ha="right", va="center", fontsize=8)
            continue
        if len(values) > 1:
            seeds = {"color": COLOURS[5], "markersize": 4, "zorder": 3}
            axes.plot(values, [place] * len(values), "o", label=names["seed"], **seeds)
        spread = sd if isfinite(sd) else None
        axes.errorbar(
            [mean], [place], xerr=spread, fmt="s", color=COLOURS[0], capsize=3, markersize=6, label=names["mean"]
        )
        if each.published is not None:
            how = {"color": COLOURS[1], "markersize": 7, "markerfacecolor": "white", "label": names["published"]}
            axes.plot([each.published.nll], [place], "D", **how)
    axes.set_yticks(range(len(found)), [each.label for each in reversed(found)])
    axes.set_ylim(-0.7, len(found) - 0.3)
    finish(axes, "", "negative log-likelihood, nats", "")
    axes.grid(False, axis="y")
    legend(figure)
    return figure


def _pictures(found: Sequence[Line], real: float | None) -> Figure:
    """Marks, filled and hollow, on axes of those that stand together; what lies far from them is told at the edge."""
    figure, (axes,) = charts(1, 1, 8.0, 5.2)
    for name, fill in (("own prior", INK), ("mixture fitted afterwards", "none")):
        axes.plot([], [], "o", color=INK, markersize=8, markerfacecolor=fill, label=name)
    bounds, heights = [each.mean("bound") for each in found], []
    low, high = together(bounds), max(bounds)
    edge = low - 0.1 * ((high - low) or 1.0)
    for place, each in enumerate(found):
        how = {**line(place), "linestyle": "none"}
        bound, sd = each.mean("bound"), each.deviation("bound")
        far, ends = bound < low, []
        at, across = edge if far else bound, sd if isfinite(sd) and not far else None
        for column, fill in ((OWN, how["color"]), (FITTED, "none")):  # a white one would hide what lies below
            if isfinite(value := each.mean(column)):
                up = deviation if isfinite(deviation := each.deviation(column)) else None
                label = each.label if column == OWN else None
                more = {"markersize": 8, "markerfacecolor": fill, "capsize": 2, "elinewidth": 0.8, "alpha": 0.8}
                axes.errorbar([at], [value], xerr=across, yerr=up, label=label, **how, **more)
                ends.append(value)
        axes.plot([at] * len(ends), ends, color=how["color"], linewidth=0.8, alpha=0.6, zorder=1)
        if far:
            axes.annotate(f"\u2190 {bound:.1f}", (at, ends[0]), (7, -3), textcoords="offset points", fontsize=8)
        heights += ends
    if real is not None:
        _floor(axes, real, heights)
    logarithmic(axes)
    finish(axes, "", "plain bound, nats", "Fréchet distance, logarithmic")
    legend(figure, columns=3)
    return figure


def _floor(axes: Axes, real: float, heights: Sequence[float]) -> None:
    """The distance of real pictures, as a line, or in words where the line would press all else together."""
    low, high = min(heights), max(heights)
    if real * max(1.5, high / low) >= low:  # nearer than these are apart, on a logarithmic axis
        axes.axhline(real, color=INK, linestyle=":", linewidth=1)
        return
    axes.set_ylim(low / 1.1, high * 1.05)
    words = f"\u2193 real pictures: {real:.3g}"
    axes.text(0.99, 0.02, words, transform=axes.transAxes, ha="right", fontsize=8, color=INK)


def together(values: Sequence[float]) -> float:
    """The least value of those that stand together: a few that lie further below them than they are apart do not."""
    ordered = sorted(values)
    for place in range(len(ordered) // 4, 0, -1):
        if ordered[place] - ordered[place - 1] > ordered[-1] - ordered[place]:
            return ordered[place]
    return ordered[0]
