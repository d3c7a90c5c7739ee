"""Timing of alternatives in turn, so that a machine that slows down slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Result:
    """Seconds of ours and of the other in each round, and how many items one run handles."""

    what: str
    other: str
    bar: float
    items: int
    unit: str
    ours: list[float]
    others: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times faster ours was, round by round."""
        return [theirs / mine for mine, theirs in zip(self.ours, self.others, strict=True)]

    @property
    def ratio(self) -> float:
        """The median over rounds."""
        return median(self.ratios)

    def row(self) -> list[str]:
        """The cells of the result's line in the table."""
        mine, theirs = (f"{self.items / median(times):,.4g}" for times in (self.ours, self.others))
        spread = f"{min(self.ratios):.2f} to {max(self.ratios):.2f}"
        held = "yes" if self.ratio >= self.bar else "**no**"
        return [self.what, self.other, self.unit, mine, theirs, f"**{self.ratio:.2f}**", spread, f"{self.bar:g}", held]


def compare(
    what: str,
    ours: Callable[[], object],
    other: str,
    others: Callable[[], object],
    *,
    bar: float,
    items: int,
    unit: str,
    rounds: int,
    warmup: int = 1,
) -> Result:
    """Runs both in turn, the first one changing from round to round, after `warmup` runs that are not counted."""
    times: dict[int, list[float]] = {0: [], 1: []}
    runs = (ours, others)
    for round_ in range(-warmup, rounds):
        for which in (0, 1) if round_ % 2 == 0 else (1, 0):
            seconds = _seconds(runs[which])
            if round_ >= 0:
                times[which].append(seconds)
    return Result(what, other, bar, items, unit, times[0], times[1])


def _seconds(run: Callable[[], object]) -> float:
    _wait()
    start = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
