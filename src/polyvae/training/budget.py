"""The time that a training may take."""

from __future__ import annotations

from math import inf
from time import monotonic, process_time
from typing import Literal

Clock = Literal["wall", "processor"]


class Budget:
    """How many seconds a training has taken, counted over all its parts, of how many `minutes` it may take.

    Time passes from `begin` on, while it trains and validates: by the `clock` on the wall, or as the processors' time
    that this process takes, all its threads together.
    """

    def __init__(self, minutes: float | None, clock: Clock = "wall") -> None:
        self._now = process_time if clock == "processor" else monotonic
        self.seconds = inf if minutes is None else 60 * minutes
        self.before = 0.0
        self._began: float | None = None

    def begin(self) -> None:
        """Lets time pass, after the seconds spent `before`."""
        self._began = self._now()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self.before + (0.0 if self._began is None else self._now() - self._began)

    @property
    def share(self) -> float:
        """The share that is spent, up to 1; 0 without a budget."""
        return min(1.0, self.spent / self.seconds)

    @property
    def over(self) -> bool:
        """Whether no time is left."""
        return self.spent >= self.seconds
