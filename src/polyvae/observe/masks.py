"""Observations: a few seen pixels of a picture (or columns of a table) and the mask that says which.

m = (x * mask, mask), joined along dimension 1: `where` says which pixels may be seen, `count` how many of them are.
Masks are drawn on the values' device from torch's global generator, afresh at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from polyvae.observe.counts import Constant, Counts, LogUniform, PowerLaw, Share
from polyvae.observe.places import Box, Gaussian, Uniform, Where
from polyvae.observe.sensors import Given, Grid, Half, Points

__all__ = [
    "WHERE",
    "Box",
    "Constant",
    "Counts",
    "Gaussian",
    "Given",
    "Grid",
    "Half",
    "LogUniform",
    "Points",
    "PowerLaw",
    "Share",
    "SparsePixels",
    "Uniform",
    "Where",
    "observation",
    "observation_shape",
    "sparse",
    "split_observation",
]

WHERE: dict[str, type[Where]] = {
    "grid": Grid,
    "uniform": Uniform,
    "gaussian": Gaussian,
    "points": Points,
    "box": Box,
    "half": Half,
    "given": Given,
}


def sparse(x: Tensor, mask: Tensor) -> Tensor:
    """Join what is seen of x with its mask, m = (x * mask, mask).

    Pictures x [B, C, H, W] with a mask of booleans or zeros and ones that broadcasts to [B, 1, H, W] give
    [B, C + 1, H, W]; tables x [B, d] with a mask that broadcasts to [B, d] give [B, 2 d]. What is not seen is 0 even
    where x is not a number. ValueError for a mask that does not broadcast.
    """
    shape = _mask_shape(x)
    try:
        seen = (mask != 0).expand(shape)
    except RuntimeError:
        raise ValueError(f"a mask for x {list(x.shape)} has the shape {list(shape)}; got {list(mask.shape)}") from None
    return torch.cat([torch.where(seen, x, 0.0), seen.to(x.dtype)], dim=1)


def split_observation(m: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Take m apart into x * mask and mask: [B, C, H, W] and [B, 1, H, W], or [B, d] and [B, d] with d `channels`.

    ValueError where m has another number of channels than such an observation.
    """
    expected = 2 * channels if m.ndim == 2 else channels + 1
    if m.shape[1] != expected:
        raise ValueError(f"an observation of {channels} channels has {expected} in all; got m {list(m.shape)}")
    return m[:, :channels], m[:, channels:]


def observation_shape(x_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of m for one example of the given shape: (C, H, W) becomes (C + 1, H, W), (d,) becomes (2 d,)."""
    if len(x_shape) == 1:
        return (2 * x_shape[0],)
    if len(x_shape) == 3:
        return (x_shape[0] + 1, *x_shape[1:])
    raise ValueError(f"observations are of pictures (C, H, W) or tables (d,); got {tuple(x_shape)}")


def _mask_shape(x: Tensor) -> tuple[int, ...]:
    if x.ndim == 2:
        return tuple(x.shape)
    if x.ndim == 4:
        return (len(x), 1, *x.shape[2:])
    raise ValueError(f"observations are of pictures [B, C, H, W] or tables [B, d]; got {list(x.shape)}")


@dataclass(frozen=True)
class SparsePixels:
    """A batch transform: adds m = (x * mask, mask) to the values, with a fresh mask for each image at every call.

    where: the pixels that may be seen. count: how many of them are, drawn without replacement; None for all of them.
    of: the value that is seen. name: what the observation is called. ValueError where places or count do not fit.
    """

    where: Where = field(default_factory=Uniform)
    count: Counts | None = None
    of: str = "x"
    name: str = "m"

    def mask(self, x: Tensor) -> Tensor:
        """A mask, 1 where seen, in x's number type and on its device: [B, 1, H, W] for pictures, [B, d] for tables."""
        shape = _mask_shape(x)
        height, width = (1, shape[1]) if x.ndim == 2 else shape[2:]
        seen = self.where.seen(self.count, len(x), height, width, x.device)
        return seen.to(x.dtype if x.is_floating_point() else torch.get_default_dtype()).view(shape)

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x = values[self.of]
        return {**values, self.name: sparse(x, self.mask(x))}


def observation(
    mask: str = "uniform",
    count: int | float | None = None,
    exponent: float | None = None,
    positions: Sequence[Sequence[int]] | Sequence[int] | None = None,
) -> SparsePixels:
    """The transform by the names of its parts, as recipes and commands give it.

    mask: "uniform" or "gaussian" pixels; "grid" or "box" (at a random place) of about `count` pixels; "points" at
    `positions`; "left", "right", "top" or "bottom" half. count: pixels (whole, from 0), or a share of them (below 1);
    None sees a twentieth of the pixels, a box of a quarter, and every one of the points or of the half.
    exponent: how many are seen is drawn for each image from `PowerLaw(exponent)` instead of `count`, which then only
    lays out the grid or the box. ValueError for another name and for arguments that do not fit.
    """
    if mask not in _NAMED:
        raise ValueError(f"no mask is called {mask!r}; known: {', '.join(_NAMED)}")
    if (positions is not None) != (mask == "points"):
        raise ValueError(f"positions go with mask 'points', which needs them; got {positions} and mask {mask!r}")
    where, number = _NAMED[mask](count, positions)
    return SparsePixels(where, number if exponent is None else PowerLaw(exponent))


def _counts(count: int | float | None) -> Counts | None:
    if count is None:
        return None
    if isinstance(count, float) and count >= 1:
        raise ValueError(f"count is a whole number of pixels, as 40, or a share of them below 1, as 0.05; got {count}")
    return Share(count) if isinstance(count, float) else Constant(count)


# The count lays out a grid or a box, all of which is seen; elsewhere it is how many of the places are.
_Named = Callable[[int | float | None, Sequence | None], tuple[Where, Counts | None]]
_NAMED: dict[str, _Named] = {
    "uniform": lambda count, _: (Uniform(), _counts(0.05 if count is None else count)),
    "gaussian": lambda count, _: (Gaussian(), _counts(0.05 if count is None else count)),
    "grid": lambda count, _: (Grid(0.05 if count is None else count), None),
    "box": lambda count, _: (Box(0.25 if count is None else count), None),
    "points": lambda count, positions: (Points(positions or ()), _counts(count)),
    "half": lambda count, _: (Half(), _counts(count)),
    **{side: lambda count, _, side=side: (Half(side), _counts(count)) for side in ("left", "right", "top", "bottom")},
}
