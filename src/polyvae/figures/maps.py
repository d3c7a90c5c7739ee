"""Drawing maps: of latents, a colour and a second cue for each class, named where it lies; of sensors on a field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from polyvae.figures.kinds import LatentMap, ModalMap, Sensors
from polyvae.figures.style import CLASSES, COLOURS, INK, MARKERS, SEQUENTIAL, charts, finish, shades

_NAMED = 20  # classes that have a marker and a name each
_LEAST = 5  # points of a class on which its name may stand: fewer would be hidden by it
_LETTERS = "abcdefgh"  # of what was given, one for each marker


def latents(figure: LatentMap, title: str) -> Figure:
    """The map of one x: up to twenty classes by colour, marker and name, more of them by a colour map."""
    drawn, axes = _plane()
    size = float(np.clip(3e4 / max(1, len(figure.points)), 4, 30))
    shown = np.array([]) if figure.labels is None else np.unique(figure.labels)
    words: list[Text] = []
    if figure.labels is None:
        axes.scatter(*figure.points.T, s=size, color=COLOURS[0], alpha=0.6, linewidths=0)
    elif len(shown) <= _NAMED:
        for place, label in enumerate(shown):
            mine = figure.points[figure.labels == label]
            how = {"color": CLASSES[place % len(CLASSES)], "marker": MARKERS[place % len(MARKERS)]}
            axes.scatter(*mine.T, s=size, alpha=0.7, linewidths=0, label=str(label), **how)
            words += _named(axes, str(label), mine)
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
    _apart(drawn, words)
    return drawn


def modalities(figure: ModalMap, title: str) -> Figure:
    """The map of several modalities: a marker for what was given, a colour for the class, or without classes for what
    was given too; classes are named where they lie, once for each modality."""
    drawn, axes = _plane()
    classes = [] if figure.labels is None else np.unique(figure.labels).tolist()
    given, colours = [*dict.fromkeys(figure.given.tolist())], shades(len(classes))
    names = [figure.names[label] if 0 <= label < len(figure.names) else str(label) for label in classes]
    size = float(np.clip(3e4 / max(1, len(figure.points)), 6, 30))
    words: list[Text] = []
    for place, modality in enumerate(given):
        marker, colour = MARKERS[place % len(MARKERS)], INK if classes else COLOURS[place % len(COLOURS)]
        letter = _LETTERS[place % len(_LETTERS)] if classes and len(given) > 1 else ""
        all_of = figure.given == modality
        if not classes:
            axes.scatter(*figure.points[all_of].T, s=size, alpha=0.6, linewidths=0, marker=marker, color=colour)
        for rank, label in enumerate(classes):
            mine = figure.points[all_of & (figure.labels == label)]
            axes.scatter(*mine.T, s=size, alpha=0.7, linewidths=0, marker=marker, color=colours[rank])
            words += _named(axes, f"{names[rank]}{' ' * (len(names[rank]) > 2)}{letter}".strip(), mine)
        told = f"{letter}: given {modality}" if letter else f"given {modality}"
        axes.scatter([], [], s=40, marker=marker, color=colour, label=told)
    for rank, name in enumerate(names):
        axes.scatter([], [], s=40, marker="s", color=colours[rank], label=name)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    finish(axes, title, *figure.axes)
    _apart(drawn, words)
    return drawn


def sensors(figure: Sensors, title: str) -> Figure:
    """The field, a map for each channel, and on it the sensors by their numbers."""
    count, height, width = figure.field.shape
    drawn, every = charts(count, 3, 4.2, 4.2 * min(2.0, height / width) + 0.4)
    for number, axes in enumerate(every):
        axes.imshow(figure.field[number], cmap=SEQUENTIAL, interpolation="nearest")
        finish(axes, figure.names[number] if number < len(figure.names) else "", "column", "row", whole=True)
        axes.grid(visible=False)
        axes.scatter(*figure.positions.T[::-1], s=22, color="white", edgecolors=INK, linewidths=0.8)
        for order, (row, column) in enumerate(figure.positions):
            word = axes.annotate(str(order + 1), (column, row), (4, 3), textcoords="offset points", fontsize=8)
            word.set_path_effects([withStroke(linewidth=2, foreground="white")])
    drawn.suptitle(title, color=INK)
    return drawn


def _plane() -> tuple[Figure, Axes]:
    drawn = Figure(figsize=(8, 7), layout="constrained")
    return drawn, drawn.add_subplot()


def _named(axes: Axes, words: str, points: np.ndarray) -> list[Text]:
    """Where a class lies, in words, so that neither colour nor marker is needed; none over few points, which the words
    would hide."""
    if len(points) < _LEAST:
        return []
    across, up = np.median(points, 0).tolist()
    made = axes.text(across, up, words, ha="center", va="center", fontsize=9, weight="bold", color=INK)
    made.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    return [made]


def _apart(drawn: Figure, words: Sequence[Text]) -> None:
    """Takes away every word that would be printed over one before it."""
    if len(words) < 2:
        return
    drawn.draw_without_rendering()  # before which no word has its place
    kept = []
    for each in words:
        box = each.get_window_extent()
        if any(box.overlaps(other) for other in kept):
            each.remove()
        else:
            kept.append(box)
