"""Where pixels are seen: the places of a mask, and the order in which a count takes them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from polyvae.observe.counts import Counts


class Where(ABC):
    """Which pixels of an image may be seen.

    Pictures have height x width pixels, a table is one row of them. Without a count every place is seen; with one, so
    many of the places, drawn without replacement, afresh for each image.
    """

    @abstractmethod
    def places(self, height: int, width: int) -> int:
        """How many places an image of that size has; ValueError where they do not fit into it."""

    @abstractmethod
    def area(self, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        """The places, True at each: [batch, height * width], or [1, height * width] where all images have the same."""

    def keys(self, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        """Random numbers [batch, height * width]: a count takes the places of the smallest, at random by default."""
        keys = torch.rand(batch, height * width, device=device)
        return keys.masked_fill_(~self.area(batch, height, width, device), 2.0)

    def seen(self, count: Counts | None, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        """A mask for each image, [batch, height * width], True or 1.0 where the pixel is seen."""
        if count is None:
            return self.area(batch, height, width, device).expand(batch, -1)
        places = self.places(height, width)
        most, numbers = count.most(places), count.draw(batch, places, device)
        if at_hand(device):  # to look costs nothing there, and few images come near the bound
            most = max(numbers.tolist(), default=0)
        return smallest(self.keys(batch, height, width, device), numbers, most)


def at_hand(device: torch.device) -> bool:
    """Whether a value on that device can be read without waiting for it."""
    return device.type == "cpu"


def smallest(keys: Tensor, numbers: Tensor, most: int) -> Tensor:
    """1.0 at the `numbers` [B] smallest keys [B, N] of each row, 0.0 elsewhere; no number is above `most`.

    Counts are exact whatever ties there are among the keys, since topk names `most` different places.
    """
    half = keys.shape[1] // 2
    if most > half:  # all but the N - n largest are fewer to sort
        turned = numbers > half
        numbers = torch.where(turned, keys.shape[1] - numbers, numbers)
        few = smallest(torch.where(turned[:, None], -keys, keys), numbers, half)
        return torch.where(turned[:, None], 1 - few, few)
    order = keys.topk(most, dim=1, largest=False).indices
    taken = torch.arange(most, device=keys.device) < numbers[:, None]
    return torch.zeros_like(keys).scatter_(1, order, taken.to(keys.dtype))


class Everywhere(Where):
    """Every pixel is a place; what differs is the order in which a count takes them."""

    def places(self, height: int, width: int) -> int:
        return height * width

    def area(self, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        return torch.ones(1, height * width, dtype=torch.bool, device=device)


@dataclass(frozen=True)
class Uniform(Everywhere):
    """Pixels anywhere, each set of n pixels as likely as any other."""

    def keys(self, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        return torch.rand(batch, height * width, device=device)


@dataclass(frozen=True)
class Gaussian(Everywhere):
    """Pixels around the centre: drawn one after the other, each among those left with a probability proportional to w.

    w = exp(-(i - (H - 1) / 2)^2 / (2 (s H)^2) - (j - (W - 1) / 2)^2 / (2 (s W)^2)) in row i and column j: the standard
    deviation is the share s of each side (`spread`). The n smallest of e / w, e exponential, are such a sample.
    ValueError for a spread that is not above 0. Source: Efraimidis and Spirakis, Weighted random sampling with a
    reservoir, 2006.
    """

    spread: float = 1 / 6

    def __post_init__(self) -> None:
        if not (self.spread > 0 and math.isfinite(self.spread)):
            raise ValueError(f"Gaussian.spread is a share of each side, above 0, as 1/6; got {self.spread}")

    def keys(self, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        # log(e / w), since far from the centre 1 / w itself may overflow.
        keys = torch.rand(batch, height * width, device=device).log_().neg_().log_()
        return keys.sub_(kept(_log_density, device, self.spread, height, width))


def _log_density(spread: float, height: int, width: int) -> Tensor:
    """log w, less a constant, [height * width]."""
    rows, columns = (
        ((torch.arange(side) - (side - 1) / 2) / (spread * side)).square() / -2 for side in (height, width)
    )
    return (rows[:, None] + columns).flatten()


@dataclass(frozen=True)
class Box(Where):
    """A rectangle of pixels, at a place drawn for each image, every place as likely, or at the given (top, left).

    size: (rows, columns), or about how many pixels (from 1), or a share of them (below 1), in the image's aspect
    ratio as `nearest_sides` has it. ValueError where it does not fit into the image.
    """

    size: int | float | tuple[int, int] = 0.25
    place: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", checked_size("Box.size", self.size))
        if self.place is not None:
            if len(self.place) != 2 or any(corner != int(corner) or corner < 0 for corner in self.place):
                raise ValueError(f"Box.place is (top, left), counted from 0; got {self.place}")
            object.__setattr__(self, "place", (int(self.place[0]), int(self.place[1])))

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """The numbers of rows and of columns in an image of that size."""
        rows, columns = sides(self.size, height, width)
        top, left = self.place or (0, 0)
        if top + rows > height or left + columns > width:
            raise ValueError(
                f"a box of {rows} x {columns} at {(top, left)} does not fit into {height} x {width} pixels"
            )
        return rows, columns

    def places(self, height: int, width: int) -> int:
        return math.prod(self.sides(height, width))

    def area(self, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        rows, columns = self.sides(height, width)
        if self.place is None:
            top = torch.randint(height - rows + 1, (batch, 1), device=device)
            left = torch.randint(width - columns + 1, (batch, 1), device=device)
        else:
            top, left = (torch.full((1, 1), corner, device=device) for corner in self.place)
        i, j = torch.arange(height, device=device) - top, torch.arange(width, device=device) - left
        inside = ((i >= 0) & (i < rows))[:, :, None] & ((j >= 0) & (j < columns))[:, None]
        return inside.flatten(1)


@lru_cache(maxsize=64)
def kept(make: Callable[..., Tensor], device: torch.device, *arguments: Any) -> Tensor:
    """make(*arguments) on the device, kept for the next call: only the first one waits for the copy to the device."""
    with torch.inference_mode(False):
        return make(*arguments).to(device)


def checked_size(name: str, size: int | float | tuple[int, int]) -> int | float | tuple[int, int]:
    """The size, a pair as two whole numbers; ValueError for anything but a pair, a number or a share above 0."""
    if isinstance(size, (tuple, list)):
        if len(size) == 2 and all(side == int(side) and side >= 1 for side in size):
            return int(size[0]), int(size[1])
    elif size > 0 and (isinstance(size, int) or size < 1):
        return size
    raise ValueError(
        f"{name} is a pair (rows, columns), a whole number of pixels from 1, or a share of them between 0 and 1; "
        f"got {size}"
    )


def sides(size: int | float | tuple[int, int], height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a pair, of a number of pixels or of a share of them; ValueError where they do not fit."""
    if isinstance(size, tuple):
        rows, columns = size
        if rows > height or columns > width:
            raise ValueError(f"{rows} rows x {columns} columns do not fit into {height} x {width} pixels")
        return rows, columns
    number = size if isinstance(size, int) else max(1, round(size * height * width))
    if number > height * width:
        raise ValueError(f"{number} pixels do not fit into {height} x {width}: ask for at most {height * width}")
    return nearest_sides(number, height, width)


def nearest_sides(number: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns, in the image's aspect ratio, whose product comes closest to the number.

    Columns are sqrt(number W / H), but never fewer than 1 or number / H nor more than W or the number; rows are
    number / columns; each is rounded down or up. Of products as close, the pair nearer to the aspect ratio is taken,
    then the one of fewer points.
    """
    columns = min(max(math.sqrt(number * width / height), 1, number / height), width, number)
    rows = min(max(number / columns, 1), height)

    def distance(pair: tuple[int, int]) -> tuple[int, float, int, int]:
        r, c = pair
        return abs(r * c - number), abs(math.log(r * width / (c * height))), r * c, r

    return min(
        (
            (r, c)
            for r in (math.floor(rows), min(math.ceil(rows), height))
            for c in (math.floor(columns), min(math.ceil(columns), width))
        ),
        key=distance,
    )
