"""Small recipes, data and comparisons that the tests of training share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import polyvae as pv
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


def trained(
    name: str = "vae", options: Mapping[str, Any] | None = None, run: Path | None = None, **given: Any
) -> pv.Run:
    """A small recipe trained on pictures, two epochs of three steps unless asked otherwise."""
    data = pictures()
    settings = {"epochs": 2, "batch_size": 16, **given}
    return pv.fit(small(name, data, **(options or {})), data, run, progress=False, **settings)


def fitted(data: Data, name: str = "vae", **options: Any) -> pv.Run:
    """A small recipe trained on these data for one epoch."""
    return pv.fit(small(name, data, **options), data, epochs=1, batch_size=16, progress=False)


def seen(run: pv.Run) -> np.ndarray:
    """New pictures of the run's shape."""
    shape = run.recipe.call["spec"]["x"]  # pyright: ignore
    return np.random.default_rng(1).random((250, *shape), dtype=np.float32)


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
