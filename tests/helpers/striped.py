"""Striped pictures and a small quantised recipe for them."""

from __future__ import annotations

from typing import Any

import torch

import polyvae as pv
from polyvae.data import Data, wrap
from polyvae.recipes import Recipe, vq_vae

SMALL: dict[str, Any] = {"codes": 9, "dim": 3, "widths": (4, 6), "seed": 1}
FIT: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def recipe(**options: Any) -> Recipe:
    """9 codes of 3 numbers at 2 x 2 places."""
    return vq_vae(pv.Spec((1, 8, 8)), likelihood="normal", **{**SMALL, **options})


def stripes(count: int = 96, side: int = 8, labels: bool = False) -> Data:
    """Pictures of one bright row or column, a bit of noise."""
    generator = torch.Generator().manual_seed(0)
    x = 0.1 * torch.rand(count, 1, side, side, generator=generator)
    place = torch.randint(0, side, (count,), generator=generator)
    for row, at in enumerate(place.tolist()):
        x[row, 0].select(row % 2, at).add_(0.9)
    return wrap((x, torch.arange(count) % 2) if labels else x, validation=24, test=0)
