"""What sensors read at earlier times: windows of a series that end at each example, within its part and its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.data.errors import DataError
from polyvae.data.split import Data, Split
from polyvae.observe.readings import PAST, Readings, joined
from polyvae.observe.transforms import chain

ROWS = 256  # examples that are read at once
OFF = 0.1  # of a step, by which a time may be off


def with_past(data: Data, positions: Sequence[Any], history: int) -> Data:
    """The data, and beside x as "past" what sensors would have read at the `history` - 1 times before, without noise.

    `positions`: (row, column) pairs of numbers, see `polyvae.observe.Readings`, which reads the past as part of m.
    "past" float [N, 2 C, history - 1, P]: the readings, the latest first, and of each 1 where it is there and 0 where
    it is not. A time is before another if it is a step earlier in "t", the step being that between times that follow
    each other, of the same part and, where there is "run", of the same run: neither part nor run knows of another.

    Raises ValueError below two times, for fields that positions do not fit, DataError for data without times, whose
    times are not whole numbers of steps apart, or with several examples of a run at one time.
    """
    at_least("history", history, 2, "times, the present one among them")
    sensors, clock = Readings(positions), _clock(data)
    parts = {part: _extended(split, clock, sensors, history, data.name) for part, split in data.parts.items()}
    return replace(data, call={}, **parts)


def remembered(data: Data, observe: Callable[..., Any]) -> Data:
    """The data with the past that sensors among what observes a batch read, where they read one; as `with_past`.

    The call that loads the data stays theirs: who opens a run makes the past anew, by the sensors of its recipe.
    """
    read = next((step for step in chain(observe).transforms if isinstance(step, Readings)), None)
    if read is None or read.history == 1:
        return data
    return replace(with_past(data, read.coordinates, read.history), call=data.call)


def _extended(split: Split, clock: tuple[float, float], sensors: Readings, history: int, name: str) -> Split:
    if not len(split):
        return split
    rows = torch.arange(len(split), device=split.device).split(ROWS)
    readings = torch.cat([sensors.read(split.batch(some)["x"]) for some in rows])  # [N, C, P]
    before = _before(split, clock, history, name).to(readings.device)
    found = (before >= 0).to(readings.dtype)[:, :, None, None].expand(-1, -1, *readings.shape[1:])
    past = joined(readings[before.clamp(min=0)].transpose(1, 2), found.transpose(1, 2))
    return replace(split, tensors={**split.tensors, PAST: past})


def _before(split: Split, clock: tuple[float, float], history: int, name: str) -> Tensor:
    """Which example was so many steps before each, -1 where none was, int64 [N, history - 1]."""
    times, runs = _column(split, "t"), _column(split, "run")
    if runs is None and "run" in split.tensors:
        raise DataError(
            name, "one number run of each example", f"run of shape {list(split.tensors['run'].shape)}", "mend run"
        )
    assert times is not None
    place = ((times - clock[0]) / clock[1]).round().long().tolist()
    of_run = [0] * len(place) if runs is None else runs.tolist()
    held = {key: row for row, key in enumerate(zip(of_run, place, strict=True))}
    if len(held) < len(place):  # one of them would be taken for what came before the others
        at = float(times[next(row for row, key in enumerate(zip(of_run, place, strict=True)) if held[key] != row)])
        raise DataError(
            name,
            "one example at a time of each run",
            f"several at t = {at:g}",
            'add "run", a number of each example that says which series it is of, or mend t',
        )
    return torch.tensor(
        [[held.get((run, at - back), -1) for back in range(1, history)] for run, at in zip(of_run, place, strict=True)]
    )


def _clock(data: Data) -> tuple[float, float]:
    """The first time of all parts, and that between examples which follow each other."""
    columns = [_column(split, "t") for split in data.parts.values() if len(split)]
    if any(each is None for each in columns):
        raise DataError(
            data.name, "a time t of each example, [N] or [N, 1]", "none", "add t, or train without a history"
        )
    times = torch.cat([each for each in columns if each is not None]).unique()
    apart = times.diff()
    if not len(apart):
        raise DataError(data.name, "examples at several times", "one time", "train without a history")
    step = apart[apart < 1.5 * apart.min()].median()
    step = float(apart.sum() / (apart / step).round().sum())  # the whole stretch tells it best
    steps = (times - times[0]) / step
    if bool(((steps - steps.round()).abs() > OFF).any()):
        raise DataError(
            data.name, "times that are whole numbers of steps apart", f"others, beside a step of {step:g}", "mend t"
        )
    return float(times[0]), step


def _column(split: Split, name: str) -> Tensor | None:
    found = split.tensors.get(name)
    if found is None or found[:1].numel() != 1:
        return None
    return found.flatten().cpu().double()
