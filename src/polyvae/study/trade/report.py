"""The report of rate and distortion, made of the study's tables alone, as Markdown and one HTML page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.evaluation.numbers import NONE, number, plus_minus
from polyvae.figures.plots import save
from polyvae.study.document import Block, TextTable, code, heading, image, plain
from polyvae.study.made_by import command, versions
from polyvae.study.page import written
from polyvae.study.records import Row, StudyError, read_study
from polyvae.study.statistics import Interval, interval
from polyvae.study.trade.exact import linear_point
from polyvae.study.trade.figures import Point, curves
from polyvae.study.trade.study import SPECTRUM, tables

FIGURE = "figures/curves.png"
FINE = 60  # points of the linear curve
COLUMNS = (
    "weight", "seeds", "rate R", "distortion D", "plain bound", "importance-weighted bound", "I(x; z), estimate",
    "at most", "active units", "slope to the next",
)  # fmt: skip
COLUMN_NAMES = ("rate", "distortion", "bound", "importance_bound", "information", "information_most", "active")
HOW = (
    "R is the divergence of the posterior from the prior, what a code costs; D is E[-log p(x | z)], what it leaves. "
    "Minus the plain bound is D + R: diagonals of the figure join equal bounds. A model that minimises D + beta R "
    "lies where the curve has the slope -beta, so that beta = 1 touches the best diagonal; the points of one recipe "
    "would be convex and monotone were every training at its optimum. All points are of the same {scored:,} examples "
    "of the test part, nats an example, means over the seeds with their deviation behind ±; K = {samples}. The best "
    "epoch of each training is that of its own loss."
)
LINEAR = (
    "The best linear model of the likelihood N(f(z), 1/2) with as many latents, in closed form from the covariance of "
    "the training part, and measured on it: the water level of rate-distortion theory."
)


@dataclass(frozen=True)
class Report:
    """A report that was written: its two files, and rate and distortion by recipe and weight."""

    markdown: Path
    page: Path
    runs: int
    curves: Mapping[str, Mapping[float, Mapping[str, float]]]

    def text(self) -> str:
        """A line a point."""
        lines = [
            f"{label}, weight {beta:g}: rate {number(point['rate'])}, distortion {number(point['distortion'])}, "
            f"bound {number(point['bound'])}"
            for label, curve in self.curves.items()
            for beta, point in curve.items()
        ]
        return "\n".join([f"{self.runs} runs", *lines])

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        return {"report": str(self.markdown), "page": str(self.page), "runs": self.runs, "curves": self.curves}


def report(folder: str | Path) -> Report:
    """Writes REPORT.md, its figure and report.html into a study's folder. Raises StudyError for one without a run."""
    folder = Path(folder)
    protocol, records = read_study(folder)["protocol"], tables().filled(folder)
    if not records.rows:
        raise StudyError(f"{folder} holds no run yet; start the study without --report-only")
    rows = [*records.rows.values()]
    found: dict[str, dict[float, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: (row["curve"], row["beta"], row["seed"])):
        found.setdefault(row["curve"], {}).setdefault(row["beta"], []).append(row)
    linear = _linear(folder, rows, protocol)
    drawn = {
        label: {beta: (_over(each, "rate"), _over(each, "distortion")) for beta, each in curve.items()}
        for label, curve in found.items()
    }
    save(curves(drawn, linear), folder / FIGURE)
    words = "Rate and distortion, the weight beside each point of the first recipe; a line joins equal bounds."
    blocks: list[Block] = [
        heading("Rate and distortion", 1),
        plain(f"{len(rows)} runs on {protocol['data']}. {versions(rows)}. Made by:"),
        code(_command(found, protocol)),
        plain(HOW.format(scored=max(row["scored"] for row in rows), samples=rows[0]["samples"])),
        image(FIGURE, words),
        *([plain(LINEAR)] if linear else []),
        *(block for label, curve in found.items() for block in (heading(label), _table(curve), plain(_said(curve)))),
    ]
    kept = ("rate", "distortion", "bound", "importance_bound")
    means = {
        label: {beta: {name: _over(each, name).mean for name in kept} for beta, each in curve.items()}
        for label, curve in found.items()
    }
    return Report(*written(blocks, folder), len(rows), means)


def _command(found: Mapping[str, Mapping[float, Sequence[Row]]], protocol: Mapping[str, Any]) -> str:
    """Of a grid of recipes, and the weights."""
    runs = {label: [row for each in curve.values() for row in each] for label, curve in found.items()}
    betas = sorted({beta for curve in found.values() for beta in curve})
    return f"{command('rate-distortion', runs, protocol)} {shlex.join(['--betas', ','.join(f'{b:g}' for b in betas)])}"


def _linear(folder: Path, rows: Sequence[Row], protocol: Mapping[str, Any]) -> list[Point]:
    """Points of the linear curve over the weights, where all runs have the likelihood that it is of."""
    path = folder / SPECTRUM
    if not path.exists() or any(json.loads(row["options"]).get("likelihood") != "normal" for row in rows):
        return []
    variances, weights = json.loads(path.read_text(encoding="utf-8")), {row["beta"] for row in rows}
    weights = np.geomspace(min(weights), max(weights), FINE)
    return [linear_point(variances, 0.5, beta, protocol["latent"]) for beta in weights] if variances else []


def _over(rows: Sequence[Row], name: str) -> Interval:
    return interval(row[name] for row in rows)


def _table(curve: Mapping[float, Sequence[Row]]) -> TextTable:
    slopes = dict(_slopes(curve))
    lines = [
        (
            f"{beta:g}",
            str(len(rows)),
            *(_cell(rows, name) for name in COLUMN_NAMES),
            number(slopes.get(beta), 3),
        )
        for beta, rows in curve.items()
    ]
    return TextTable(COLUMNS, tuple(lines), "Slope: the change of D by that of R to the next larger weight.")


def _cell(rows: Sequence[Row], name: str) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    found = interval(values) if values else None
    return NONE if found is None else plus_minus(found.mean, found.sd)


def _slopes(curve: Mapping[float, Sequence[Row]]) -> list[tuple[float, float]]:
    means = [(beta, _over(rows, "rate").mean, _over(rows, "distortion").mean) for beta, rows in curve.items()]
    return [(a, (after - left) / (r - rate)) for (a, rate, left), (_, r, after) in pairwise(means) if r != rate]


def _said(curve: Mapping[float, Sequence[Row]]) -> str:
    """Whether the points are monotone, and where the bound is best."""
    betas = list(curve)
    rates, left = ([_over(rows, name).mean for rows in curve.values()] for name in ("rate", "distortion"))
    falls = all(after <= before for before, after in pairwise(rates))
    rises = all(after >= before for before, after in pairwise(left))
    bounds = {beta: _over(rows, "bound").mean for beta, rows in curve.items()}
    best = max(bounds, key=bounds.__getitem__)
    told = "as the best models' would" if falls and rises else "as the best models' would not"
    ways = "never rises" if falls else "rises somewhere", "never falls" if rises else "falls somewhere"
    return (
        f"From weight {betas[0]:g} to {betas[-1]:g} the rate goes from {number(rates[0])} to {number(rates[-1])} nats, "
        f"the distortion from {number(left[0])} to {number(left[-1])}; the rate {ways[0]} and the distortion "
        f"{ways[1]}, {told}. The best plain bound on these examples, {number(bounds[best])}, is that of "
        f"weight {best:g}."
    )
