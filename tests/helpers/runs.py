"""Small recipes, data and comparisons that the tests of training share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from polyvae.data import Data, wrap
from polyvae.recipes import Recipe, named
from polyvae.training.store import unique_tensors

TIMES = ("seconds", "examples_per_second")


def pictures(count: int = 60, side: int = 4, validation: int = 12, labels: bool = False) -> Data:
    """Random grey pictures [count, 1, side, side] dark or bright, with labels where wanted."""
    generator = torch.Generator().manual_seed(0)
    level = torch.randint(0, 2, (count, 1, 1, 1), generator=generator) * 200
    x = (torch.randint(0, 56, (count, 1, side, side), generator=generator) + level).to(torch.uint8)
    return wrap((x, torch.arange(count) % 3) if labels else x, validation=validation, test=0)


def small(name: str, data: Data, seed: int = 0, **options: Any) -> Recipe:
    """A recipe of few weights, a perceptron unless asked otherwise."""
    given = {"network": "mlp", "widths": [8], "latent": 2, **options}
    return named(name)(data.spec, seed=seed, **given)


def weights(recipe: Recipe) -> dict[str, Tensor]:
    """Every tensor of model and objective, copied."""
    parts = {"model": recipe.model, "objective": recipe.objective}
    return {f"{p}.{n}": t.clone() for p, part in parts.items() for n, t in unique_tensors(part).items()}


def same(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """Bit for bit, as tensors of the same names."""
    return set(mine) == set(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)


def timeless(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a history without what a clock wrote."""
    return [{name: value for name, value in row.items() if name not in TIMES} for row in history]
