"""A small run of points in three clouds, to whose latents priors are fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import polyvae as pv
from polyvae.data import Data, wrap
from polyvae.evaluation import both_bounds

SMALL: dict[str, Any] = {"device": "cpu", "progress": False, "batch_size": 25, "lr": 1e-2}


def clouds(count: int = 250) -> Data:
    """Points of three clouds, with labels, whose latents are three clouds too."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 3
    places = torch.tensor([[3.0, 0.0, 0.0, 1.0], [-3.0, 2.0, 0.0, 0.0], [0.0, -3.0, 2.0, 0.0]])
    return wrap((places[y] + 0.2 * torch.randn(count, 4, generator=generator), y), validation=50, test=0)


def trained(folder: Path | None, name: str = "vae", **options: Any) -> pv.Run:
    made = pv.recipes.named(name)(clouds().spec, latent=2, network="mlp", widths=(16,), seed=0, **options)
    return pv.fit(made, clouds(), folder, epochs=12, **SMALL)


def mean_bound(run: pv.Run, samples: int = 8) -> float:
    return both_bounds(run, clouds().validation, samples).plain.mean().item()
