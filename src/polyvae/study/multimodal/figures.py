"""The study's plots: coherence of every model, against what was given, and against what was hidden in training."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from polyvae.figures.style import COLOURS, INK, Figure, charts, finish, legend, line
from polyvae.study.multimodal.table import Line, crosses, places


def figures(found: Sequence[Line]) -> dict[str, tuple[Figure, str]]:
    """Every plot that the lines allow, by the name of its file: the figure and what it shows."""
    whole = [each for each in found if not each.absent]
    made = {}
    if any(each.values("cross") for each in whole):
        words = (
            "Coherence on the test part: the share of what is made that shows the class of what it was made of, and "
        )
        words += "of joint draws that show one class; means over seeds with their standard deviation. Lines: how often "
        words += "the judge of the target is right on real values, and how often all judges agree on real rows."
        made["coherence"] = _bars(whole), words
    counts = sorted({int(target) for _, target in places(whole, "by_count")})
    if len(counts) > 1:
        words = "Coherence of modalities made of others against how many were given: means over subsets and targets."
        made["given"] = _against_given([each for each in whole if not each.baseline], counts), words
    if any(each.absent for each in found):
        words = "Coherence of modalities made of one other, and of joint draws, against the chance with which each "
        words += "modality of a training row was hidden; as one at least is always left, the share that is hidden is "
        words += "less, p - p^M / M of M modalities. The test part is whole."
        made["absent"] = _against_absent(found), words
    return made


def _bars(found: Sequence[Line]) -> Figure:
    """A chart for each pair given one modality, and one of joint draws; the models stand below each other."""
    pairs = [place for place in places(found, "coherence") if crosses(place) and "+" not in place[0]]
    figure, axes = charts(len(pairs) + 1, 3, 4.4, 1.0 + 0.26 * len(found))
    for chart, place in zip(axes, [*pairs, None], strict=True):
        name = ("coherence", *place) if place is not None else ("joint",)
        held = [each for each in reversed(found) if isfinite(each.mean(*name))]
        for at, each in enumerate(held):
            mean, sd = each.mean(*name), each.deviation(*name)
            kind = "baseline" if each.baseline else "model"
            chart.barh(at, 100 * mean, height=0.7, color=COLOURS[each.baseline], label=kind)
            if isfinite(sd):
                chart.errorbar(100 * mean, at, xerr=100 * sd, color=INK, capsize=2)
        chart.set_yticks(range(len(held)), [each.label for each in held])
        chart.set_ylim(-0.6, len(held) - 0.4)
        best = found[0].mean("accuracy", "", place[1]) if place is not None else found[0].mean("joint_real")
        if isfinite(best):
            chart.axvline(100 * best, color=INK, linestyle=":", linewidth=1, label="real values")
        chart.set_xlim(0, 100)
        finish(chart, f"{place[1]} out of {place[0]}" if place is not None else "joint draws", "coherence, %", "")
        chart.grid(False, axis="y")
    legend(figure)
    return figure


def _against_given(found: Sequence[Line], counts: Sequence[int]) -> Figure:
    figure, (axes,) = charts(1, 1, 6.5, 4.2)
    for place, each in enumerate(found):
        axes.plot(
            counts, [100 * each.mean("by_count", "", str(count)) for count in counts], label=each.label, **line(place)
        )
    axes.set_ylim(bottom=0)
    finish(axes, "", "modalities given", "coherence, %", whole=True)
    legend(figure)
    return figure


def _against_absent(found: Sequence[Line]) -> Figure:
    figure, axes = charts(2, 2, 5.2, 4.0)
    names = [*dict.fromkeys(each.model for each in found if each.absent)]
    for chart, (column, words) in zip(
        axes, {"cross": "made of one other", "joint": "joint draws"}.items(), strict=True
    ):
        for place, name in enumerate(names):
            mine = sorted((each for each in found if each.model == name), key=lambda each: each.absent)
            points = [(100 * each.absent, 100 * each.mean(column)) for each in mine if isfinite(each.mean(column))]
            if points:
                chart.plot(*zip(*points, strict=True), label=name, **line(place))
        chart.set_ylim(0, 1.08 * (chart.get_ylim()[1] or 1))
        finish(chart, words, "chance of hiding, %", "coherence, %")
    legend(figure, least=1)
    return figure
