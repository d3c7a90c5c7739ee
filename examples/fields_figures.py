"""Figures of completed fields: maps of one moment, a place in time with its band, errors against sensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fields_scores import LEVEL, Predictions, Trial, calibrated
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from polyvae.figures.style import COLOURS, INK, SEQUENTIAL, SPREAD, legend, line, logarithmic

CHANNELS = {"cylinder_flow": ("u", "v", "pressure"), "vortices": ("u", "v", "pressure")}
SOLID = "0.75"


def maps(path: Path, trial: Trial, ours: Predictions, baseline: Predictions, title: str, index: int = 0) -> None:
    """A row a channel: the truth with the sensors, our mean, the half width of its band, both methods' errors.

    Lines run where an error is half of the colour bar's end; below zero they are dashed.
    """
    truth = trial.truth["test"][index]
    mean, half = ours["test"][0][index], _half_widths(trial, ours)[index]
    errors = mean - truth, baseline["test"][0][index] - truth
    names = (
        "truth and sensors",
        "mean",
        f"half width of the {LEVEL:.0%} band",
        "error, below 0 dashed",
        "error of gappy PCA",
    )
    count, (height, width) = len(truth), truth.shape[1:]
    figure = Figure(figsize=(3.2 * len(names), 3.2 * count * height / width + 0.9), layout="constrained")
    axes = figure.subplots(count, len(names), squeeze=False)
    for channel, row in enumerate(axes):
        scale, centre = float(trial.field.scale[channel]), float(trial.field.centre[channel])
        shown = [scale * value[channel] for value in (truth, mean, half, *errors)]
        wrong = float(max(value.abs().quantile(0.995) for value in shown[3:]))
        shown = [value + centre if place < 2 else value for place, value in enumerate(shown)]
        fluid = torch.stack(shown[:2])[:, trial.field.fluid]
        values = float(fluid.min()), float(fluid.max())
        limits = [values] * 2 + [(0.0, float(shown[2].max()))] + [(-wrong, wrong)] * 2
        for place, (axis, value, (low, high)) in enumerate(zip(row, shown, limits, strict=True)):
            colours = SPREAD if place == 2 else SEQUENTIAL if place < 2 else "PuOr_r"
            drawn = _map(axis, value, trial.field.fluid, colours, low, high)
            if place > 2:  # the sign without its colour: dashes are below zero
                levels = [level for level in (-wrong / 2, wrong / 2) if value.min() < level < value.max()]
                if levels:
                    axis.contour(drawn.get_array(), levels, colors=INK, linewidths=0.6)
            if place in (1, 2, 4):
                figure.colorbar(drawn, ax=row[[0, 1]] if place == 1 else row[[3, 4]] if place == 4 else axis, pad=0.01)
            if channel == 0:
                axis.set_title(names[place], fontsize=10)
        row[0].plot(*trial.positions.T.flip(0), "o", color="black", markerfacecolor="white", markersize=6)
        row[0].set_ylabel(_channels(trial)[channel])
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def band(path: Path, trial: Trial, predictions: Mapping[str, Predictions], title: str, channel: int = 1) -> None:
    """What the means leave of the truth, within their bands, at the place where a channel varies most."""
    field, truth = trial.field, trial.truth["test"]
    channel = min(channel, truth.shape[1] - 1)
    varied = field.x("train")[:, channel].std(0)
    place = channel, *divmod(int(varied.argmax()), varied.shape[1])
    count, scale = len(field.x("test")), float(field.scale[channel])
    times = field.data.test.tensors.get("t", torch.arange(count).float()[:, None])[:, 0]
    apart = times.diff()
    ends = [0, *((apart > 1.5 * apart.median()).nonzero().flatten() + 1).tolist(), count]
    figure = Figure(figsize=(10, 2.2 * len(predictions) + 0.8), layout="constrained")
    rows = figure.subplots(len(predictions), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for axis, (name, found), colour in zip(rows, predictions.items(), (COLOURS[0], COLOURS[-1]), strict=True):
        left = scale * (truth - found["test"][0])[:count, *place]
        half = scale * _half_widths(trial, found)[:count, *place]
        for start, stop in pairwise(ends):  # a block of times
            part = slice(start, stop)
            shade = {"color": colour, "alpha": 0.25, "linewidth": 0, "label": f"{LEVEL:.0%} band"}
            axis.fill_between(np.arange(start, stop), -half[part], half[part], **shade)
            axis.plot(np.arange(start, stop), left[part], ".-", color=colour, linewidth=0.7, label="truth less mean")
        axis.axhline(0.0, color="black", linewidth=0.5)
        axis.set_ylabel(name)
    rows[-1].set_xlabel("test fields, the blocks of time after one another")
    legend(figure)
    figure.suptitle(f"{title}: truth less mean of {_channels(trial)[channel]} at row {place[1]}, column {place[2]}")
    figure.savefig(path, dpi=110)


def errors(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Relative error and ranked probability score against the number of sensors, a column a noise."""
    noises = sorted({row["noise"] for row in rows})
    figure = Figure(figsize=(max(6.4, 4.2 * len(noises)), 6.4), layout="constrained")  # wide enough for the legend
    axes = figure.subplots(2, len(noises), squeeze=False, sharex=True, sharey="row")
    for column, noise in enumerate(noises):
        for axis, quantity in zip(axes[:, column], ("error", "crps"), strict=True):
            for place, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
                mine = [row for row in rows if row["noise"] == noise and row["method"] == method]
                counts = sorted({row["sensors"] for row in mine})
                values = [np.mean([row[quantity] for row in mine if row["sensors"] == count]) for count in counts]
                axis.plot(counts, values, label=method, markersize=5, **line(place))
            axis.set_xticks(sorted({row["sensors"] for row in rows}))
            axis.grid(alpha=0.3)
        axes[0, column].set_title(f"noise of {noise:.0%}" if noise else "clean")
        axes[1, column].set_xlabel("sensors")
    axes[0, 0].set_ylabel("relative error")
    axes[1, 0].set_ylabel("ranked probability score")
    for axis in axes.flat:  # rows share their limits, which stand only now
        logarithmic(axis)
    legend(figure)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def _half_widths(trial: Trial, predictions: Predictions) -> Tensor:
    """Of the calibrated bands on the test part, [N, C, H, W]."""
    return calibrated(trial, predictions).factors[LEVEL].to(torch.float32) * predictions["test"][1]


def _map(axis: Axes, value: Tensor, fluid: Tensor, colours: str, low: float, high: float) -> Any:
    axis.set_facecolor(SOLID)
    axis.set_xticks([])
    axis.set_yticks([])
    masked = np.ma.masked_array(value.numpy(), ~fluid.numpy())
    return axis.imshow(masked, cmap=colours, vmin=low, vmax=high, origin="lower", interpolation="nearest")


def _channels(trial: Trial) -> tuple[str, ...]:
    data = trial.field.data
    return CHANNELS.get(data.name, tuple(f"channel {place}" for place in range(data.spec.x[0])))
