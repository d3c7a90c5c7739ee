"""What is seen of each picture, drawn once for all methods."""

from __future__ import annotations

import torch
from torch import Tensor

from polyvae.evaluation.blocks import seeded
from polyvae.observe.counts import Constant
from polyvae.observe.masks import SparsePixels
from polyvae.observe.places import Box
from polyvae.observe.sensors import Half

OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
QUARTER = 0.25  # of the picture, which a hidden box takes
STREAM = 11  # of noise, apart from that of the draws


def masks(name: str, x: Tensor, seed: int) -> Tensor:
    """A mask of each picture x [N, C, H, W], 1 where seen, [N, 1, H, W]: of so many pixels, or all but what is hidden.

    It depends on name, seed, and the number and size of the pictures alone. Raises ValueError for more pixels than
    there are, or all of them.
    """
    pixels = x[0, 0].numel()
    if name.isdigit() and int(name) >= pixels:
        raise ValueError(
            f"points: a picture of {x.shape[2]} x {x.shape[3]} has {pixels:,} pixels, of which fewer are seen, so that "
            f"something is left to complete; say which numbers; got {name}"
        )
    with seeded(torch.device("cpu"), seed, STREAM, *name.encode()):
        if name.isdigit():
            return SparsePixels(count=Constant(int(name))).mask(x)
        if name in OPPOSITE:
            return SparsePixels(Half(OPPOSITE[name])).mask(x)
        return 1 - SparsePixels(Box(QUARTER)).mask(x)


def words(name: str) -> str:
    """What people read of a mask."""
    if name.isdigit():
        return f"{name} pixel{'s' * (name != '1')}"
    return "a box hidden" if name == "box" else f"{name} half hidden"
