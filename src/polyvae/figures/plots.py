"""Drawing: every figure as a PNG file. Matplotlib enters here and in the files beside, without pyplot's state."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import singledispatch
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from polyvae.data.exchange.given import taken
from polyvae.data.files.writing import replacing
from polyvae.evaluation.blocks import source_of
from polyvae.evaluation.classes import class_latent
from polyvae.evaluation.pictures import recorded_spec
from polyvae.figures import arrays, classes, from_above, kinds, latents, tables, walks
from polyvae.figures.grids import DPI, blocks, grid, panels
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
from polyvae.figures.style import COLOURS, INK, MARKERS, SEQUENTIAL, charts, finish, legend, line
from polyvae.figures.subject import is_table

_WIDE = 1400  # pixels that a row of pictures fills at most
_ROWS = 1000  # of a table: enough to compare shares
_NAMED = 20  # classes that have a marker and a name each
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


def save_figures(
    source: Any,
    data: Any,
    folder: str | os.PathLike[str],
    history: Sequence[Mapping[str, Any]] = (),
    npz: bool = False,
    seed: int = 0,
) -> list[Path]:
    """All figures of a model over data into a folder, the curves where there is a history; the paths, in order.

    `data`: a split, Data, of which it is the test part, or whatever else `Run.score` takes. KL bars are left out where
    no latent has a KL per dimension, levels where no latents stand above each other.
    """
    folder, split = Path(folder), taken(data, recorded_spec(source))
    made: dict[str, tuple[Any, str]] = {}
    if history:
        made["curves"] = arrays.curves(history, getattr(source, "monitor", "bound")), "Training"
    with suppress(ValueError):
        made["kl"] = latents.kl_bars(source, split, seed=seed), "KL of each dimension"
    if len(source_of(source).model.prior) > 1:
        made["groups"] = latents.group_kl(source, split, seed=seed), "KL of each group"
    table = is_table(source, split)
    made["reconstructions"] = arrays.reconstructions(source, split, _ROWS if table else 32, seed), "Reconstructions"
    side, title = (isqrt(_ROWS) + 1, "Samples beside the data") if table else (8, "Samples from the prior (means)")
    made["samples"] = arrays.samples(source, split, side, side, seed=seed), title
    if not table:
        with suppress(ValueError):
            made["levels"] = (
                from_above.levels(source, split, seed=seed),
                "Reconstructions from the highest latents alone",
            )
    for latent in source_of(source).model.prior:
        title = f"Traversals of {latent}, from example 0"
        made[f"traversals-{latent}"] = walks.traversals(source, split, latent, seed=seed), title
        made[f"map-{latent}"] = latents.latent_map(source, split, latent, seed=seed), f"Posterior means of {latent}"
    if (name := class_latent(source_of(source).model)) is not None:
        if not table:
            made["clusters"] = classes.clusters(source, split, seed=seed), f"Every value of {name}"
        for latent in source_of(source).model.prior:
            if latent != name:
                by_class = latents.latent_map(source, split, latent, seed=seed, by_class=True)
                made[f"map-{latent}-by-class"] = by_class, f"Posterior means of {latent}"
    if len(split) > 1:
        made["interpolations"] = walks.interpolations(source, split, seed=seed), "Interpolations"
    return [draw(figure, folder / f"{name}.png", title, npz) for name, (figure, title) in made.items()]


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
    steps = [f"{position:.3g}" for position in figure.positions]
    if figure.ends is None:
        return grid(blocks(figure.pictures, figure.unit, figure.names), title, list(figure.rows), steps)
    whole = np.concatenate([figure.ends[:, :1], figure.pictures, figure.ends[:, 1:]], 1)
    return grid(blocks(whole, figure.unit, figure.names, figure.ends), title, [], ["from", *steps, "to"])


@_draw.register
def _(figure: Clusters, title: str) -> Figure:
    if figure.examples.ndim == 3:
        raise ValueError("a figure of clusters shows pictures; of a table take the map of its latents")
    whole = np.concatenate([figure.examples, figure.samples], 1)
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
def _(figure: LatentMap, title: str) -> Figure:
    drawn = Figure(figsize=(8, 7), layout="constrained")
    axes = drawn.add_subplot()
    size = float(np.clip(3e4 / max(1, len(figure.points)), 4, 30))
    shown = np.array([]) if figure.labels is None else np.unique(figure.labels)
    if figure.labels is None:
        axes.scatter(*figure.points.T, s=size, color=COLOURS[0], alpha=0.6, linewidths=0)
    elif len(shown) <= _NAMED:
        for place, label in enumerate(shown):
            mine = figure.points[figure.labels == label]
            how = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
            axes.scatter(*mine.T, s=size, alpha=0.7, linewidths=0, label=str(label), **how)
            # Where a class lies, in words: neither colour nor marker is needed to read the map.
            axes.text(
                float(np.median(mine[:, 0])),
                float(np.median(mine[:, 1])),
                str(label),
                ha="center",
                va="center",
                fontsize=10,
                weight="bold",
                color=INK,
                bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
            )
        axes.legend(title=figure.of, frameon=False, loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)
    else:
        ranks = np.searchsorted(shown, figure.labels)
        axes.scatter(*figure.points.T, s=size, c=ranks, cmap=SEQUENTIAL, alpha=0.7, linewidths=0)
        scale = ScalarMappable(Normalize(0, len(shown) - 1), colormaps[SEQUENTIAL])
        places = np.linspace(0, len(shown) - 1, 6).round().astype(int)
        made = drawn.colorbar(scale, ax=axes, label=f"{figure.of}, {len(shown)} of them", ticks=list(places))
        made.set_ticklabels([str(shown[place]) for place in places])
    axes.set_aspect("equal", adjustable="datalim")
    finish(axes, title, *figure.axes)
    return drawn


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


def told(figure: Curves) -> dict[str, tuple[str, dict[str, np.ndarray]]]:
    """The quantities worth a panel, by name: its heading and its lines.

    Left out is what never changes, and what only repeats another, such as a loss that is the bound with the other sign;
    the heading of the other then says so. Where nothing changes, as in a single epoch, all but the repeated stay.
    """
    first = ("bound", "loss")
    names = sorted(figure.quantities, key=lambda name: first.index(name) if name in first else len(first))
    moving = [name for name in names if any(_moves(values) for values in figure.quantities[name].values())]
    kept: dict[str, str] = {}
    for name in moving or names:
        for other in kept:
            if sign := _twins(figure.quantities[name], figure.quantities[other]):
                kept[other] += f" = {'-' if sign < 0 else ''}{name}"
                break
        else:
            kept[name] = name
    return {name: (kept[name], figure.quantities[name]) for name in figure.quantities if name in kept}


def _moves(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 1 and bool(np.ptp(known) > 1e-9 * np.abs(known).max())


def _twins(mine: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> int:
    """1 where both have the same lines, -1 where they are mirrored, else 0."""
    if set(mine) != set(other):
        return 0
    same = {sign: all(np.allclose(sign * mine[k], other[k], 1e-4, 0, equal_nan=True) for k in mine) for sign in (1, -1)}
    return 1 if same[1] else -1 if same[-1] else 0


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
