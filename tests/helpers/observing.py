"""Masks of batches and how to judge their distribution; small recipes that are given an observation."""

from __future__ import annotations

from typing import Any

import torch
from scipy.stats import chi2
from torch import Tensor

from polyvae.observe.masks import Counts, SparsePixels, Where
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


def masks(where: Where, count: Counts | None, batch: int, *shape: int) -> Tensor:
    """Masks of a batch of pictures (C, H, W) or tables (d,)."""
    return SparsePixels(where, count).mask(torch.zeros(batch, *shape))


def chi_square(counts: Tensor, expected: Tensor) -> bool:
    """Whether counts agree with what is expected, where one in a million true ones would not; thin cells are joined."""
    order = expected.argsort(descending=True)
    counts, expected = counts.double()[order], expected.double()[order]
    enough = int((expected >= 5).sum())
    cells, means = counts[:enough].tolist(), expected[:enough].tolist()
    if expected[enough:].sum() > 5:
        cells.append(counts[enough:].sum().item())
        means.append(expected[enough:].sum().item())
    statistic = sum((cell - mean) ** 2 / mean for cell, mean in zip(cells, means, strict=True))
    return statistic < (chi2.isf(1e-6, len(cells) - 1) if len(cells) > 1 else 1e-6)
