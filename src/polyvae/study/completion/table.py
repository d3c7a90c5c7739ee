"""The study's lines gathered by method: means over test pictures, their standard errors, and paired differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan, sqrt
from typing import Any

import numpy as np

from polyvae.study.completion.jobs import ABLATION, BASELINE, MODEL, WITHOUT
from polyvae.study.completion.readings import POINT
from polyvae.study.completion.stated import LAW
from polyvae.study.statistics import FAILS, HOLDS, UNDECIDED
from polyvae.study.tables import Tables

ORDER = (MODEL, ABLATION, BASELINE)


@dataclass(frozen=True)
class Mean:
    """A mean over `count` test pictures and its standard error, NaN of one picture."""

    value: float
    error: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """s / sqrt(n) is the standard error; NaN of no value."""
        if not values:
            return cls(nan, nan, 0)
        array = np.asarray(values, dtype=np.float64)
        error = float(array.std(ddof=1)) / sqrt(len(array)) if len(array) > 1 else nan
        return cls(float(array.mean()), error, len(array))


@dataclass(frozen=True)
class Line:
    """The runs of one method, and each test picture's scores by mask and score, averaged over its seeds.

    `readings`: by which reading a score is told of the first seed, by mask and score. `stated`: by mask the CRPS of the
    law that the method states, of its mean alone where it states none.
    """

    label: str
    runs: tuple[Mapping[str, Any], ...]
    scores: Mapping[tuple[str, str], Mapping[int, float]]
    readings: Mapping[tuple[str, str], str]
    stated: Mapping[str, Mean] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.runs[0]["kind"]

    @property
    def options(self) -> dict[str, Any]:
        return json.loads(self.runs[0]["options"])

    def mean(self, mask: str, score: str) -> Mean:
        """Over the test pictures."""
        return Mean.of([*self.scores.get((mask, score), {}).values()])

    def less(self, other: Line, mask: str, score: str) -> Mean:
        """This one's score less the other's, picture by picture: below zero where this one is better."""
        mine, theirs = (each.scores.get((mask, score), {}) for each in (self, other))
        return Mean.of([mine[picture] - theirs[picture] for picture in sorted(mine.keys() & theirs.keys())])


@dataclass(frozen=True)
class Compared:
    """A model beside the best baseline of a mask: what `less` of a score it has, with its standard error, and whether
    a claim holds."""

    mask: str
    score: str
    mine: Mean
    best: str
    theirs: Mean
    less: Mean
    verdict: str


def lines(records: Tables) -> list[Line]:
    """A line for each label: models, then networks without z, then baselines, each in the order of their CRPS."""
    by_label: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for (label, seed), row in sorted(records.rows.items()):
        by_label.setdefault(label, []).append((seed, row))
    found = [_line(records, label, runs) for label, runs in by_label.items()]

    def place(line: Line) -> tuple[int, float, str]:
        known = [line.mean(mask, "crps").value for mask in masks(records)]
        return ORDER.index(line.kind), sum(value for value in known if value == value), line.label

    return sorted(found, key=place)


def _line(records: Tables, label: str, runs: Sequence[tuple[int, Mapping[str, Any]]]) -> Line:
    gathered: dict[tuple[str, str], dict[int, list[float]]] = {}
    for seed, _ in runs:
        for each in records.lines["pictures"].get((label, seed), []):
            for score, value in each.items():
                if isinstance(value, float):
                    gathered.setdefault((each["mask"], score), {}).setdefault(each["picture"], []).append(value)
    scores = {
        key: {picture: sum(values) / len(values) for picture, values in found.items()}
        for key, found in gathered.items()
    }
    cells = [records.lines["cells"].get((label, seed), []) for seed, _ in runs]
    readings = {(cell["mask"], score): cell["reading"] for cell in cells[0] for score in cell["best_in"].split()}
    return Line(label, tuple(row for _, row in runs), scores, readings, _stated(cells, runs[0][1]["test"]))


def _stated(cells: Sequence[Sequence[Mapping[str, Any]]], count: int) -> dict[str, Mean]:
    """The CRPS of draws of a method's law, or of its mean alone, by mask: a mean over seeds, the first one's error."""
    found: dict[str, Mean] = {}
    for reading in (POINT, LAW):
        every = [cell for some in cells for cell in some if cell["reading"] == reading and cell["crps"] is not None]
        for mask in dict.fromkeys(cell["mask"] for cell in every):
            mine = [cell for cell in every if cell["mask"] == mask]
            error = mine[0]["crps_error"]
            mean = sum(cell["crps"] for cell in mine) / len(mine)
            found[mask] = Mean(mean, nan if error is None else error, count)
    return found


def masks(records: Tables) -> list[str]:
    """All masks of a study: fewest seen pixels first, then what is hidden as a whole."""
    found = dict.fromkeys(cell["mask"] for cells in records.lines["cells"].values() for cell in cells)
    return [*sorted((name for name in found if name.isdigit()), key=int), *(n for n in found if not n.isdigit())]


def compared(mine: Line, found: Sequence[Line], names: Sequence[str], score: str) -> list[Compared]:
    """A model beside the best of the baselines of each mask, by the mean over the pictures that both have.

    The claim about squared error is that the model is no worse than the best by more than the standard error of their
    paired difference; about any other score that it is the best.
    """
    rivals = [line for line in found if line.kind == BASELINE]
    made = []
    for mask in names:
        there = [line for line in rivals if line.mean(mask, score).count]
        if not there or not mine.mean(mask, score).count:
            continue
        best = min(there, key=lambda line: line.mean(mask, score).value)
        less = mine.less(best, mask, score)
        margin = less.error if score == "mse" else 0.0
        verdict = UNDECIDED if not less.count or margin != margin else HOLDS if less.value <= margin else FAILS
        if score != "mse" and less.value == 0:
            verdict = FAILS
        made.append(Compared(mask, score, mine.mean(mask, score), best.label, best.mean(mask, score), less, verdict))
    return made


def ablation(mine: Line, found: Sequence[Line]) -> Line | None:
    """The same network without z, if it is there."""
    alike = {"recipe": mine.runs[0]["recipe"], **mine.options}

    def bare(line: Line) -> dict[str, Any]:
        return {"recipe": line.runs[0]["recipe"], **{k: v for k, v in line.options.items() if k != WITHOUT}}

    return next((line for line in found if line.kind == ABLATION and bare(line) == alike), None)
