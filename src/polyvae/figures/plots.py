"""Drawing: every figure as a PNG file. The only file that imports matplotlib, and without pyplot's global state."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from polyvae.data.split import Split
from polyvae.evaluation.blocks import parts
from polyvae.figures import arrays
from polyvae.figures.completions import panels
from polyvae.figures.kinds import (
    Bars,
    Completions,
    Curves,
    LatentMap,
    PointErrors,
    Reconstructions,
    Samples,
    Strips,
)
from polyvae.figures.pixels import montage, save_array, to_bytes
from polyvae.files import replacing

_DPI = 120
_WIDTH = 1400  # pixels that a montage fills at most, as far as whole multiples of its own pixels go
_SIDE = 120  # pixels of one picture at most
_COLUMNS = 9  # of a table that are drawn
_INK, _PALE = "#303030", "#d8d8d8"
_UNITS = {"seconds": "s", "lr": "learning rate", **dict.fromkeys(("loss", "bound", "reconstruction", "kl"), "nats")}
_COLOURS = {"train": "#4477aa", "validation": "#ee6677", "": "#4477aa"}


def draw(figure: Any, path: str | os.PathLike[str], title: str = "", npz: bool = False) -> Path:
    """Draws a figure's arrays as a PNG file, with `npz` also the arrays beside it; whole files or none."""
    drawn = _draw(figure, title)
    FigureCanvasAgg(drawn)
    path = Path(path)
    with replacing(path) as beside:
        drawn.savefig(beside, dpi=_DPI, format="png", facecolor="white")
    if npz:
        save_array(path.with_suffix(".npz"), figure)
    return path


def save_figures(
    source: Any,
    split: Split,
    folder: str | os.PathLike[str],
    history: Sequence[Mapping[str, Any]] = (),
    npz: bool = False,
    seed: int = 0,
) -> list[Path]:
    """All figures of a model over a split into a folder, the curves where there is a history; the paths, in order.

    KL bars are left out where no latent has a KL per dimension.
    """
    folder = Path(folder)
    made: dict[str, tuple[Any, str]] = {}
    if history:
        made["curves"] = arrays.curves(history), "Training"
    with suppress(ValueError):
        made["kl"] = arrays.kl_bars(source, split, seed=seed), "KL of each dimension"
    made["reconstructions"] = arrays.reconstructions(source, split, seed=seed), "Reconstructions"
    made["samples"] = arrays.samples(source, split, seed=seed), "Samples from the prior (means)"
    for latent in parts(source)[0].prior:
        made[f"traversals-{latent}"] = arrays.traversals(source, split, latent, seed=seed), f"Traversals of {latent}"
        made[f"map-{latent}"] = arrays.latent_map(source, split, latent, seed=seed), f"Posterior means of {latent}"
    if len(split) > 1:
        made["interpolations"] = arrays.interpolations(source, split, seed=seed), "Interpolations"
    return [draw(figure, folder / f"{name}.png", title, npz) for name, (figure, title) in made.items()]


@singledispatch
def _draw(figure: Any, title: str) -> Figure:
    raise TypeError(f"no drawing is known for {type(figure).__name__}")


@_draw.register
def _(figure: Reconstructions, title: str) -> Figure:
    if figure.original.ndim == 2:
        return _scatter(figure, title)
    columns = min(16, len(figure.original))
    rows = len(figure.original) // columns
    pairs = [
        array[: rows * columns].reshape(rows, columns, *array.shape[1:])
        for array in (figure.original, figure.reconstruction)
    ]
    stacked = np.stack(pairs, 1).reshape(2 * rows, *pairs[0].shape[1:])
    return _pictures(stacked, title, ["original", "reconstruction"] * rows, [])


@_draw.register
def _(figure: Samples, title: str) -> Figure:
    if figure.pictures.ndim == 3:
        return _columns(figure.pictures.reshape(-1, figure.pictures.shape[-1]), title)
    return _pictures(figure.pictures, title, [], list(figure.columns))


@_draw.register
def _(figure: Strips, title: str) -> Figure:
    if figure.pictures.ndim == 3:
        return _lines(figure, title)
    steps = [f"{position:.3g}" for position in figure.positions]
    if figure.ends is None:
        return _pictures(figure.pictures, title, list(figure.rows), steps)
    whole = np.concatenate([figure.ends[:, :1], figure.pictures, figure.ends[:, 1:]], 1)
    return _pictures(whole, title, [], ["from", *steps, "to"])


@_draw.register
def _(figure: LatentMap, title: str) -> Figure:
    drawn = Figure(figsize=(8, 7), layout="constrained")
    axes = drawn.add_subplot()
    size = float(np.clip(3e4 / max(1, len(figure.points)), 3, 30))
    if figure.labels is None:
        axes.scatter(*figure.points.T, s=size, color="#4477aa", alpha=0.6, linewidths=0)
    else:
        shown = np.unique(figure.labels)
        colours = colormaps["tab10" if len(shown) <= 10 else "turbo"]
        for place, label in enumerate(shown):
            colour = colours(place if len(shown) <= 10 else place / (len(shown) - 1))
            axes.scatter(
                *figure.points[figure.labels == label].T,
                s=size,
                color=colour,
                alpha=0.7,
                linewidths=0,
                label=str(label),
            )
        if len(shown) <= 20:
            axes.legend(title="label", frameon=False, loc="upper left", bbox_to_anchor=(1, 1), markerscale=3)
    axes.set_aspect("equal", adjustable="datalim")
    _finish(axes, title, *figure.axes)
    return drawn


@_draw.register
def _(figure: Bars, title: str) -> Figure:
    drawn = Figure(figsize=(9, 2.6 * len(figure.kl) + 0.6), layout="constrained")
    for axes, (name, kl) in zip(drawn.subplots(len(figure.kl), 1, squeeze=False)[:, 0], figure.kl.items(), strict=True):
        order = np.argsort(-kl)
        axes.bar(np.arange(len(kl)), kl[order], color="#4477aa", width=0.85)
        if len(kl) <= 40:
            axes.set_xticks(np.arange(len(kl)), [str(j) for j in order])
        _finish(axes, f"{title}: {name}, {kl.sum():.1f} nats in all", f"dimension of {name}, by KL", "KL, nats")
    return drawn


@_draw.register
def _(figure: Curves, title: str) -> Figure:
    count = max(1, len(figure.quantities))
    columns = min(3, count)
    rows = -(-count // columns)
    drawn = Figure(figsize=(4.2 * columns, 3 * rows + 0.4), layout="constrained")
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axes, (quantity, found) in zip(grid, figure.quantities.items(), strict=False):
        marker = "o" if len(figure.epochs) <= 15 else None
        for part, values in found.items():
            axes.plot(figure.epochs, values, color=_COLOURS[part], label=part or None, marker=marker, markersize=3)
        if len(found) > 1:
            axes.legend(frameon=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(axes, quantity, "epoch", _UNITS.get(quantity, ""))
    for axes in grid[len(figure.quantities) :]:
        axes.set_visible(False)
    drawn.suptitle(title, color=_INK)
    return drawn


@_draw.register
def _(figure: Completions, title: str) -> Figure:
    if figure.truth.ndim == 2:
        return _profiles(figure, title)
    pictures, columns = panels(figure)
    return _pictures(pictures, title, [], columns)


@_draw.register
def _(figure: PointErrors, title: str) -> Figure:
    drawn = Figure(figsize=(9.5, 4), layout="constrained")
    both = {"squared error of unseen values": figure.mse, "CRPS, absolute error without a spread": figure.crps}
    for axes, (words, errors) in zip(drawn.subplots(1, 2), both.items(), strict=True):
        for place, (method, values) in enumerate(errors.items()):
            colour = colormaps["tab10"](place)
            axes.plot(figure.points[method], values, color=colour, marker="o", markersize=4, label=method)
        axes.set_ylim(bottom=0)
        _finish(axes, words, "points seen", "")
    axes.legend(frameon=False, fontsize=8)
    drawn.suptitle(title, color=_INK)
    return drawn


def _profiles(figure: Completions, title: str) -> Figure:
    """Of a table: each example's values over its columns, the band that holds 90 %, and what was seen."""
    drawn, grid = _panels(len(figure.truth), title, "examples")
    columns = np.arange(figure.truth.shape[1])
    for row, axes in enumerate(grid):
        axes.fill_between(columns, figure.low[row], figure.high[row], color="#4477aa", alpha=0.25, linewidth=0)
        axes.plot(columns, figure.mean[row], color="#4477aa", label="mean and 90 %")
        axes.scatter(columns, figure.truth[row], s=14, color=_INK, linewidths=0, label="truth")
        seen = figure.mask[row] > 0
        axes.scatter(columns[seen], figure.truth[row][seen], s=40, color="#ee6677", label="seen", marker="x")
        _finish(axes, f"example {row + 1}", "column", "value")
    grid[0].legend(frameon=False, fontsize=7)
    return drawn


def _pictures(pictures: np.ndarray, title: str, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """A montage whose pixels are whole numbers of the file's, with names beside the rows and above the columns."""
    whole = to_bytes(montage(pictures, gap=max(1, pictures.shape[-1] // 16)))
    scale = max(1, min(_WIDTH // whole.shape[1], _SIDE // pictures.shape[-1]))
    height, width = whole.shape[0] * scale, whole.shape[1] * scale
    left = 12 + (11 * max(map(len, rows)) if rows else 0)
    top = 44 + (26 if columns else 0)
    size = (left + width + 12, top + height + 12)
    drawn = Figure(figsize=(size[0] / _DPI, size[1] / _DPI))
    axes = drawn.add_axes((left / size[0], 12 / size[1], width / size[0], height / size[1]))
    # Repeated here and not by the renderer, whose interpolation would blur edges.
    axes.imshow(whole.repeat(scale, 0).repeat(scale, 1), interpolation="none", aspect="auto")
    axes.xaxis.tick_top()
    axes.set_xticks(_middles(width, len(columns)), columns)
    axes.set_yticks(_middles(height, len(rows)), rows)
    axes.tick_params(length=0, labelsize=9, colors=_INK)
    axes.spines[:].set_visible(False)
    drawn.text(12 / size[0], 1 - 10 / size[1], title, va="top", color=_INK, fontsize=11)
    return drawn


def _middles(length: int, count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) * length / max(count, 1) - 0.5


def _scatter(figure: Reconstructions, title: str) -> Figure:
    """Of a table: every column's reconstruction against the original."""
    drawn, grid = _panels(figure.original.shape[1], title)
    for column, axes in enumerate(grid):
        original, made = figure.original[:, column], figure.reconstruction[:, column]
        low, high = min(original.min(), made.min()), max(original.max(), made.max())
        axes.plot([low, high], [low, high], color=_PALE, zorder=0)
        axes.scatter(original, made, s=14, color="#4477aa", linewidths=0)
        _finish(axes, f"column {column}", "original", "reconstruction")
    return drawn


def _columns(values: np.ndarray, title: str) -> Figure:
    """Of a table: every column's histogram."""
    drawn, grid = _panels(values.shape[1], title)
    for column, axes in enumerate(grid):
        axes.hist(values[:, column], bins=20, color="#4477aa")
        _finish(axes, f"column {column}", "value", "samples")
    return drawn


def _lines(figure: Strips, title: str) -> Figure:
    """Of a table: every column's value along each walk."""
    drawn, grid = _panels(figure.pictures.shape[2], title)
    for column, axes in enumerate(grid):
        for row, name in enumerate(figure.rows):
            axes.plot(figure.positions, figure.pictures[row, :, column], label=name)
        _finish(axes, f"column {column}", "position", "value")
    grid[0].legend(frameon=False, fontsize=7)
    return drawn


def _panels(total: int, title: str, what: str = "columns") -> tuple[Figure, list[Axes]]:
    """A panel for each column of a table (or each of `what`), for the first nine of more."""
    count = min(total, _COLUMNS)
    columns = min(3, count)
    rows = -(-count // columns)
    drawn = Figure(figsize=(4 * columns, 3.2 * rows + 0.4), layout="constrained")
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    drawn.suptitle(title if count == total else f"{title}, the first {count} of {total} {what}", color=_INK)
    return drawn, list(grid[:count])


def _finish(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=10, color=_INK)
    axes.set_xlabel(across, fontsize=9, color=_INK)
    axes.set_ylabel(up, fontsize=9, color=_INK)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.grid(color=_PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
