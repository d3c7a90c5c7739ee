"""How near the deterministic reconstruction comes: squared error, PSNR and SSIM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyvae.core import VAE, Values
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, joined

SMALLEST = 6  # pixels a side: below, the window of Wang et al. cannot be mirrored at the edges


def reconstruction_errors(
    source: Any, split: Split, seed: int = 0, device: torch.device | str | None = None
) -> dict[str, Tensor]:
    """Errors of the mean of p(x | z) at the posterior mean against x, for every example, float64 [N].

    "mse": mean squared error over the values of an example. For pictures both sides are clamped to [0, 1] first, and
    there are "psnr" in decibels, infinite where the error is zero, and, from 6 x 6 pixels on, "ssim".
    """

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        name = first_head(model)
        x, mean = batch[model.heads[name].of], model.reconstruct(batch)[name].mean  # pyright: ignore
        return errors(x, mean)

    return {name: value.double() for name, value in joined(each_block(source, split, measure, seed, device)).items()}


def errors(x: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """ "mse" of every example, and for pictures [N, C, H, W] on a scale of [0, 1] "psnr" and "ssim", [N] each.

    PSNR = -10 log10 mse. SSIM: Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to
    Structural Similarity, 2004, Gaussian window of 11 x 11 pixels, mirrored at the edges.
    """
    if x.ndim == 4:
        x, reconstruction = x.clamp(0, 1), reconstruction.clamp(0, 1)
    squared = (x - reconstruction).square().flatten(1).mean(1)
    found = {"mse": squared}
    if x.ndim == 4:
        found["psnr"] = -10 * squared.log10()
    if x.ndim == 4 and min(x.shape[-2:]) >= SMALLEST:
        from torchmetrics.functional.image import structural_similarity_index_measure

        similarity = structural_similarity_index_measure(reconstruction, x, reduction="none", data_range=1.0)
        found["ssim"] = torch.as_tensor(similarity).reshape(len(x))
    return found


def first_head(model: VAE) -> str:
    """The head that a picture is made of: the one of "x", else the first."""
    return next((name for name, head in model.heads.items() if head.of == "x"), next(iter(model.heads)))
