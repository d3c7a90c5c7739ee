"""Drawing a map of latents of several modalities: a colour for each class, a marker for what was given."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from polyvae.figures.kinds import ModalMap
from polyvae.figures.style import COLOURS, INK, MARKERS, SEQUENTIAL, finish


def modalities(figure: ModalMap, title: str) -> Figure:
    """The map as a figure: classes are named where they lie, once for each modality, so that none hangs on a colour."""
    drawn = Figure(figsize=(8, 7), layout="constrained")
    axes = drawn.add_subplot()
    labels = np.zeros(len(figure.points), int) if figure.labels is None else figure.labels
    classes, names = np.unique(labels), [*dict.fromkeys(figure.given.tolist())]
    colours = [*COLOURS[:-1], *colormaps[SEQUENTIAL](np.linspace(0.1, 0.9, max(0, len(classes) - len(COLOURS) + 1)))]
    size = float(np.clip(3e4 / max(1, len(figure.points)), 6, 30))
    for place, name in enumerate(names):
        marker = MARKERS[place % len(MARKERS)]
        for rank, label in enumerate(classes):
            mine = figure.points[(labels == label) & (figure.given == name)]
            if not len(mine):
                continue
            axes.scatter(*mine.T, s=size, alpha=0.6, linewidths=0, marker=marker, color=colours[rank])
            if figure.labels is not None:
                box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
                how = {"ha": "center", "va": "center", "fontsize": 9, "weight": "bold", "color": INK, "bbox": box}
                across, up = np.median(mine, 0).tolist()
                axes.text(across, up, f"{label}{'abcdefgh'[place % 8] if len(names) > 1 else ''}", **how)
        letter = f"{'abcdefgh'[place % 8]}: " if figure.labels is not None and len(names) > 1 else ""
        axes.scatter([], [], s=40, marker=marker, color=INK, label=f"{letter}given {name}")
    for rank, label in enumerate(classes if figure.labels is not None else ()):
        axes.scatter([], [], s=40, marker="s", color=colours[rank], label=str(label))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    finish(axes, title, *figure.axes)
    return drawn
