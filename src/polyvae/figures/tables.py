"""Figures of tables: a panel for each column, or for each example, of which the first nine are drawn.

Numbers are drawn in their own units, whole ones in bins of whole numbers; codes of labels and bits by what they stand
for, of many labels the most frequent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from polyvae.figures.kinds import Completions, Reconstructions, Samples, Strips
from polyvae.figures.style import COLOURS, INK, PALE, SEQUENTIAL, charts, finish, legend, line

_PANELS, _BINS = 9, 30
_LABELS, _LETTERS = 8, 14  # of a column, those shown by name, and what is shown of a name


def scatter(figure: Reconstructions, title: str) -> Figure:
    """Every column's reconstruction against the original; of labels, what share of each is reconstructed as which."""
    drawn, grid = _panels(figure.original.shape[1], title)
    for column, axes in enumerate(grid):
        there = ~np.isnan(figure.original[:, column])
        original, made = figure.original[there, column], figure.reconstruction[there, column]
        name, words = _named(figure.names, column), figure.codes.get(str(column))
        if words:
            _confused(axes, *_grouped(words, original, made.round()))
        elif len(original):
            low, high = min(original.min(), made.min()), max(original.max(), made.max())
            axes.plot([low, high], [low, high], color=PALE, zorder=0)
            axes.scatter(original, made, s=14, color=COLOURS[0], linewidths=0, alpha=0.7)
            axes.xaxis.set_major_locator(MaxNLocator(5))
        finish(axes, name, "original", "reconstruction")
        if words:
            axes.grid(visible=False)
    return drawn


def columns(figure: Samples, title: str) -> Figure:
    """What share of the samples, and of the data where there are any, has each label or lies in each bin."""
    values = figure.pictures.reshape(-1, figure.pictures.shape[-1])
    groups = {"model": values} if figure.data is None else {"data": figure.data, "model": values}
    drawn, grid = _panels(values.shape[1], title)
    for column, axes in enumerate(grid):
        words = figure.codes.get(str(column))
        found = [each[~np.isnan(each)] for each in (group[:, column] for group in groups.values())]
        if words:
            shown, codes = _grouped(words, *found)
            at, width = np.arange(len(shown)), 0.8 / len(found)
            for place, (name, code) in enumerate(zip(groups, codes, strict=True)):
                shares = np.bincount(code, minlength=len(shown)) / max(1, len(code))
                left = at - 0.4 + width * (place + 0.5)
                axes.bar(left, shares, width, label=name, **_bars(name))
            _across(axes, shown)
            across = ""
        else:
            edges, beyond = _edges(found)
            for name, group in zip(groups, found, strict=True):
                how: dict[str, Any] = {
                    "weights": np.full(len(group), 1 / max(1, len(group))),
                    "histtype": "stepfilled",
                    "label": name,
                }
                axes.hist(group, edges.tolist(), **how, **_bars(name))
            across = f"value; beyond the ends {100 * beyond:.1f} %" if beyond else "value"
        finish(axes, _named(figure.names, column), across, "share")
    legend(drawn)
    return drawn


def lines(figure: Strips, title: str) -> Figure:
    """Every column's value along each walk, and the examples between which it goes; labels apart by a little."""
    drawn, grid = _panels(figure.pictures.shape[2], title)
    across = "position" if figure.ends is None else "from one example (0) to another (1)"
    for column, axes in enumerate(grid):
        words = figure.codes.get(str(column), ())
        probability = words == ("0", "1")  # the mean of a bit
        apart = 0.5 / max(1, len(figure.rows)) if words and not probability else 0.0
        for row, name in enumerate(figure.rows):
            label = name if figure.ends is None else f"walk {name}"
            values = figure.pictures[row, :, column] + apart * (row - (len(figure.rows) - 1) / 2)
            drawn_as = "steps-mid" if apart else "default"
            how: dict[str, Any] = {"label": label, "markersize": 4, "markevery": 2, "drawstyle": drawn_as, **line(row)}
            axes.plot(figure.positions, values, **how)
            if figure.ends is not None:
                at = figure.positions[[0, -1]]
                ends = figure.ends[row, :, column] + (values - figure.pictures[row, :, column])[:2]
                axes.scatter(at, ends, s=60, marker=how["marker"], edgecolors=how["color"], facecolors="none")
        up = "probability of 1" if probability else "most probable" if words else "value"
        finish(axes, _named(figure.names, column), across, up)
        if figure.ends is not None:
            axes.scatter([], [], s=60, edgecolors=INK, facecolors="none", label="the examples")
        if apart:
            _ticks(axes, words)
    legend(drawn)
    return drawn


def profiles(figure: Completions, title: str) -> Figure:
    """Examples, the band that holds 90 %, and what was seen: a panel a column where these have names or codes."""
    if figure.names or figure.codes or figure.truth.shape[1] <= 12:
        return _by_column(figure, title)
    drawn, grid = _panels(len(figure.truth), title, "examples")
    across = np.arange(figure.truth.shape[1])
    for row, axes in enumerate(grid):
        axes.fill_between(across, figure.low[row], figure.high[row], **_BAND)
        axes.plot(across, figure.mean[row], color=COLOURS[0], label="mean")
        _known(axes, across, figure.truth[row], figure.mask[row] > 0)
        finish(axes, f"example {row + 1}", "column", "value")
    legend(drawn)
    return drawn


_BAND: dict[str, Any] = {"color": COLOURS[0], "alpha": 0.25, "linewidth": 0, "label": "90 % of the predictive law"}


def _by_column(figure: Completions, title: str) -> Figure:
    """A panel a column, the examples from left to right; the area of a square is the probability of its label."""
    drawn, grid = _panels(figure.truth.shape[1], title)
    across = np.arange(1, len(figure.truth) + 1)
    for column, axes in enumerate(grid):
        chances, truth = figure.chances.get(str(column)), figure.truth[:, column]
        seen = figure.mask[:, column] > 0
        if chances is not None:
            at, code = np.meshgrid(across, np.arange(chances.shape[1]), indexing="ij")
            how: dict[str, Any] = {"marker": "s", "color": COLOURS[0], "alpha": 0.4, "linewidths": 0}
            axes.scatter(at, code, s=260 * chances, **how)
            axes.scatter([], [], s=80, label="probability of a label, the area", **how)
            _ticks(axes, figure.codes[str(column)])
        else:
            # What is seen is known: a band there would be of what the model makes of it.
            low, high = (np.where(seen, np.nan, band[:, column]) for band in (figure.low, figure.high))
            axes.bar(across, high - low, 0.6, low, **_BAND)
            axes.use_sticky_edges = False
            mean = np.where(seen, np.nan, figure.mean[:, column])
            axes.plot(across, mean, "_", color=COLOURS[0], markersize=18, label="mean")
        _known(axes, across, truth, seen)
        axes.set_xlim(0.4, len(across) + 0.6)
        finish(axes, _named(figure.names, column), "example", "" if chances is not None else "value", whole=True)
    legend(drawn, 5)
    return drawn


def _known(axes: Axes, across: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> None:
    axes.scatter(across, truth, s=14, color=INK, linewidths=0, label="truth", zorder=3)
    axes.scatter(across[seen], truth[seen], s=40, color=COLOURS[1], label="seen", marker="x", zorder=3)


def _bars(name: str) -> dict[str, Any]:
    """Data are filled, the model is an outline above them."""
    if name == "data":
        return {"color": COLOURS[0], "alpha": 0.4, "linewidth": 0}
    return {"fill": False, "edgecolor": COLOURS[1], "linewidth": 1.4}


def _grouped(words: Sequence[str], *codes: np.ndarray) -> tuple[list[str], list[np.ndarray]]:
    """The names shown, and codes [N] each as places among them; all but the most frequent labels are one."""
    whole = [np.clip(np.nan_to_num(code), 0, len(words) - 1).astype(int) for code in codes]
    counts = np.bincount(whole[0], minlength=len(words))
    kept = np.arange(len(words))
    if len(words) > _LABELS:
        kept = np.sort(np.argsort(-counts, kind="stable")[: _LABELS - 1])
    place = np.full(len(words), len(kept))
    place[kept] = np.arange(len(kept))
    shown = [_short(words[code]) for code in kept.tolist()]
    rest = len(words) - len(kept)
    return shown + [f"{rest} others"] * bool(rest), [place[code] for code in whole]


def _confused(axes: Axes, shown: Sequence[str], codes: Sequence[np.ndarray]) -> None:
    """A map of which share of each original (across) becomes which reconstruction (up), with the shares as numbers."""
    counts = np.zeros((len(shown), len(shown)))
    np.add.at(counts, (codes[1], codes[0]), 1)
    shares = counts / np.maximum(counts.sum(0), 1)
    axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1, origin="lower", aspect="auto")
    for (up, across), share in np.ndenumerate(shares):
        if counts[:, across].sum():
            ink = INK if share > 0.6 else "white"
            axes.text(across, up, f"{100 * share:.0f} %", ha="center", va="center", fontsize=8, color=ink)
    _across(axes, shown)
    axes.set_yticks(np.arange(len(shown)), shown)


def _edges(values: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Common bins, of whole numbers around them, between the 0.5 % and 99.5 % quantiles; the share that lies beyond."""
    every = np.concatenate(values)
    low, high = (np.quantile(every, share, method="nearest") for share in (0.005, 0.995))
    if (every == every.round()).all():
        step = max(1, int(np.ceil((high - low + 1) / _BINS)))
        edges = np.arange(low, high + step + 1, step) - 0.5
    else:
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    return edges, float(((every < edges[0]) | (every > edges[-1])).mean())


def _ticks(axes: Axes, words: Sequence[str]) -> None:
    """Names of codes upwards, of many every second, third, ..."""
    every = -(-len(words) // 12)
    axes.set_yticks(np.arange(0, len(words), every), [_short(word) for word in words[::every]])
    axes.set_ylim(-0.6, len(words) - 0.4)


def _across(axes: Axes, words: Sequence[str]) -> None:
    """Names of codes from left to right, slanting where they are long."""
    long = max(map(len, words)) > 5
    axes.set_xticks(np.arange(len(words)), words, rotation=30 * long, ha="right" if long else "center")


def _short(word: str) -> str:
    return word if len(word) <= _LETTERS else f"{word[: _LETTERS - 1]}…"


def _named(names: Sequence[str], column: int) -> str:
    return names[column] if column < len(names) else f"column {column}"


def _panels(total: int, title: str, what: str = "columns") -> tuple[Figure, list[Axes]]:
    """A panel for each column of a table (or each of `what`), for the first nine of more."""
    count = min(total, _PANELS)
    drawn, grid = charts(count, 3, 4, 3.2)
    drawn.suptitle(title if count == total else f"{title}, the first {count} of {total} {what}", color=INK)
    return drawn, grid
