"""What a recipe's observation shows: pixels by a mask, or what sensors read of a field, and its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import torch

from polyvae.checks.names import one_of
from polyvae.model.networks import Shape
from polyvae.model.networks.layers import is_picture
from polyvae.model.spec import Spec
from polyvae.observe.counts import Counts, LogUniform, PowerLaw
from polyvae.observe.masks import SparsePixels, observation, observation_shape
from polyvae.observe.noise import Noisy
from polyvae.observe.readings import Readings
from polyvae.observe.sensors import Fixed
from polyvae.observe.transforms import Transform, chain
from polyvae.recipes.conditions import Condition
from polyvae.recipes.options import Mask, Where

SIZED = ("grid", "box")  # masks whose count is their layout, not how many of their pixels are seen
ANYWHERE = ("uniform", "gaussian")
READINGS = "readings"


def observed(spec: Spec, mask: Mask, y: Condition, usual: Counts | None = None) -> Transform:
    """The transform that adds m, then its noise, then what the condition asks for.

    `usual`: how many of the pixels anywhere are seen where the mask does not say.
    """
    m = shown(spec, mask, usual)
    noise = () if isinstance(m, Readings) else noises(spec, mask)
    steps = [m, *([Noisy(noise)] if any(noise) else []), *y.observe.transforms]
    return chain(*steps) if len(steps) > 1 else m


def usual_counts(spec: Spec) -> Counts:
    """How many pixels, or columns, a model that m alone places is shown where its mask does not say."""
    return LogUniform(0) if is_picture(spec.x) else PowerLaw(1.0)


def shown(spec: Spec, mask: Mask, usual: Counts | None = None) -> SparsePixels | Readings:
    """The transform that adds m."""
    return readings(spec, mask) if mask.kind == READINGS else sparse_pixels(spec, mask, usual)


def shown_shape(spec: Spec, mask: Mask) -> Shape:
    """The shape of m for one example."""
    if mask.kind != READINGS:
        return observation_shape(spec.x)
    return 2 * spec.x[0], mask.history, len(readings(spec, mask).coordinates)


def at_fixed_places(spec: Spec, mask: Mask, who: str, always: bool = False) -> Fixed | Readings:
    """Sensors that stay where they are; ValueError that names `who` reads them for masks drawn anew for each example.

    `always`: all of them are seen in every example.
    """
    seen = shown(spec, mask)
    where = seen if isinstance(seen, Readings) else seen.where
    if not isinstance(where, Fixed | Readings) or (always and mask.exponent is not None):
        raise ValueError(
            f"mask: {who} reads sensors that stay where they are: 'points' with positions, 'readings' between points, "
            f"'grid' or a side, as 'left'; got {mask.kind!r}"
        )
    return where


def readings(spec: Spec, mask: Mask) -> Readings:
    """Sensors at `positions` that need not be whole numbers; ValueError, by name, for what does not fit."""
    if not is_picture(spec.x):
        raise ValueError(f"mask: readings are of fields [C, H, W]; x has the shape {list(spec.x)}: take 'points'")
    if mask.count is not None or mask.exponent is not None:
        raise ValueError("mask: readings are of all sensors; leave count and exponent out, some may fail by failing")
    if mask.positions is None or not len(mask.positions):
        raise ValueError("positions go with mask 'readings', which needs them: row,column,row,column...")
    channels, places = spec.x[0], _pairs(mask.positions)
    given = _several(mask.noise)
    if len(given) not in (1, channels, channels * len(places)):
        raise ValueError(
            f"noise is one number, one for each of {channels} channels, or one for each of "
            f"{channels * len(places)} readings, channel by channel; got {len(given)}"
        )
    shape = (1, 1) if len(given) == 1 else (channels, len(given) // channels)
    noise = torch.tensor(given, dtype=torch.float64).view(shape)
    made = Readings(places, noise.tolist() if noise.numel() > 1 else given[0], mask.failing, history=mask.history)
    try:
        made.points(*spec.x[1:])
    except ValueError as error:
        raise ValueError(f"positions: {str(error).removeprefix('Readings.coordinates: ')}") from None
    return made


def noises(spec: Spec, mask: Mask) -> tuple[float, ...]:
    """The standard deviation of the noise of every channel of a picture, or column of a table."""
    given = _several(mask.noise)
    if len(given) not in (1, spec.x[0]):
        raise ValueError(f"noise is one number, or one for each of {spec.x[0]} channels; got {len(given)}")
    return tuple(given * spec.x[0] if len(given) == 1 else given)


def sparse_pixels(spec: Spec, mask: Mask, usual: Counts | None = None) -> SparsePixels:
    """The transform that adds m, with `positions` of a picture as pairs or one after the other.

    `usual`: how many of the pixels anywhere are seen where the mask does not say.
    """
    one_of((*get_args(Where), READINGS), mask.kind, "mask")
    count, positions, table = mask.count, mask.positions, not is_picture(spec.x)
    if count is not None and mask.exponent is not None and mask.kind not in SIZED:
        raise ValueError(f"count and exponent exclude each other, fixed or drawn; got {count} and {mask.exponent}")
    if count is None and mask.exponent is None and table and mask.kind == "uniform":
        count = 0.5  # a twentieth of a few columns is none
    if mask.failing or mask.history > 1:
        raise ValueError(f"failing and history go with mask 'readings'; got mask {mask.kind!r}")
    if positions is not None:
        positions = _whole(positions if table else _pairs(positions))
    try:
        made = observation(mask.kind, count, mask.exponent, positions)
        with torch.random.fork_rng(devices=[]):  # a trial, which leaves the weights of a seeded recipe as they were
            made.mask(torch.zeros(1, *spec.x))
    except ValueError as error:
        if str(error).startswith(("count ", "positions ")):
            raise
        named = "positions" if mask.kind == "points" and count is None else "count"
        raise ValueError(f"{named} does not fit values of shape {' x '.join(map(str, spec.x))}: {error}") from error
    unsaid = mask.count is None and mask.exponent is None and mask.kind in ANYWHERE
    return made if usual is None or not unsaid else replace(made, count=usual)


def of_random_size(mask: Mask) -> Mask:
    """The masks of one decoder, by default with exponent 40; ValueError for a count, which would fix their size."""
    if mask.kind == READINGS:
        raise ValueError("mask: one decoder trains on masks of random size, which readings have not; take two decoders")
    if mask.exponent is None and mask.count is not None and mask.kind not in SIZED:
        raise ValueError(
            "count and exponent: one decoder trains on masks of random size, which an exponent draws; "
            f"got count = {mask.count} alone: give exponent instead, or two decoders"
        )
    return replace(mask, exponent=40.0 if mask.exponent is None else mask.exponent)


def _several(noise: float | Sequence[float]) -> list[float]:
    return [float(each) for each in (noise if isinstance(noise, Sequence) else [noise])]


def _pairs(positions: Sequence) -> list:
    """Positions of a picture as (row, column) pairs, which may be given one number after the other."""
    if not len(positions) or not isinstance(positions[0], int | float):
        return list(positions)
    if len(positions) % 2:
        raise ValueError(f"positions of a picture are row,column,row,column...; got an odd number, {len(positions)}")
    return list(zip(positions[::2], positions[1::2], strict=True))


def _whole(positions: Sequence) -> list:
    """The positions with whole numbers as such, which commands read as floats; ValueError for others."""
    found = [_whole(each) if isinstance(each, Sequence) else each for each in positions]
    if any(isinstance(each, float) and not each.is_integer() for each in found):
        raise ValueError(
            f"positions of mask 'points' are whole numbers; take mask 'readings' for sensors between points; "
            f"got {list(positions)}"
        )
    return [int(each) if isinstance(each, float) else each for each in found]
