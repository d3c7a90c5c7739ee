"""Figures of tables: a panel for each column, or for each example, of which the first nine are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polyvae.figures.kinds import Completions, Reconstructions, Samples, Strips
from polyvae.figures.style import COLOURS, INK, PALE, finish, legend, line

_PANELS = 9


def scatter(figure: Reconstructions, title: str) -> Figure:
    """Every column's reconstruction against the original."""
    drawn, grid = _panels(figure.original.shape[1], title)
    for column, axes in enumerate(grid):
        original, made = figure.original[:, column], figure.reconstruction[:, column]
        low, high = min(original.min(), made.min()), max(original.max(), made.max())
        axes.plot([low, high], [low, high], color=PALE, zorder=0)
        axes.scatter(original, made, s=14, color=COLOURS[0], linewidths=0)
        finish(axes, _named(figure.names, column), "original", "reconstruction")
    return drawn


def columns(figure: Samples, title: str) -> Figure:
    """Every column's histogram."""
    values = figure.pictures.reshape(-1, figure.pictures.shape[-1])
    drawn, grid = _panels(values.shape[1], title)
    for column, axes in enumerate(grid):
        axes.hist(values[:, column], bins=20, color=COLOURS[0])
        finish(axes, _named(figure.names, column), "value", "samples")
    return drawn


def lines(figure: Strips, title: str) -> Figure:
    """Every column's value along each walk, and the examples between which it goes."""
    drawn, grid = _panels(figure.pictures.shape[2], title)
    across = "position" if figure.ends is None else "from one example (0) to another (1)"
    for column, axes in enumerate(grid):
        for row, name in enumerate(figure.rows):
            label = name if figure.ends is None else f"walk {name}"
            values = figure.pictures[row, :, column]
            axes.plot(figure.positions, values, label=label, markersize=4, markevery=2, **line(row))
            if figure.ends is not None:
                at = figure.positions[[0, -1]]
                axes.scatter(at, figure.ends[row, :, column], s=60, marker="_", color=line(row)["color"])
        finish(axes, _named(figure.names, column), across, "value")
    legend(drawn)
    return drawn


def profiles(figure: Completions, title: str) -> Figure:
    """Each example's values over its columns, the band that holds 90 %, and what was seen."""
    drawn, grid = _panels(len(figure.truth), title, "examples")
    width = figure.truth.shape[1]
    across = np.arange(width)
    for row, axes in enumerate(grid):
        band = {"color": COLOURS[0], "alpha": 0.25, "linewidth": 0, "label": "90 % of the predictive law"}
        axes.fill_between(across, figure.low[row], figure.high[row], **band)
        axes.plot(across, figure.mean[row], color=COLOURS[0], label="mean")
        axes.scatter(across, figure.truth[row], s=14, color=INK, linewidths=0, label="truth")
        seen = figure.mask[row] > 0
        axes.scatter(across[seen], figure.truth[row][seen], s=40, color=COLOURS[1], label="seen", marker="x")
        if figure.names and width <= 12:
            axes.set_xticks(across, figure.names, rotation=45, ha="right")
        finish(axes, f"example {row + 1}", "column", "value")
    legend(drawn)
    return drawn


def _named(names: Sequence[str], column: int) -> str:
    return names[column] if column < len(names) else f"column {column}"


def _panels(total: int, title: str, what: str = "columns") -> tuple[Figure, list[Axes]]:
    """A panel for each column of a table (or each of `what`), for the first nine of more."""
    count = min(total, _PANELS)
    across = min(3, count)
    rows = -(-count // across)
    drawn = Figure(figsize=(4 * across, 3.2 * rows + 0.6), layout="constrained")
    grid = [drawn.add_subplot(rows, across, place + 1) for place in range(count)]
    drawn.suptitle(title if count == total else f"{title}, the first {count} of {total} {what}", color=INK)
    return drawn, grid
