"""One look for every chart: colours that the colour-blind tell apart, a second cue beside each, plain numbers.

The colours of lines are those of Okabe, Ito: Color Universal Design, 2008, without the yellow, which white paper
swallows, and three more, which lie as far from them for the red- and the green-blind as they do from each other. Those
of classes are ten of Petroff: Accessible Color Sequences for Data Visualization, 2021.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

INK, PALE = "#303030", "#d8d8d8"
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#220077", "#776633", "#660000",
)  # fmt: skip
CLASSES = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
SEQUENTIAL, SPREAD = "viridis", "inferno"  # of values, and of how unsure they are


def line(place: int) -> dict[str, Any]:
    """Colour, marker and line style of the line at `place`; of ten no two share the colour, of 32 none both others."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": DASHES[(place + place // len(MARKERS)) % len(DASHES)],
    }


def shades(count: int) -> list[Any]:
    """A colour for each of so many classes: those of `CLASSES`, or of more than ten as many steps of one colour map."""
    return [*CLASSES[:count]] if count <= len(CLASSES) else [*colormaps[SEQUENTIAL](np.linspace(0.05, 0.95, count))]


def charts(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """`count` charts of so many inches each, `columns` of them in a row, with room for a legend below."""
    rows, columns = max(1, -(-count // columns)), max(1, min(columns, count))
    drawn = Figure(figsize=(width * columns, height * rows + 0.6), layout="constrained")
    return drawn, [drawn.add_subplot(rows, columns, place + 1) for place in range(count)]


def finish(axes: Axes, title: str, across: str, up: str, whole: bool = False) -> None:
    """Names, ticks and grid of a chart; `whole`: what is drawn across are whole numbers."""
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(across, fontsize=9, color=INK)
    axes.set_ylabel(up, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, ScalarFormatter):
            formatter.set_useOffset(False)
            formatter.set_scientific(False)


def legend(figure: Figure, columns: int = 4, least: int = 2) -> None:
    """One legend below all panels, each name once; none for fewer names than `least`."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        for name, handle in zip(names, handles, strict=True):
            found.setdefault(name, handle)
    if len(found) >= least:
        how = {"loc": "outside lower center", "ncols": min(columns, len(found)), "frameon": False, "fontsize": 8}
        figure.legend(found.values(), found.keys(), **how)


def logarithmic(axes: Axes) -> None:
    """A logarithmic scale upwards whose ticks are numbers as they are written, such as 0.02; after the last line."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = np.log10(high / low)
    steps = (1.0,) if decades > 3 else (1.0, 2.0, 5.0)
    # Within less than a decade the ticks of a linear scale are the rounder ones.
    linear = MaxNLocator(6, steps=[1, 2, 5, 10])
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=12) if decades > 0.8 else linear)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def plain(value: float) -> str:
    """A tick's number without a power of ten, as far as that is short."""
    if value == 0 or 1e-6 <= abs(value) < 1e7:
        return np.format_float_positional(float(f"{value:.6g}"), trim="-")
    return f"{value:.3g}"
