"""Running means of what an objective returns, and the watch over a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polyvae.checks.finite import NonFiniteError
from polyvae.model.protocol import TellsEpoch, Watches


def check_validation(values: Mapping[str, float], monitor: str) -> None:
    """NonFiniteError where a validation loss or the value that chooses the best weights is not finite, or a bound NaN.

    Beside a term that is monitored a bound of -inf stands: that of a posterior that is a point.
    """
    bad = [name for name in dict.fromkeys(("loss", monitor)) if not math.isfinite(values.get(name, 0.0))]
    if math.isnan(values.get("bound", 0.0)) and "bound" not in bad:
        bad.append("bound")
    if bad:
        found = ", ".join(f"validation {name} = {values[name]}" for name in bad)
        raise NonFiniteError(f"{found}, which can choose no weights")


def epoch_values(module: nn.Module) -> dict[str, float]:
    """What parts of the model or objective tell of the epoch; their `epoch_values` also starts their next one.

    A part tells for those that it holds. What several tell by one name has theirs behind it, as perplexity_top.
    """
    told: dict[str, dict[str, float]] = {}
    silent: set[nn.Module] = set()
    for path, part in module.named_modules():
        if part not in silent and isinstance(part, TellsEpoch):
            silent.update(nn.Module.modules(part))  # pyright: ignore[reportArgumentType]
            for name, value in part.epoch_values().items():
                told.setdefault(name, {})[path] = value
    return {name: value for key, found in told.items() for name, value in _by_part(key, found).items()}


def _by_part(name: str, found: Mapping[str, float]) -> dict[str, float]:
    """Values of one name by paths of parts, each called by where its path first differs from the others."""
    if len(found) == 1:
        return {name: next(iter(found.values()))}
    paths = [path.split(".") for path in found]
    place = next(n for n, steps in enumerate(zip(*paths, strict=False)) if len(set(steps)) > 1)
    return {f"{name}_{path[place]}": value for path, value in zip(paths, found.values(), strict=True)}


class TrainingNote(UserWarning):
    """A remark about a training that goes wrong and goes on."""


def watches(objective: nn.Module) -> dict[str, Watches]:
    """The terms of an objective that say what is wrong with their own values, by name."""
    terms = getattr(objective, "terms", {})
    found = {name: getattr(weighted, "term", None) for name, weighted in terms.items()}
    return {name: term for name, term in found.items() if isinstance(term, Watches)}


class Meter:
    """Sums an epoch's values weighted by the number of examples, without waiting for the device at each step.

    On a CPU the loss is at hand and is looked at in each step, before the weights change; elsewhere values stay on the
    device and are read every `look` steps. The sums are kept in double precision and in the order of the steps, so that
    they do not depend on when they were read.
    """

    def __init__(self, device: torch.device) -> None:
        self.look = 1 if device.type == "cpu" else 50
        self.names: list[str] = []
        self.sums: list[float] = []
        self.count = 0
        self._waiting: list[tuple[Tensor, int, int]] = []

    def add(self, values: dict[str, Tensor], count: int, step: int) -> None:
        """Takes a step's values, scalars by name, each the mean over `count` examples."""
        if not self.sums:
            self.names, self.sums = list(values), [0.0] * len(values)
        with torch.no_grad():
            self._waiting.append((torch.stack(list(values.values())), count, step))
        if len(self._waiting) >= self.look:
            self.read()

    def read(self) -> None:
        """Adds up what waits on the device; raises NonFiniteError if a loss was not finite."""
        if not self._waiting:
            return
        stacked, counts, steps = zip(*self._waiting, strict=True)
        self._waiting = []
        rows = [stacked[0].tolist()] if len(stacked) == 1 else torch.stack(stacked).tolist()
        for row, count, step in zip(rows, counts, steps, strict=True):
            if not math.isfinite(row[self.names.index("loss")]):
                self._fail(step, row)
            if count:
                self.sums = [total + value * count for total, value in zip(self.sums, row, strict=True)]
                self.count += count

    def totals(self) -> Tensor:
        """The sums so far and the number of examples, float64 [n + 1] on the CPU."""
        self.read()
        return torch.tensor([*self.sums, self.count], dtype=torch.float64)

    def means(self) -> dict[str, float]:
        """The means so far."""
        *sums, count = self.totals().tolist()
        return {name: total / count for name, total in zip(self.names, sums, strict=True)} if count else {}

    def restore(self, names: list[str], totals: Tensor) -> None:
        """Goes on from saved sums."""
        *self.sums, count = totals.tolist()
        self.names, self.count = names, int(count)

    def reset(self) -> None:
        """Starts the next epoch."""
        self.sums, self.count = [0.0] * len(self.sums), 0

    def _fail(self, step: int, row: list[float]) -> None:
        values = zip(self.names, row, strict=True)
        bad = [f"{name} = {value}" for name, value in values if name != "bound" and not math.isfinite(value)]
        raise NonFiniteError(f"at step {step} {', '.join(bad)}")
