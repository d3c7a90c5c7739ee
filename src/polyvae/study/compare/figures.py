"""The comparison's plots: negative log-likelihoods beside published ones, and the bound against the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from polyvae.figures.style import COLOURS, INK, PALE, Figure, charts, finish, legend, line, logarithmic
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
        marked = any(each.published for each in scored)
        more = "; diamonds, published values, of longer training and some of other networks (below)" if marked else ""
        made["likelihood"] = _likelihoods(scored), f"{words}{more}."
    if drawn := [each for each in found if isfinite(each.mean("bound")) and isfinite(each.mean(OWN))]:
        words = "Fréchet distance of samples against the plain bound: filled, of the model's own prior; hollow, of a "
        words += "mixture of normals fitted to the latents afterwards. To the right and down is better"
        floor = "; dotted, real pictures against real pictures" if real is not None else ""
        made["pictures"] = _pictures(drawn, real), f"{words}{floor}."
    return made


def _likelihoods(found: Sequence[Line]) -> Figure:
    """A line of points for each recipe, the best on top: an axis of lengths would have to begin at zero."""
    figure, (axes,) = charts(1, 1, 8.0, 1.2 + 0.34 * len(found))
    names = {"seed": "a seed", "mean": "mean over seeds", "published": "published"}
    for place, each in enumerate(reversed(found)):
        values, mean, sd = each.values("nll"), each.mean("nll"), each.deviation("nll")
        axes.axhline(place, color=PALE, linewidth=0.8, zorder=0)
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
    figure, (axes,) = charts(1, 1, 8.0, 5.2)
    for place, each in enumerate(found):
        how = {**line(place), "linestyle": "none"}
        bound, sd = each.mean("bound"), each.deviation("bound")
        across = sd if isfinite(sd) else None
        for column, fill in ((OWN, how["color"]), (FITTED, "white")):
            if isfinite(value := each.mean(column)):
                up = deviation if isfinite(deviation := each.deviation(column)) else None
                label = each.label if column == OWN else None
                more = {"markersize": 8, "markerfacecolor": fill, "capsize": 2, "elinewidth": 0.8}
                axes.errorbar([bound], [value], xerr=across, yerr=up, label=label, **how, **more)
        ends = [each.mean(OWN), each.mean(FITTED)]
        if all(map(isfinite, ends)):
            axes.plot([bound, bound], ends, color=how["color"], linewidth=0.8, alpha=0.6, zorder=1)
    if real is not None:
        axes.axhline(real, color=INK, linestyle=":", linewidth=1)
    logarithmic(axes)
    finish(axes, "", "plain bound, nats", "Fréchet distance, logarithmic")
    legend(figure, columns=3)
    return figure
