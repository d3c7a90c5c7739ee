"""Places that are the same in every image, or given by the user."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.checks.names import one_of
from polyvae.observe.places import Where, checked_size, kept, sides


class Fixed(Where):
    """The same places in every image."""

    @abstractmethod
    def pixels(self, height: int, width: int) -> list[int]:
        """The places, numbered row by row, each once; ValueError where they do not fit into the image."""

    def places(self, height: int, width: int) -> int:
        return len(self.pixels(height, width))

    def area(self, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        return kept(_area, device, self, height, width)


def _area(where: Fixed, height: int, width: int) -> Tensor:
    area = torch.zeros(1, height * width, dtype=torch.bool)
    area[0, where.pixels(height, width)] = True
    return area


@dataclass(frozen=True)
class Grid(Fixed):
    """The same sparse grid in every image, evenly spaced and away from the edges.

    points: about how many (from 1), a share of the pixels (below 1), or exactly (rows, columns). A number becomes rows
    and columns by `nearest_sides`. Each axis is cut into that many equal parts, and the middle of each is a place: row
    floor((i + 1/2) H / rows). So 16 points are 4 x 4 at 28 x 28 (rows 3, 10, 17, 24) and at 32 x 32 (4, 12, 20, 28),
    and 100 are 10 x 10 at 64 x 64. ValueError for more points than pixels.
    """

    points: int | float | tuple[int, int] = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", checked_size("Grid.points", self.points))

    def pixels(self, height: int, width: int) -> list[int]:
        rows, columns = sides(self.points, height, width)
        across = [(2 * j + 1) * width // (2 * columns) for j in range(columns)]
        return [(2 * i + 1) * height // (2 * rows) * width + j for i in range(rows) for j in across]


@dataclass(frozen=True)
class Points(Fixed):
    """Sensors at fixed positions: (row, column) pairs counted from 0, or columns alone for a table.

    ValueError for no position, for one given twice, and for one outside the image.
    """

    positions: Sequence[Any]

    def __post_init__(self) -> None:
        try:
            found = np.asarray(self.positions)
        except ValueError:  # pairs and single numbers mixed
            found = np.empty(0)
        if found.dtype.kind not in "iu" or not found.size or found.shape[1:] not in ((), (2,)):
            raise ValueError(
                f"Points.positions lists (row, column) pairs, or columns of a table, as whole numbers; "
                f"got {self.positions}"
            )
        pairs = tuple((0, int(p)) if p.ndim == 0 else (int(p[0]), int(p[1])) for p in found)
        if len(set(pairs)) < len(pairs):
            raise ValueError(f"Points.positions names a pixel twice: {pairs}")
        object.__setattr__(self, "positions", pairs)

    def pixels(self, height: int, width: int) -> list[int]:
        for row, column in self.positions:
            if height == 1 and not (row == 0 and 0 <= column < width):
                raise ValueError(f"position {column} lies outside: columns go from 0 to {width - 1}")
            if not (0 <= row < height and 0 <= column < width):
                raise ValueError(
                    f"position ({row}, {column}) lies outside the image: rows go from 0 to {height - 1}, "
                    f"columns from 0 to {width - 1}"
                )
        return [row * width + column for row, column in self.positions]


_HALVES: dict[str, Callable[[int, int], tuple[range, range]]] = {
    "left": lambda height, width: (range(height), range(width // 2)),
    "right": lambda height, width: (range(height), range(width - width // 2, width)),
    "top": lambda height, width: (range(height // 2), range(width)),
    "bottom": lambda height, width: (range(height - height // 2, height), range(width)),
}


@dataclass(frozen=True)
class Half(Fixed):
    """One half of the image, left, right, top or bottom; of an odd side the smaller part.

    A table has a left and a right half. ValueError for another side and where the image has no such half.
    """

    side: str = "left"

    def __post_init__(self) -> None:
        one_of(_HALVES, self.side, "Half.side")

    def pixels(self, height: int, width: int) -> list[int]:
        rows, columns = _HALVES[self.side](height, width)
        if not rows or not columns:
            raise ValueError(f"an image of {height} x {width} pixels has no {self.side} half")
        return [i * width + j for i in rows for j in columns]


@dataclass(frozen=True, eq=False, repr=False)
class Given(Where):
    """A mask of one's own, zeros and ones or booleans: [H, W] or [1, H, W] for all images, [B, 1, H, W] one for each.

    For tables [d] or [B, d]. A count takes so many of its ones, and then every mask must have the same number of them.
    ValueError for other values and shapes.
    """

    pixels: Tensor

    def __post_init__(self) -> None:
        given = torch.as_tensor(self.pixels)
        if not 1 <= given.ndim <= 4 or not given.numel() or (given.ndim > 2 and given.shape[-3] != 1):
            raise ValueError(
                "Given.pixels is a mask [H, W], [1, H, W] or [B, 1, H, W], or for tables [d] or [B, d]; "
                f"got the shape {list(given.shape)}"
            )
        if not ((given == 0) | (given == 1)).all():
            raise ValueError("Given.pixels is a mask: 1 where a pixel is seen, 0 where it is hidden, and nothing else")
        object.__setattr__(self, "pixels", given == 1)

    def __repr__(self) -> str:
        return f"Given(a mask {list(self.pixels.shape)} with {int(self.pixels.sum())} ones)"

    def places(self, height: int, width: int) -> int:
        ones = kept(_ones, torch.device("cpu"), self, height, width).tolist()
        if len(ones) > 1:
            raise ValueError(
                f"Given.pixels holds masks with {ones[0]} to {ones[-1]} ones; a count takes so many of the ones of "
                "each, which must then be equally many: leave the count out to see all of them"
            )
        return ones[0]

    def area(self, batch: int, height: int, width: int, device: torch.device) -> Tensor:
        area = kept(_rows, device, self, height, width)
        if len(area) not in (1, batch):
            raise ValueError(f"Given.pixels holds {len(area)} masks for {batch} images: give one, or one for each")
        return area


def _rows(given: Given, height: int, width: int) -> Tensor:
    """The masks [1 or B, height * width]; ValueError where they have another size."""
    shape = given.pixels.shape
    rows = height == 1 and len(shape) == 2  # of a table
    if shape[-1] != width or (1 if rows or len(shape) == 1 else shape[-2]) != height:
        raise ValueError(f"Given.pixels has the shape {list(shape)}; the images have {height} x {width} pixels")
    return given.pixels.reshape(-1, height * width)


def _ones(given: Given, height: int, width: int) -> Tensor:
    return _rows(given, height, width).sum(1).unique()
