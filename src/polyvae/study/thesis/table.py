"""The rows of a study by group, method and fold, and how their numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from polyvae.evaluation.numbers import NONE, number
from polyvae.study.statistics import Interval, averaged, interval, paired
from polyvae.study.thesis.grid import CONFIGURATIONS, Method, methods
from polyvae.study.thesis.precisions import UNKNOWN, Precisions, compared

LATENT_NAMES = {"gaussian": "KL, nats", "vq": "code loss"}


@dataclass(frozen=True)
class Group:
    """The cells that are compared with each other: those of a data set, a family and a configuration."""

    dataset: str
    family: str
    config: int

    @property
    def title(self) -> str:
        return f"{self.dataset}, {self.family}, configuration {self.config}"

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.family}-{self.config}"

    def cell(self, method: str) -> str:
        """The name of a method's cell."""
        return f"{self.name}-{method}"


class Table:
    """The runs of a study: `groups` in the order of the grid, and the numbers of each of their methods by fold."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows = list(rows)
        self._rows: dict[tuple[Group, str], dict[int, Mapping[str, Any]]] = {}
        for row in self.rows:
            group = Group(row["dataset"], row["family"], row["config"])
            self._rows.setdefault((group, row["method"]), {})[row["fold"]] = row
        families = list(CONFIGURATIONS)
        present = {group for group, _ in self._rows}
        self.groups = sorted(present, key=lambda group: (group.dataset, families.index(group.family), group.config))

    def methods(self, group: Group) -> list[Method]:
        """Those that have a run, in the order of the grid."""
        return [method for method in methods() if (group, method.name) in self._rows]

    def runs(self, group: Group, method: str) -> dict[int, Mapping[str, Any]]:
        """The rows of a method by fold."""
        return dict(sorted(self._rows.get((group, method), {}).items()))

    def values(self, group: Group, method: str, column: str) -> dict[int, float]:
        """A column of a method by fold, folds without a value left out."""
        return {fold: row[column] for fold, row in self.runs(group, method).items() if row[column] is not None}

    def mean(self, group: Group, names: Iterable[str], column: str) -> dict[int, float]:
        """The mean of several methods by fold, those without runs left out."""
        return averaged([values for name in names if (values := self.values(group, name, column))])

    def difference(self, group: Group, names: Iterable[str], column: str, relative: bool = False) -> Interval | None:
        """What these methods differ from the baseline on the same folds; None without such folds."""
        found = paired(self.mean(group, names, column), self.values(group, "baseline", column), relative)
        return interval(found) if found else None

    def precisions(self, group: Group, names: Iterable[str]) -> dict[int, frozenset[str]]:
        """What several methods were trained in, on every fold that all of them have; those without runs left out."""
        runs = [found for name in names if (found := self.runs(group, name))]
        folds = sorted(set.intersection(*(set(each) for each in runs))) if runs else []
        return {fold: frozenset(each[fold]["precision"] or UNKNOWN for each in runs) for fold in folds}

    def precision(self, group: Group, names: Iterable[str]) -> Precisions:
        """Of these methods beside the baseline."""
        return compared([self.precisions(group, names), self.precisions(group, ["baseline"])])


def bounds(found: Interval) -> str:
    """The interval in brackets; a dash where a single value gives none."""
    return NONE if found.count < 2 else f"[{number(found.low, 3)}, {number(found.high, 3)}]"


def percent(value: float | None) -> str:
    """A share with its sign, as +3.1 %."""
    return NONE if value is None or math.isnan(value) else f"{100 * value:+.1f} %"
