"""Pictures resized, binarised or dequantised once and for all: the same at every call."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from polyvae.observe.transforms import Dequantise

ROWS = 4096  # pictures at a time


def resized(x: np.ndarray, size: int, centre: bool) -> np.ndarray:
    """Pictures [N, C, H, W] as [N, C, size, size], averaged over the area, in the same dtype.

    `centre` first cuts out the largest square in the middle; without it, the whole picture is squeezed.
    """
    height, width = x.shape[2:]
    if centre:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        x = x[:, :, top : top + side, left : left + side]
    if x.shape[2:] == (size, size):
        return x
    out = np.empty((*x.shape[:2], size, size), x.dtype)
    for start in range(0, len(x), ROWS):
        rows = torch.from_numpy(np.ascontiguousarray(x[start : start + ROWS])).float()
        rows = interpolate(rows, (size, size), mode="bilinear", antialias=True)
        out[start : start + ROWS] = (rows.round_().clamp_(0, 255) if x.dtype == np.uint8 else rows).numpy()
    return out


def binarised(x: Tensor, stream: int) -> Tensor:
    """One draw of Bernoulli(x) for every value, uint8 0 or 255, in the shape of x (uint8, or floats in [0, 1]).

    The draw of an example depends only on its place and on `stream`. It compares 16 random bits with the probability,
    so that 0 and 1 are exact and other probabilities within 2^-16.
    """
    bits = np.random.PCG64(stream)
    out = torch.empty(x.shape, dtype=torch.uint8)
    for start in range(0, len(x), ROWS):
        rows = x[start : start + ROWS]
        chance = rows.double() / 255 if rows.dtype is torch.uint8 else rows.double()
        words = bits.random_raw(-(-rows.numel() // 4)).view(np.uint16)[: rows.numel()].reshape(rows.shape)
        drawn = words < np.ceil(chance.numpy() * 65536)
        out[start : start + ROWS] = torch.from_numpy(drawn.astype(np.uint8) * np.uint8(255))
    return out


def dequantised(x: Tensor, levels: int, seed: int) -> Tensor:
    """Float32 pictures with noise of one grey level (see `observe.Dequantise`), drawn once by `seed`."""
    floats = x.float().div_(255) if x.dtype is torch.uint8 else x
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Dequantise(levels)({"x": floats})["x"]
