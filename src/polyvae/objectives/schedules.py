"""Numbers that move with the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from polyvae.checks.finite import check_finite
from polyvae.checks.ranges import at_least

Step = int | Tensor


Number = float | Callable[[Step], float | Tensor]


@dataclass(frozen=True)
class Linear:
    """A number that moves from `start` to `end` over the first `steps` steps and stays there."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        check_finite({"start": self.start, "end": self.end})
        at_least("steps", self.steps, 1, "training steps")

    def __call__(self, step: Step) -> float | Tensor:
        passed = step / self.steps
        passed = passed.clamp(max=1.0) if isinstance(passed, Tensor) else min(passed, 1.0)
        return self.start + (self.end - self.start) * passed


@dataclass(frozen=True)
class Cyclical:
    """A number that rises from `start` to `end` over the first `rise` of every `period` steps and then holds.

    Fu, Li, Liu, Gao, Celikyilmaz, Carin: Cyclical Annealing Schedule, 2019.
    """

    start: float
    end: float
    period: int
    rise: float = 0.5

    def __post_init__(self) -> None:
        check_finite({"start": self.start, "end": self.end})
        if self.period < 1 or not 0 < self.rise <= 1:
            raise ValueError(f"period is at least 1 step and rise in (0, 1]; got {self.period} and {self.rise}")

    def __call__(self, step: Step) -> float | Tensor:
        passed = (step % self.period) / (self.rise * self.period)
        passed = passed.clamp(max=1.0) if isinstance(passed, Tensor) else min(passed, 1.0)
        return self.start + (self.end - self.start) * passed


def _at(number: Number, step: Step) -> float | Tensor:
    return number(step) if callable(number) else number
