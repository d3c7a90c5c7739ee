"""The comparison's rows gathered by recipe: means over seeds, what can be compared, in which order they stand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, nan
from typing import Any

from polyvae.evaluation.numbers import NONE, number, plus_minus
from polyvae.study.compare.published import Published, published
from polyvae.study.statistics import interval

LIKELIHOOD = ("bound", "nll")


@dataclass(frozen=True)
class Line:
    """A recipe's runs, in the order of their seeds, and the published value beside them.

    `comparable`: whether its bounds are of the kind that the table compares: of log p(x) alone, and of probabilities
    where there are any.
    """

    label: str
    runs: tuple[Mapping[str, Any], ...]
    comparable: bool
    published: Published | None = None

    def values(self, column: str) -> list[float]:
        """What the runs have in a column; none where the kind of bound is another."""
        if column in LIKELIHOOD and not self.comparable:
            return []
        return [run[column] for run in self.runs if run[column] is not None]

    def mean(self, column: str) -> float:
        """The mean over seeds, NaN of none."""
        values = self.values(column)
        return interval(values).mean if values else nan

    def deviation(self, column: str) -> float:
        """The standard deviation over seeds, NaN of fewer than two."""
        values = self.values(column)
        return interval(values).sd if values else nan

    def spread(self, column: str, figures: int = 4) -> str:
        """The mean and the standard deviation over seeds, as they are printed."""
        values = self.values(column)
        if not values:
            return NONE
        if len(set(values)) > 1:
            return plus_minus(self.mean(column), self.deviation(column))
        return str(values[0]) if isinstance(values[0], int) else number(values[0], figures)

    @property
    def parameters(self) -> tuple[int, int]:
        """Those of the model, and those that its objective has beside them."""
        return self.runs[0]["parameters"], self.runs[0]["objective_parameters"] or 0

    @property
    def own_networks(self) -> bool:
        """Whether it takes no network of the study's, so that it is compared with networks of its own."""
        options = json.loads(self.runs[0]["options"])
        return "network" not in options


def lines(rows: Iterable[Mapping[str, Any]], protocol: Mapping[str, Any]) -> list[Line]:
    """A line for each recipe, the best likelihood first, those without one last."""
    by_label: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        by_label.setdefault(row["label"], []).append(row)
    probabilities = any(run["discrete"] == "yes" for runs in by_label.values() for run in runs)
    free = any(not run["given"] for runs in by_label.values() for run in runs)

    def comparable(run: Mapping[str, Any]) -> bool:
        return (not probabilities or run["discrete"] == "yes") and not (free and run["given"])

    found = [
        Line(label, tuple(runs), comparable(runs[0]), published(runs[0], protocol)) for label, runs in by_label.items()
    ]
    return sorted(found, key=lambda line: (_last(line.mean("nll")), _last(-line.mean("bound")), line.label))


def _last(value: float) -> float:
    return inf if value != value else value
