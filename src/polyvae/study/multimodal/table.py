"""The study's lines gathered by model: means over seeds, in the order in which they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from polyvae.evaluation.numbers import NONE, number, plus_minus
from polyvae.study.multimodal.measure import WITH
from polyvae.study.multimodal.protocol import BASELINES
from polyvae.study.statistics import interval
from polyvae.study.tables import Tables

Place = tuple[str, str, str]  # measure, what was given, target


@dataclass(frozen=True)
class Line:
    """The runs of one label, in the order of their seeds, and what was measured of each, by measure, given, target."""

    label: str
    runs: tuple[Mapping[str, Any], ...]
    measures: tuple[Mapping[Place, float], ...]

    @property
    def baseline(self) -> bool:
        """Whether it is no model of all modalities."""
        return self.runs[0]["recipe"] in BASELINES

    @property
    def absent(self) -> float:
        """The chance with which a modality of a training row was hidden."""
        return self.runs[0]["absent"] or 0.0

    @property
    def model(self) -> str:
        """The label without what is missing."""
        return self.label.rsplit(", ", 1)[0] if self.absent else self.label

    @property
    def shown(self) -> str:
        """What people read: of a run that lacked modalities the chance of it, no share that was measured."""
        return f"{self.model}, hidden with {self.absent:.0%} chance" if self.absent else self.label

    def values(self, measure: str, given: str = "", target: str = "") -> list[float]:
        """What the runs have of a measure, or of a column of their row."""
        found = [each.get((measure, given, target)) for each in self.measures]
        rows = [run.get(measure) if measure in run else None for run in self.runs]
        return [value for value in (rows if any(value is not None for value in rows) else found) if value is not None]

    def mean(self, measure: str, given: str = "", target: str = "") -> float:
        """The mean over seeds, NaN of none."""
        values = self.values(measure, given, target)
        return interval(values).mean if values else nan

    def deviation(self, measure: str, given: str = "", target: str = "") -> float:
        """The standard deviation over seeds, NaN of fewer than two."""
        values = self.values(measure, given, target)
        return interval(values).sd if values else nan

    def spread(self, measure: str, given: str = "", target: str = "", percent: bool = False) -> str:
        """Mean and standard deviation over seeds, as they are printed; shares in percent."""
        values, scale = self.values(measure, given, target), 100 if percent else 1
        if not values:
            return NONE
        mean, sd = (
            scale * each for each in (self.mean(measure, given, target), self.deviation(measure, given, target))
        )
        if len(values) > 1:
            return f"{mean:.1f} ± {sd:.1f}" if percent else plus_minus(mean, sd)
        return f"{mean:.1f}" if percent else number(mean, 5)


def lines(records: Tables) -> list[Line]:
    """A line for each label: models, then baselines, each with the best cross coherence first."""
    by_label: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for (label, seed), row in sorted(records.rows.items()):
        by_label.setdefault(label, []).append((seed, row))
    made = []
    for label, runs in by_label.items():
        held = [records.lines["measures"].get((label, seed), []) for seed, _ in runs]
        measured = [
            {(e["measure"], e["given"], e["target"]): e["value"] for e in each if e["value"] is not None}
            for each in held
        ]
        made.append(Line(label, tuple(row for _, row in runs), tuple(measured)))
    return sorted(made, key=lambda each: (each.baseline, each.absent, -_known(each.mean("cross")), each.label))


def places(found: Sequence[Line], measure: str) -> list[tuple[str, str]]:
    """What was given and the targets of a measure, fewest given first, in the order in which they were measured."""
    known = dict.fromkeys(
        (given, target) for line in found for each in line.measures for name, given, target in each if name == measure
    )
    return sorted(known, key=lambda place: place[0].count(WITH) if place[0] else -1)


def crosses(place: tuple[str, str]) -> bool:
    """Whether the target is made of others alone."""
    return place[0] != "" and place[1] not in place[0].split(WITH)


def _known(value: float) -> float:
    return -1.0 if value != value else value
