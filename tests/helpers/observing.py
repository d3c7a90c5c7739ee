"""Small recipes that are given an observation, and batches for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyvae.recipes import RECIPES, Recipe

NAMES = ("semi_conditional", "vq_semi_conditional", "multitask", "vq_multitask", "arbitrary_conditioning")
SHAPE = (1, 8, 8)
SMALL: dict[str, dict[str, Any]] = {
    name: {"widths": (4, 6), **({"codes": 8, "dim": 3} if name.startswith("vq") else {"latent": 3})} for name in NAMES
}


def made(name: str, spec: Any = SHAPE, **options: Any) -> Recipe:
    return RECIPES[name](spec, **{"likelihood": "normal", "seed": 1, **SMALL.get(name, {}), **options})


def batch(recipe: Recipe, rows: int = 6, shape: tuple[int, ...] = SHAPE) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return dict(recipe.observe({"x": torch.rand(rows, *shape)}))
