"""What is measured of a trained run on its validation fold, once, in evaluation mode and with noise fixed by a seed."""

from __future__ import annotations

import base64
import io
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.core import VAE, Values
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, evaluating, joined, seeded
from polyvae.figures import montage, to_bytes
from polyvae.masks import sparse
from polyvae.recipes import Recipe
from polyvae.seeds import mixed
from polyvae.study.watch import LATENT, decoded, heads

SIZES = (0, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)  # pixels seen, as far as a picture has more
PICTURES = 8
UNSEEN = (0.30, 0.42, 0.62)  # the colour of pixels that m does not show


def measure(recipe: Recipe, split: Split, family: str, seed: int = 0) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The means over a split, and the error at every size of the mask.

    mse, mse_at_mean: squared error per value without m, at a draw of the posterior and at its mean. latent: KL in
    nats, or the loss of the codes. conditioned_mse, conditioned_mse_at_mean: with a mask as in training. The sizes are
    measured at the same draw, with pixels drawn uniformly: the same ones for every method, and each size's pixels
    among those of the next.
    """
    _, conditioned = heads(recipe.model)
    latent, numbers = LATENT[family], count()
    pixels = recipe_pixels(split)
    sizes = [size for size in SIZES if size < pixels] if conditioned is not None else []

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
            place = _order(len(x), pixels, mixed(seed, next(numbers))).to(x.device)
            for size in sizes:
                seen = (place < size).view(len(x), 1, *x.shape[2:])
                found[f"at {size}"] = _error(decoded(model, draw, sparse(x, seen)), x)
        return found

    means = {name: float(each.double().mean()) for name, each in joined(each_block(recipe, split, block, seed)).items()}
    masks = [{"count": size, "mse": means.pop(f"at {size}")} for size in sizes]
    return means, masks


def recipe_pixels(split: Split) -> int:
    """Pixels of a picture, whatever its channels."""
    return int(np.prod(split.tensors["x"].shape[2:]))


def pictures(recipe: Recipe, split: Split, seed: int = 0) -> str:
    """The first examples, what m shows of them, and both reconstructions in rows, as a PNG file in base64.

    A model without m has two rows: examples and reconstructions.
    """
    from PIL import Image

    model = recipe.model
    with evaluating(model) as device:
        split = split.to(device)
        index = torch.arange(min(PICTURES, len(split)), device=device)
        with seeded(device, seed, 0):
            batch = recipe.observe(split.batch(index))
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
        whole = to_bytes(montage(torch.stack(rows).float().cpu().numpy(), gap=2))
    file = io.BytesIO()
    scale = max(1, round(56 / x.shape[-1]))
    Image.fromarray(whole.repeat(scale, 0).repeat(scale, 1)).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _coloured(x: Tensor) -> Tensor:
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x[:, :3]


def _error(made: Tensor, x: Tensor) -> Tensor:
    return (made - x).square().flatten(1).mean(1)


def _order(examples: int, pixels: int, seed: int) -> Tensor:
    """A random rank for every pixel, int64 [examples, pixels], the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(examples, pixels, generator=generator).argsort(1).argsort(1)
