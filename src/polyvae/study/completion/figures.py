"""The study's figures: scores against how many pixels are seen, and sheets of completed pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np

from polyvae.figures.grids import UNSEEN, Block, grid
from polyvae.figures.style import Figure, charts, finish, legend, line
from polyvae.study.completion.masks import words
from polyvae.study.completion.published import Quoted
from polyvae.study.completion.table import Line

AXES = {
    "mse": "squared error of unseen pixels",
    "crps": "CRPS of unseen pixels",
    "energy": "energy score of joint draws",
    "class_loss": "class log loss of draws, nats",
}
BESIDE = 4  # pictures side by side, each with its draws
SIDE = 90  # pixels of a picture in a sheet


def curves(found: Sequence[Line], points: Sequence[str], told: Sequence[Quoted]) -> Figure:
    """A chart for each score, a line for each method with its standard errors; what is quoted is grey and dotted."""
    shown = [score for score in AXES if any(each.mean(point, score).count for each in found for point in points)]
    figure, axes = charts(len(shown), 2, 5.2, 3.9)
    for chart, score in zip(axes, shown, strict=True):
        for place, each in enumerate(found):
            means = [(int(point), each.mean(point, score)) for point in points]
            known = [(point, mean) for point, mean in means if mean.count]
            if known:
                errors = [mean.error if isfinite(mean.error) else 0.0 for _, mean in known]
                across, up = zip(*[(point, mean.value) for point, mean in known], strict=True)
                chart.errorbar(across, up, yerr=errors, markersize=4, linewidth=1.2, label=each.label, **line(place))
        for number, each in enumerate(told):
            values = [
                (int(point), each.scores[score][point]) for point in points if point in each.scores.get(score, {})
            ]
            if values:
                how = {"color": "#909090", "linestyle": ":", "marker": "x+1"[number % 3], "markersize": 5}
                chart.plot(*zip(*values, strict=True), label=each.label, **how)
        if int(points[0]) > 0:
            chart.set_xscale("log")
        chart.set_xticks([int(point) for point in points], points)
        chart.set_xticks([], minor=True)
        chart.set_ylim(0, _top(found, points, score))
        finish(chart, AXES[score], "pixels seen", "")
    legend(figure)
    return figure


def _top(found: Sequence[Line], points: Sequence[str], score: str) -> float:
    """Above all methods but those that are far off, such as interpolation from a few pixels."""
    most = [max((each.mean(point, score).value for point in points if each.mean(point, score).count), default=0.0)
            for each in found]  # fmt: skip
    kept = sorted(value for value in most if value > 0)
    middle = kept[len(kept) // 2] if kept else 1.0
    return 1.08 * max((value for value in kept if value <= 2 * middle), default=1.0)


def sheet(arrays: Mapping[str, Mapping[str, np.ndarray]], mask: str) -> Figure:
    """Completed pictures: what is true and seen of each, and in a row a method its mean, then draws.

    `arrays`: of each method by name "truth", "mean" [N, C, H, W], "seen" [N, 1, H, W] and "draws" [S, N, C, H, W],
    all bytes.
    """
    first = next(iter(arrays.values()))
    count, most = len(first["truth"]), max(1, *(len(each["draws"]) for each in arrays.values()))
    made = []
    for start in range(0, count, BESIDE):
        rows = slice(start, start + BESIDE)
        truth = _coloured(first["truth"][rows])
        hidden = np.reshape(np.asarray(UNSEEN, dtype=np.float32), (3, 1, 1))
        seen = np.where(first["seen"][rows] > 127, truth, hidden)
        nothing = np.ones_like(truth)
        real = [truth, seen, *[nothing] * (most - 1)]
        whole = [np.stack(real, 1).reshape(-1, *truth.shape[1:])]
        for each in arrays.values():
            draws = [_coloured(drawn[rows]) for drawn in each["draws"]]
            parts = [_coloured(each["mean"][rows]), *draws, *[nothing] * (most - len(draws))]
            whole.append(np.stack(parts, 1).reshape(-1, *truth.shape[1:]))
        wide = (most + 1) * min(BESIDE, count)  # a last block of fewer pictures is filled up with white
        whole = [np.concatenate([row, np.ones((wide - len(row), *row.shape[1:]), np.float32)]) for row in whole]
        made.append(Block(np.stack(whole), rows=("the picture", *arrays)))
    columns = ["truth\nmean", "seen\ndraw", *["draw"] * (most - 1)] * min(BESIDE, count)
    return grid(made, f"Completed: {words(mask)}", [], columns, side=SIDE, edges=False)


def _coloured(pictures: np.ndarray) -> np.ndarray:
    """Bytes [N, C, H, W] as colours in [0, 1], [N, 3, H, W]."""
    values = pictures.astype(np.float32) / 255
    return values.repeat(3, 1) if values.shape[1] == 1 else values[:, :3]
