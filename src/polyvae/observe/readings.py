"""Sensors between the points of a grid: interpolated readings with noise of known size, some of which may fail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.observe.places import kept

PAST = "past"  # what sensors read before, beside x


@dataclass(frozen=True)
class Readings:
    """A batch transform: adds m = (y s, s), what P sensors read of a field x [B, C, H, W], [B, 2 C, T, P].

    y_cp = sum of x_cij over the four points around sensor p, weighed by (1 - |r_p - i|) (1 - |c_p - j|), + noise_cp e

    with e ~ N(0, 1) and s = 0 where a reading fails, both drawn afresh at every call from torch's global generator of
    the device. A reading at a point of the grid is that value itself. First come C channels of readings, then C of
    whether each works; of T times, now comes first. What was read at earlier times is taken from "past"
    [B, 2 C, T - 1 or more, P], laid out in the same way without noise, which `polyvae.data.with_past` makes.

    coordinates: (row, column) pairs of numbers [P, 2], from 0 at the first point to H - 1 and W - 1 at the last.
    noise: the standard deviation of readings, in units of x: one number, or numbers [P], [C, 1] or [C, P].
    failing: the chance with which each reading fails, independently of the others; its value is then 0.
    periodic: whether rows, and whether columns, begin again after the last one; coordinates then lie below H and W.
    history: T, at how many times each sensor has read, the present one among them.
    of: the value that is read. name: what the observation is called.

    ValueError for coordinates, noise, chances or times that are none, and, when called, for coordinates outside the
    field, for noise of another shape and for values without as long a past.
    """

    coordinates: Sequence[Any]
    noise: float | Sequence[Any] = 0.0
    failing: float = 0.0
    periodic: tuple[bool, bool] = (False, False)
    history: int = 1
    of: str = "x"
    name: str = "m"

    def __post_init__(self) -> None:
        places = _numbers(self.coordinates)
        if places is None or places.ndim != 2 or places.shape[1] != 2 or not len(places):
            raise ValueError(f"Readings.coordinates lists (row, column) pairs of numbers; got {self.coordinates}")
        noise = _numbers(self.noise)
        if noise is None or noise.ndim > 2 or not noise.numel() or bool((noise < 0).any()):
            raise ValueError(
                "Readings.noise is a standard deviation of at least 0, or one for each sensor [P], channel [C, 1] or "
                f"reading [C, P]; got {self.noise}"
            )
        if not 0 <= self.failing < 1:
            raise ValueError(
                f"Readings.failing is the chance of a reading to fail, from 0 to below 1; got {self.failing}"
            )
        at_least("Readings.history", self.history, 1, "times, the present one among them")
        # Tuples, which compare, are looked up and are written as they are.
        object.__setattr__(self, "coordinates", tuple((row, column) for row, column in places.tolist()))
        object.__setattr__(self, "noise", _tuples(noise.tolist()))

    def read(self, x: Tensor) -> Tensor:
        """What the sensors would read of x [B, C, H, W] without noise, [B, C, P]."""
        if x.ndim != 4:
            raise ValueError(f"readings are of fields [B, C, H, W]; got {self.of} {list(x.shape)}")
        height, width = x.shape[2:]
        around = kept(_around, x.device, self.coordinates, height, width, self.periodic)
        weights = kept(_weights, x.device, self.coordinates, x.dtype)
        corners = x.flatten(2)[:, :, around.flatten()].unflatten(2, around.shape)
        return (corners * weights).sum(2)

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        readings = self.read(values[self.of])[:, :, None]
        working = torch.ones_like(readings)
        if self.history > 1:
            earlier, worked = self._past(values, readings)
            readings, working = torch.cat([readings, earlier], 2), torch.cat([working, worked], 2)
        readings = self.noisy(readings)
        if self.failing:
            working = working * (torch.rand_like(readings) >= self.failing)
        return {**values, self.name: joined(readings, working)}

    def noisy(self, readings: Tensor) -> Tensor:
        """Readings [B, C, T, P] with noise of their own."""
        if self.noise == 0:
            return readings
        return readings + self.spread(readings)[:, None] * torch.randn_like(readings)

    def spread(self, readings: Tensor) -> Tensor:
        """The standard deviation of the noise of readings [B, C, ..., P], [C, P]; ValueError for another shape."""
        noise = kept(_tensor, readings.device, self.noise, readings.dtype)
        channels, sensors = readings.shape[1], readings.shape[-1]
        try:
            return noise.expand(channels, sensors)
        except RuntimeError:
            raise ValueError(
                f"Readings.noise of {self.of} has the shape {list(noise.shape)}, which does not fit "
                f"{channels} channels of {sensors} sensors"
            ) from None

    def points(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The points around each sensor, numbered row by row, int64 [4, P], and how much each weighs, float64 [4, P].

        ValueError for a sensor outside the field.
        """
        return _around(self.coordinates, height, width, self.periodic), _weights(self.coordinates, torch.float64)

    def _past(self, values: Mapping[str, Tensor], now: Tensor) -> tuple[Tensor, Tensor]:
        """What was read at earlier times, and whether it was, [B, C, T - 1, P] each."""
        channels, sensors = now.shape[1], now.shape[3]
        if PAST not in values:
            raise ValueError(
                f"history: the batch holds no {PAST!r}, what sensors read before; "
                f"polyvae.data.with_past(data, positions, {self.history}) puts it beside x"
            )
        past = values[PAST].to(now)
        if past.ndim != 4 or past.shape[2] < self.history - 1 or past.shape[1::2] != (2 * channels, sensors):
            raise ValueError(
                f"history: {PAST!r} is [{2 * channels}, {self.history - 1} or more, {sensors}] of {channels} channels "
                f"and {sensors} sensors; got {list(past.shape[1:])}: make it with the same positions"
            )
        return past[:, :channels, : self.history - 1], past[:, channels:, : self.history - 1]


def joined(readings: Tensor, working: Tensor) -> Tensor:
    """m = (y s, s) of readings y and of whether they work, s, [B, C, T, P] each; 0 where one does not, whatever it is.

    [B, 2 C, T, P].
    """
    return torch.cat([torch.where(working != 0, readings, 0.0), working.to(readings.dtype)], 1)


def _numbers(value: Any) -> Tensor | None:
    """The value as finite numbers, float64; None where it is none."""
    try:
        found = torch.as_tensor(value, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError):
        return None
    return found if bool(found.isfinite().all()) else None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _tensor(value: Any, dtype: torch.dtype) -> Tensor:
    return torch.tensor(value, dtype=dtype)


def _weights(coordinates: Sequence[tuple[float, float]], dtype: torch.dtype) -> Tensor:
    """How much each of the points around a sensor weighs, [4, P]."""
    row, column = torch.tensor(coordinates, dtype=torch.float64).T.frac()
    weights = [(1 - row) * (1 - column), (1 - row) * column, row * (1 - column), row * column]
    return torch.stack(weights).to(dtype)


def _around(coordinates: Sequence[tuple[float, float]], height: int, width: int, periodic: tuple[bool, bool]) -> Tensor:
    """The points around each sensor, numbered row by row, int64 [4, P]; ValueError for one outside the field."""
    sides = height, width
    for place in coordinates:
        for axis, (name, side) in enumerate(zip(("row", "column"), sides, strict=True)):
            most = f"below {side}" if periodic[axis] else f"at most {side - 1}"
            inside = place[axis] < side if periodic[axis] else place[axis] <= side - 1
            if not (place[axis] >= 0 and inside):
                raise ValueError(
                    f"Readings.coordinates: ({place[0]:g}, {place[1]:g}) lies outside a field of {height} x {width} "
                    f"points: its {name} is at least 0 and {most}"
                )
    found = []  # where a point weighs nothing, the first one stands for it: what is not a number does not leak
    for axis, side in enumerate(sides):
        low = [math.floor(place[axis]) for place in coordinates]
        high = [(each + (place[axis] > each)) % side for each, place in zip(low, coordinates, strict=True)]
        found.append((torch.tensor(low), torch.tensor(high)))
    rows, columns = found
    return torch.stack([row * width + column for row in rows for column in columns])
