"""Running means of what an objective returns, kept on the device, and the watch over values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


class NonFiniteError(ArithmeticError):
    """The loss became infinite or not a number; the message names step and term."""


class Meter:
    """Sums an epoch's values weighted by the number of examples, without waiting for the device.

    On a CPU the loss is at hand and is looked at each step, before the weights change; elsewhere the first step that went
    wrong is noted on the device and read every `look` steps.
    """

    def __init__(self, device: torch.device) -> None:
        self.names: list[str] = []
        self.device = device
        self.look = 1 if device.type == "cpu" else 50
        self.totals = torch.zeros(0, dtype=torch.float64, device=device)
        self.fault = torch.full((), -1, device=device)
        self.fault_values = self.totals

    def add(self, values: dict[str, Tensor], count: int, step: int) -> None:
        """Adds a step's values, scalars by name, each the mean over `count` examples."""
        row = torch.stack([value.detach() for value in values.values()]).to(self.totals.dtype)
        if not self.names:
            self.names = list(values)
            self.fault_values = torch.zeros_like(row)
            if not len(self.totals):
                self.totals = row.new_zeros(len(row) + 1)
        if self.look == 1:
            if not math.isfinite(row[0].item()):
                self._fail(step, row)
        else:
            first = (self.fault < 0) & ~row[0].isfinite()
            self.fault = torch.where(first, step, self.fault)
            self.fault_values = torch.where(first, row, self.fault_values)
            if step % self.look == 0:
                self.check()
        if count:
            self.totals += torch.cat([row * count, row.new_full((1,), count)])

    def check(self) -> None:
        """Raises NonFiniteError if a loss so far was not finite."""
        if (step := int(self.fault)) >= 0:
            self._fail(step, self.fault_values)

    def means(self, reduce: Callable[[Tensor], Tensor] = lambda totals: totals) -> dict[str, float]:
        """The means so far; `reduce` adds up the sums of several processes."""
        totals = reduce(self.totals)
        return dict(zip(self.names, (totals[:-1] / totals[-1]).tolist(), strict=True))

    def restore(self, names: list[str], totals: Tensor) -> None:
        """Goes on from saved sums, also where an epoch had only to be closed."""
        self.names, self.totals = names, totals.to(self.device)
        self.fault_values = torch.zeros_like(self.totals[:-1])

    def reset(self) -> None:
        """Starts the next epoch."""
        self.totals = torch.zeros_like(self.totals)

    def _fail(self, step: int, row: Tensor) -> None:
        values = dict(zip(self.names, row.tolist(), strict=True))
        bad = [f"{name} = {value}" for name, value in values.items() if name != "bound" and not math.isfinite(value)]
        raise NonFiniteError(f"at step {step} {', '.join(bad)}")
