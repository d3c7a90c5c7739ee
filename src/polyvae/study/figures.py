"""The study's plots: curves of training, the exponent's effect, error against the mask's size, pixels seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from polyvae.files import replacing
from polyvae.study.grid import EXPONENTS
from polyvae.study.records import Records, Row
from polyvae.study.table import LATENT_NAMES, Group, Table

INK, PALE = "#303030", "#d8d8d8"
COLOURS = {  # the colours of a method are the same in every plot
    "baseline": "#000000",
    "two-grid": "#4477aa",
    "two-grid-softadapt": "#66ccee",
    "two-uniform": "#228833",
    "two-uniform-softadapt": "#b5bd4c",
    "one-gaussian-40": "#aa3377",
    "one-uniform-40": "#ee6677",
    "one-gaussian": "#aa3377",
    "one-uniform": "#ee6677",
    "one-uniform-20": "#f7b5a8",
    "one-uniform-60": "#a01f2e",
    "one-gaussian-20": "#dda3c4",
    "one-gaussian-60": "#662255",
}
CURVED = tuple(
    name for name in COLOURS if name not in ("one-gaussian", "one-uniform") and name[-2:] not in ("20", "60")
)


def figures(table: Table, records: Records) -> dict[str, tuple[Figure, str]]:
    """Every plot that the records allow, by the name of its file: the figure and what it shows."""
    made: dict[str, tuple[Figure, str]] = {}
    for group in table.groups:
        latent = LATENT_NAMES[group.family]
        lines = _by_method(table, group, records.curves)
        if lines:
            words = f"{group.title}: {latent} and squared error without m on the validation fold after each epoch"
            made[f"curves-{group.name}"] = _curves(lines, latent), f"{words}, means over folds."
        if any(table.runs(group, f"one-{sampling}-{a}") for sampling in ("gaussian", "uniform") for a in EXPONENTS):
            words = f"{group.title}: one decoder by the exponent of its counts, means over folds and deviations"
            made[f"exponents-{group.name}"] = _exponents(table, group), f"{words}; dashed, the baseline."
        sizes = _by_method(table, group, records.masks)
        if sizes:
            words = f"{group.title}: squared error with m against the number of pixels seen, drawn uniformly"
            made[f"masks-{group.name}"] = (
                _masks(table, group, sizes),
                f"{words}, means over folds; dashed, the decoder without m of the same runs.",
            )
    return made


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG file, whole or not at all, the same bytes for the same figure."""
    FigureCanvasAgg(figure)
    with replacing(path) as part:
        figure.savefig(part, dpi=110, format="png", facecolor="white", metadata={"Software": None})


def _by_method(
    table: Table, group: Group, lines: Mapping[tuple[str, int], Sequence[Row]]
) -> dict[str, list[Sequence[Row]]]:
    """The lines of each method's folds, those of methods without any left out."""
    found = {}
    for method in table.methods(group):
        name = method.name
        if folds := [lines[key] for fold in table.runs(group, name) if lines.get(key := (group.cell(name), fold))]:
            found[name] = folds
    return found


def _curves(lines: Mapping[str, list[Sequence[Row]]], latent: str) -> Figure:
    figure, (left, right) = _pair()
    for name in CURVED:
        for axes, column in ((left, "latent"), (right, "mse")):
            folds = lines.get(name, [])
            epochs = min((len(fold) for fold in folds), default=0)
            if epochs:
                values = np.array([[row[column] for row in fold[:epochs]] for fold in folds], dtype=float).mean(0)
                across = [row["epoch"] for row in folds[0][:epochs]]
                marker = "o" if epochs <= 15 else None
                axes.plot(across, values, color=COLOURS[name], label=name, marker=marker, markersize=3, linewidth=1.3)
    _finish(left, latent, "epoch", latent)
    _finish(right, "squared error without m", "epoch", "squared error per value")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, left)
    return figure


def _exponents(table: Table, group: Group) -> Figure:
    figure, (left, right) = _pair()
    for axes, column in ((left, "latent"), (right, "mse")):
        for sampling in ("gaussian", "uniform"):
            found = {a: list(table.values(group, f"one-{sampling}-{a}", column).values()) for a in EXPONENTS}
            held = {a: np.array(values) for a, values in found.items() if values}
            if held:
                means = [values.mean() for values in held.values()]
                sds = [values.std(ddof=1) if len(values) > 1 else 0.0 for values in held.values()]
                shift = -0.4 if sampling == "gaussian" else 0.4
                across = [a + shift for a in held]
                colour = COLOURS[f"one-{sampling}"]
                axes.errorbar(across, means, sds, color=colour, label=f"one-{sampling}", marker="o", capsize=3)
        if base := list(table.values(group, "baseline", column).values()):
            axes.axhline(float(np.mean(base)), color=COLOURS["baseline"], linestyle="--", label="baseline")
        axes.set_xticks(EXPONENTS)
    latent = LATENT_NAMES[group.family]
    _finish(left, latent, "exponent", latent)
    _finish(right, "squared error without m", "exponent", "squared error per value")
    _legend(figure, left)
    return figure


def _masks(table: Table, group: Group, sizes: Mapping[str, list[Sequence[Row]]]) -> Figure:
    figure, panels = _pair()
    for axes, kind, title in zip(panels, ("two", "one"), ("two decoders", "one decoder"), strict=True):
        for name, folds in sizes.items():
            if name not in COLOURS or not name.startswith(kind):
                continue
            across = [row["count"] for row in folds[0]]
            values = np.array([[row["mse"] for row in fold] for fold in folds]).mean(0)
            axes.plot(across, values, color=COLOURS[name], label=name, marker="o", markersize=3, linewidth=1.3)
            if kind == "two":
                without = float(np.mean(list(table.values(group, name, "mse").values())))
                axes.axhline(without, color=COLOURS[name], linestyle="--", linewidth=1)
        axes.set_xscale("symlog", linthresh=1)
        most = max((row["count"] for folds in sizes.values() for row in folds[0]), default=1)
        ticks = [at for at in (0, 1, 10, 100, 1000) if at <= most]
        axes.set_xticks(ticks, [str(at) for at in ticks])
        axes.set_xlim(-0.15, 1.3 * most)
        axes.set_yscale("log")
        _finish(axes, title, "pixels seen", "squared error per value")
    _legend(figure, *panels)
    return figure


def _pair() -> tuple[Figure, Any]:
    figure = Figure(figsize=(9.6, 4.1), layout="constrained")
    return figure, figure.subplots(1, 2)


def _legend(figure: Figure, *panels: Axes) -> None:
    found: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        found.update(zip(names, handles, strict=True))
    if found:
        figure.legend(
            found.values(),
            found.keys(),
            loc="outside lower center",
            ncols=min(4, len(found)),
            frameon=False,
            fontsize=8,
        )


def _finish(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(across, fontsize=9, color=INK)
    axes.set_ylabel(up, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
