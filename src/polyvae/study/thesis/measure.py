"""What is measured of a trained run on its validation fold, once, in evaluation mode and with noise fixed by a seed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.cuts import subset
from polyvae.data.seeds import mixed
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, evaluating, joined, seeded
from polyvae.figures.grids import Block, grid
from polyvae.figures.looks import part
from polyvae.figures.plots import png
from polyvae.model.vae import VAE, Values
from polyvae.observe.masks import sparse
from polyvae.recipes import Recipe
from polyvae.study.thesis.watch import LATENT, decoded, heads

SIZED = 1000  # examples that the error by mask size is measured on: a tenth of a decoder pass for each size
SIZES = (0, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)  # pixels seen, as far as a picture has more
PICTURES, SIDE = 8, 56  # how many, and how many pixels wide each is drawn at most
UNSEEN = (0.30, 0.42, 0.62)  # the colour of pixels that m does not show


def measure(recipe: Recipe, split: Split, family: str, seed: int = 0) -> dict[str, float]:
    """The means over a split.

    mse, mse_at_mean: squared error per value without m, at a draw of the posterior and at its mean. latent: KL in
    nats, or the loss of the codes. conditioned_mse, conditioned_mse_at_mean: with a mask as in training.
    """
    _, conditioned = heads(recipe.model)
    latent = LATENT[family]

    def block(model: VAE, batch: Values) -> dict[str, Tensor]:
        q, x = model.posterior["z"](batch), batch["x"]
        draw, mean = {**batch, "z": q.rsample()}, {**batch, "z": q.mean}
        found = {
            "mse": _error(decoded(model, draw, None), x),
            "mse_at_mean": _error(decoded(model, mean, None), x),
            "latent": latent(q, model.prior["z"](batch)),
        }
        if conditioned is not None:
            found["conditioned_mse"] = _error(decoded(model, draw, batch["m"]), x)
            found["conditioned_mse_at_mean"] = _error(decoded(model, mean, batch["m"]), x)
        return found

    return _means(recipe, split, block, seed)


def by_size(recipe: Recipe, split: Split, seed: int = 0) -> list[dict[str, Any]]:
    """The squared error with m at every size of the mask, and `without` it, on a seeded subset of a split.

    At a draw of the posterior, with pixels drawn uniformly: the same ones for every method, and each size's pixels
    among those of the next. Empty for a model that does not read m.
    """
    if heads(recipe.model)[1] is None:
        return []
    pixels, numbers = pixels_of(split), count()
    sizes = [size for size in SIZES if size < pixels]

    def block(model: VAE, batch: Values) -> dict[str, Tensor]:
        x = batch["x"]
        draw = {**batch, "z": model.posterior["z"](batch).rsample()}
        place = _order(len(x), pixels, mixed(seed, next(numbers))).to(x.device)
        found = {"without": _error(decoded(model, draw, None), x)}
        for size in sizes:
            seen = (place < size).view(len(x), 1, *x.shape[2:])
            found[str(size)] = _error(decoded(model, draw, sparse(x, seen)), x)
        return found

    means = _means(recipe, subset(split, SIZED, seed), block, seed)
    return [{"count": size, "mse": means[str(size)], "without": means["without"]} for size in sizes]


def _means(
    recipe: Recipe, split: Split, block: Callable[[VAE, Values], dict[str, Tensor]], seed: int
) -> dict[str, Any]:
    found = joined(each_block(recipe, split, block, seed))
    return {name: float(values.double().mean()) for name, values in found.items()}


def pixels_of(split: Split) -> int:
    """Pixels of a picture, whatever its channels."""
    return int(np.prod(split.tensors["x"].shape[2:]))


def pictures(recipe: Recipe, split: Split, seed: int = 0) -> str:
    """Seeded examples, what m shows of them, and both reconstructions in named rows, as a PNG file in base64.

    A model without m has two rows: examples and reconstructions.
    """
    model = recipe.model
    with evaluating(model) as device:
        chosen = subset(split, PICTURES, seed).to(device)
        with seeded(device, seed, 0):
            batch = recipe.observe(chosen.batch(torch.arange(len(chosen), device=device)))
        x = batch["x"]
        values = {**batch, "z": model.posterior["z"](batch).mean}
        rows = [_coloured(x)]
        if heads(model)[1] is not None:
            seen = batch["m"][:, -1:] > 0
            unseen = torch.tensor(UNSEEN, device=device).view(1, 3, 1, 1)
            rows += [torch.where(seen, rows[0], unseen), _coloured(decoded(model, values, None))]
            rows.append(_coloured(decoded(model, values, batch["m"])))
        else:
            rows.append(_coloured(decoded(model, values, None)))
        shown = torch.stack(rows).float().cpu().numpy()
    names = ["truth", "seen of m", "without m", "with m"] if len(rows) > 2 else ["truth", "reconstruction"]
    drawn = grid([Block(shown)], part(len(chosen), len(split)), names, [], SIDE)
    return base64.b64encode(png(drawn)).decode("ascii")


def _coloured(x: Tensor) -> Tensor:
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x[:, :3]


def _error(made: Tensor, x: Tensor) -> Tensor:
    return (made - x).square().flatten(1).mean(1)


def _order(examples: int, pixels: int, seed: int) -> Tensor:
    """A random rank for every pixel, int64 [examples, pixels], the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(examples, pixels, generator=generator).argsort(1).argsort(1)
