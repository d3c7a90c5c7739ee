"""The study's plots: curves of training, the exponent's effect, error against the mask's size, pixels seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyvae.figures.style import COLOURS, Figure, charts, finish, legend, logarithmic
from polyvae.study.records import Row
from polyvae.study.thesis.grid import EXPONENTS
from polyvae.study.thesis.precisions import UNKNOWN, listed
from polyvae.study.thesis.records import Records
from polyvae.study.thesis.table import LATENT_NAMES, Group, Table

# The look of a method is the same in every plot: a colour for each way to see m, a marker and a line style beside it.
LOOKS: dict[str, tuple[str, str, str]] = {
    "baseline": (COLOURS[6], "X", "-"),
    "two-grid": (COLOURS[0], "o", "-"),
    "two-grid-softadapt": (COLOURS[5], "D", "--"),
    "two-uniform": (COLOURS[2], "s", "-"),
    "two-uniform-softadapt": (COLOURS[4], "P", "--"),
    "one-gaussian": (COLOURS[3], "^", "-"),
    "one-uniform": (COLOURS[1], "v", "-"),
}
EXPONENT_DASHES = {20: ":", 40: "-", 60: "--"}  # of one decoder the line styles tell the exponents
SHOWN = tuple(EXPONENT_DASHES)


def look(method: str) -> dict[str, Any]:
    """Colour, marker and line style of a method, by its name."""
    stem, _, last = method.rpartition("-")
    colour, marker, dash = LOOKS[stem if last.isdigit() else method]
    if last.isdigit():
        dash = EXPONENT_DASHES.get(int(last), "-.")
    return {"color": colour, "marker": marker, "linestyle": dash, "markersize": 4.5, "linewidth": 1.3}


CURVED = (*(name for name in LOOKS if not name.startswith("one")), "one-gaussian-40", "one-uniform-40")


def figures(table: Table, records: Records) -> dict[str, tuple[Figure, str]]:
    """Every plot that the records allow, by the name of its file: the figure and what it shows."""
    made: dict[str, tuple[Figure, str]] = {}
    for group in table.groups:
        latent = LATENT_NAMES[group.family]
        lines = _by_method(table, group, records.curves)
        if curved := [name for name in CURVED if name in lines]:
            words = f"{group.title}: {latent} and squared error without m on the validation fold after each epoch"
            stars = "a star at the median best epoch"
            stars += "; of one decoder the exponent 40" * any(name.startswith("one") for name in curved)
            made[f"curves-{group.name}"] = _curves(table, group, lines), f"{words}, means over folds; {stars}."
        if any(table.runs(group, f"one-{sampling}-{a}") for sampling in ("gaussian", "uniform") for a in EXPONENTS):
            words = f"{group.title}: one decoder by the exponent of its counts, means over folds and deviations"
            made[f"exponents-{group.name}"] = _exponents(table, group), f"{words}; dotted, the baseline."
        sizes = _by_method(table, group, records.masks)
        if sizes := {name: sizes[name] for name in sizes if not name[-2:].isdigit() or int(name[-2:]) in SHOWN}:
            words = f"{group.title}: squared error with m against the number of pixels seen, drawn uniformly"
            part = f"; one decoder: {drawn}" if (drawn := _part(table, group)) else ""
            made[f"masks-{group.name}"] = (
                _masks(table, group, sizes),
                f"{words}, means over folds; thin lines, the decoder without m of the same runs{part}.",
            )
    return made


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


def _curves(table: Table, group: Group, lines: Mapping[str, list[Sequence[Row]]]) -> Figure:
    latent = LATENT_NAMES[group.family]
    figure, (left, right) = charts(2, 2, 4.8, 3.8)
    for name in CURVED:
        for axes, column in ((left, "latent"), (right, "mse")):
            folds = lines.get(name, [])
            epochs = min((len(fold) for fold in folds), default=0)
            if epochs:
                how = {**look(name), "label": _label(table, group, name), "markevery": max(1, epochs // 12)}
                values = np.array([[row[column] for row in fold[:epochs]] for fold in folds], dtype=float).mean(0)
                across = [row["epoch"] for row in folds[0][:epochs]]
                axes.plot(across, values, **how)
                best = int(np.median([run["best_epoch"] for run in table.runs(group, name).values()]))
                if best in across:
                    axes.plot([best], [values[across.index(best)]], "*", color=look(name)["color"], markersize=11)
    finish(left, latent, "epoch", latent, whole=True)
    finish(right, "squared error without m", "epoch", "squared error per value", whole=True)
    legend(figure)
    return figure


def _exponents(table: Table, group: Group) -> Figure:
    figure, (left, right) = charts(2, 2, 4.8, 3.8)
    for axes, column in ((left, "latent"), (right, "mse")):
        for sampling in ("gaussian", "uniform"):
            found = {a: list(table.values(group, f"one-{sampling}-{a}", column).values()) for a in EXPONENTS}
            held = {a: np.array(values) for a, values in found.items() if values}
            if held:
                means = [values.mean() for values in held.values()]
                sds = [values.std(ddof=1) if len(values) > 1 else 0.0 for values in held.values()]
                shift = -0.4 if sampling == "gaussian" else 0.4
                across = [a + shift for a in held]
                how = {**look(f"one-{sampling}"), "linestyle": "-" if sampling == "gaussian" else "--"}
                axes.errorbar(across, means, sds, label=f"one-{sampling}", capsize=3, **how)
        if base := list(table.values(group, "baseline", column).values()):
            axes.axhline(float(np.mean(base)), color=LOOKS["baseline"][0], linestyle=":", label="baseline")
        axes.set_xticks(EXPONENTS)
    latent = LATENT_NAMES[group.family]
    finish(left, latent, "exponent", latent)
    finish(right, "squared error without m", "exponent", "squared error per value")
    legend(figure)
    return figure


def _masks(table: Table, group: Group, sizes: Mapping[str, list[Sequence[Row]]]) -> Figure:
    kinds = {"two": "two decoders", "one": f"one decoder, {_part(table, group)}"}
    held = {kind: title for kind, title in kinds.items() if any(name.startswith(kind) for name in sizes)}
    figure, panels = charts(len(held), 2, 4.8, 3.8)
    for axes, (kind, title) in zip(panels, held.items(), strict=True):
        for name in (name for name in sizes if name.startswith(kind)):
            folds = sizes[name]
            across = [row["count"] for row in folds[0]]
            values = np.array([[row["mse"] for row in fold] for fold in folds]).mean(0)
            axes.plot(across, values, label=_label(table, group, name), **look(name))
            if kind == "two":
                without = float(np.mean(list(table.values(group, name, "mse").values())))
                how = {"color": look(name)["color"], "linestyle": look(name)["linestyle"]}
                axes.axhline(without, linewidth=0.7, alpha=0.8, **how)
        axes.set_xscale("symlog", linthresh=1)
        most = max(row["count"] for folds in sizes.values() for row in folds[0])
        ticks = [at for at in (0, 1, 10, 100, 1000) if at <= most]
        axes.set_xticks(ticks, [str(at) for at in ticks])
        axes.set_xlim(-0.15, 1.3 * most)
        logarithmic(axes)
        finish(axes, title, "pixels seen", "squared error per value")
    legend(figure)
    return figure


def _part(table: Table, group: Group) -> str:
    """Which exponents of one decoder are drawn, of those that there are; empty where there are none."""
    held = sorted({method.exponent for method in table.methods(group) if method.exponent is not None})
    drawn = [exponent for exponent in held if exponent in SHOWN]
    of = f" of {', '.join(map(str, held))}" if drawn != held else ""
    return f"exponents {', '.join(map(str, drawn))}{of}" if drawn else ""


def _label(table: Table, group: Group, name: str) -> str:
    """The method's name, with its precision where those of the group differ."""
    every = {run["precision"] for method in table.methods(group) for run in table.runs(group, method.name).values()}
    mine = listed(run["precision"] or UNKNOWN for run in table.runs(group, name).values())
    return f"{name}, {mine}" if len(every) > 1 else name
