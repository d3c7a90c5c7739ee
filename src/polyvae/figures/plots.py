"""Drawing: every figure as a PNG file. Matplotlib enters here and in the files beside, without pyplot's state."""

from __future__ import annotations

import io
import os
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from polyvae.data.files.writing import replacing
from polyvae.figures import kinds, maps, tables
from polyvae.figures.grids import DPI, Block, blocks, colour_bar, grid, panels
from polyvae.figures.kinds import (
    Clusters,
    Completions,
    Curves,
    KLBars,
    LatentMap,
    Levels,
    PointErrors,
    Reconstructions,
    Reliability,
    Samples,
    Strips,
)
from polyvae.figures.pixels import save_array
from polyvae.figures.quantities import told
from polyvae.figures.style import COLOURS, INK, SEQUENTIAL, charts, finish, legend, line

_WIDE = 1400  # pixels that a row of pictures fills at most
_UNITS = {"seconds": "s", "lr": "learning rate", **dict.fromkeys(("loss", "bound", "reconstruction", "kl"), "nats")}
_ROLES = {"train": 0, "validation": 1, "": 0}


def draw(figure: Any, path: str | os.PathLike[str], title: str = "", npz: bool = False) -> Path:
    """Draws a figure's arrays as a PNG file, with `npz` also the arrays beside it; whole files or none.

    What shows a part of the data says so behind the title.
    """
    path = Path(path)
    save(drawing(figure, title), path)
    if npz:
        save_array(path.with_suffix(".npz"), figure)
    return path


def save(drawn: Figure, path: Path) -> None:
    """Writes a figure of matplotlib as a PNG file, whole or not at all."""
    made = png(drawn)
    with replacing(path) as beside:
        beside.write_bytes(made)


def png(drawn: Figure) -> bytes:
    """A figure of matplotlib as a PNG file, the same bytes for the same figure."""
    FigureCanvasAgg(drawn)
    file = io.BytesIO()
    drawn.savefig(file, dpi=DPI, format="png", facecolor="white", metadata={"Software": None})
    return file.getvalue()


def drawing(figure: Any, title: str = "") -> Figure:
    """The same as a figure of matplotlib."""
    part = getattr(figure, "part", "")
    drawn = _draw(figure, f"{title}: {part}" if title and part else title or part)
    FigureCanvasAgg(drawn)
    return drawn


@singledispatch
def _draw(figure: Any, title: str) -> Figure:
    raise TypeError(f"no drawing is known for {type(figure).__name__}")


@_draw.register
def _(figure: Reconstructions, title: str) -> Figure:
    if figure.original.ndim == 2:
        return tables.scatter(figure, title)
    count, *shape = figure.original.shape
    columns = max(1, min(16, count, _WIDE // max(64, shape[-1])))
    rows = -(-count // columns)
    stacked = np.ones((rows, 2, columns, *shape)) if figure.unit else np.full((rows, 2, columns, *shape), np.nan)
    for place, array in enumerate((figure.original, figure.reconstruction)):
        for row in range(rows):
            found = array[row * columns : (row + 1) * columns]
            stacked[row, place, : len(found)] = found
    whole = stacked.reshape(2 * rows, columns, *shape)
    made = blocks(whole, figure.unit, figure.names, figure.original)
    return grid(made, title, ["original", "reconstruction"] * rows, [])


@_draw.register
def _(figure: Samples, title: str) -> Figure:
    if figure.pictures.ndim == 3:
        return tables.columns(figure, title)
    return grid(blocks(figure.pictures, figure.unit, figure.names), title, [], list(figure.columns))


@_draw.register
def _(figure: Levels, title: str) -> Figure:
    return grid(blocks(figure.pictures, figure.unit, figure.names), title, list(figure.rows), [])


@_draw.register
def _(figure: Strips, title: str) -> Figure:
    if figure.pictures.ndim == 3:
        return tables.lines(figure, title)
    steps = list(figure.columns) or [f"{position:.3g}" for position in figure.positions]
    if figure.ends is None:
        return grid(blocks(figure.pictures, figure.unit, figure.names), title, list(figure.rows), steps)
    whole = np.concatenate([figure.ends[:, :1], figure.pictures, figure.ends[:, 1:]], 1)
    return grid(blocks(whole, figure.unit, figure.names, figure.ends), title, [], ["from", *steps, "to"])


@_draw.register
def _(figure: Clusters, title: str) -> Figure:
    if figure.examples.ndim == 3:
        raise ValueError("a figure of clusters shows pictures; of a table take the map of its latents")
    whole = np.concatenate([figure.examples, figure.samples], 1)
    whole = np.nan_to_num(whole, nan=1.0) if figure.unit else whole  # nothing is white, as the paper is
    columns = ["example"] * figure.examples.shape[1] + ["sample"] * figure.samples.shape[1]
    return grid(blocks(whole, figure.unit, figure.names, figure.examples), title, list(figure.rows), columns)


@_draw.register
def _(figure: Reliability, title: str) -> Figure:
    drawn = Figure(figsize=(5.5, 5), layout="constrained")
    axes = drawn.add_subplot()
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", label="as told")
    for place, (name, bins) in enumerate(figure.bins.items()):
        axes.plot(bins[:, 3], bins[:, 4], markersize=5, label=name, **line(place))
    finish(axes, title, "probability of the likeliest class", "share that is right")
    legend(drawn)
    return drawn


@_draw.register
def _(figure: kinds.Sensors, title: str) -> Figure:
    return maps.sensors(figure, title)


@_draw.register
def _(figure: LatentMap, title: str) -> Figure:
    return maps.latents(figure, title)


@_draw.register
def _(figure: kinds.ModalMap, title: str) -> Figure:
    return maps.modalities(figure, title)


@_draw.register
def _(figure: kinds.Sheet, title: str) -> Figure:
    made = []
    for words, pictures in figure.pictures.items():
        ranges = figure.ranges.get(words, {})
        bars = tuple(colour_bar(of, SEQUENTIAL, shown, data) for of, (data, shown) in ranges.items())
        made.append(Block(pictures, words, bars, figure.rows[words]))
    return grid(made, title, [], list(figure.columns), edges=True)


@_draw.register
def _(figure: KLBars, title: str) -> Figure:
    drawn = Figure(figsize=(9, 2.6 * len(figure.kl) + 0.6), layout="constrained")
    for axes, (name, kl) in zip(drawn.subplots(len(figure.kl), 1, squeeze=False)[:, 0], figure.kl.items(), strict=True):
        order = np.argsort(-kl)
        axes.bar(np.arange(len(kl)), kl[order], color=COLOURS[0], width=0.85)
        if len(kl) <= 40:
            axes.set_xticks(np.arange(len(kl)), [str(j) for j in order])
        else:
            axes.set_xticks([])  # the bars' ranks would read as the dimensions' numbers
        finish(
            axes, f"{title}; {name}, {kl.sum():.1f} nats in all", f"{len(kl)} dimensions of {name}, by KL", "KL, nats"
        )
    return drawn


@_draw.register
def _(figure: kinds.GroupKL, title: str) -> Figure:
    drawn, (axes,) = charts(1, 1, max(5.0, 1.1 * len(figure.kl) + 1.5), 4)
    names = [f"{name}\n{figure.dimensions[name]:,}" for name in figure.kl]
    axes.bar_label(axes.bar(names, list(figure.kl.values()), color=COLOURS[0], width=0.7), fmt="%.1f", color=INK)
    whole = f"{title}; {sum(figure.kl.values()):.1f} nats in all"
    finish(axes, whole, "latents from the top, and their dimensions", "KL, nats")
    return drawn


@_draw.register
def _(figure: Curves, title: str) -> Figure:
    shown = told(figure)
    drawn, every = charts(len(shown), 3, 4.2, 3)
    for axes, (quantity, (heading, found)) in zip(every, shown.items(), strict=True):
        for role, values in found.items():
            how = line(_ROLES[role])
            apart = max(1, len(figure.epochs) // 12)
            axes.plot(figure.epochs, values, label=role or None, markersize=3.5, markevery=apart, **how)
        if figure.best is not None:
            axes.axvline(figure.best, color=INK, linewidth=0.8, linestyle=":", label=f"best epoch, {figure.best:g}")
            for values in found.values():
                at = values[figure.epochs == figure.best]
                axes.plot([figure.best] * len(at), at, "*", color=INK, markersize=9)
        finish(axes, heading, "epoch", _UNITS.get(quantity, ""), whole=True)
    legend(drawn)
    drawn.suptitle(title, color=INK)
    return drawn


@_draw.register
def _(figure: Completions, title: str) -> Figure:
    if figure.truth.ndim == 2:
        return tables.profiles(figure, title)
    made, columns = panels(figure)
    return grid(made, title, [], columns)


@_draw.register
def _(figure: PointErrors, title: str) -> Figure:
    numbers = "\nnumbers, in standard deviations of their columns" if figure.standardised else ""
    every = {
        f"squared error of unseen values{numbers}": figure.mse,
        f"CRPS, absolute error without a spread{numbers}": figure.crps,
        "unseen labels and bits: share that is wrong": figure.wrong,
        "unseen labels and bits: log loss, nats": figure.log_loss,
    }
    every = {words: errors for words, errors in every.items() if any(np.isfinite(one).any() for one in errors.values())}
    rows = -(-len(every) // 2)
    drawn = Figure(figsize=(9.5, 4 * rows + 0.4), layout="constrained")
    for number, (words, errors) in enumerate(every.items()):
        axes = drawn.add_subplot(rows, 2, number + 1)
        for place, (method, values) in enumerate(errors.items()):
            if np.isfinite(values).any():
                axes.plot(figure.points[method], values, markersize=5, label=method, **line(place))
        axes.set_ylim(bottom=0)
        finish(axes, words, f"{figure.of} seen", "", whole=True)
    legend(drawn)
    drawn.suptitle(title, color=INK)
    return drawn
