"""Variants by their likelihood: another law of the decoder."""

from __future__ import annotations

from typing import Any

from polyvae.checks.ranges import Amount, Count, Positive
from polyvae.model.families.columns import check, standardised
from polyvae.model.families.joint import LowRankResiduals
from polyvae.model.families.named import structured
from polyvae.model.families.real import PixelNormal
from polyvae.model.spec import Spec
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def sigma_vae(spec: Spec, scale: Positive | str = "learned", **options: Any) -> Recipe:
    """A normal likelihood whose scale is not fixed beforehand.

    `scale`: "learned" (one number), "network" (one for each value), "optimal" (what fits the batch best) or a number.

    ValueError for columns that a normal is no law of, such as counts, or that are of several kinds.

    Rybkin, Daniilidis, Levine: Simple and Effective VAE Training with Calibrated Decoders, 2021.
    """
    if spec.columns:
        check("normal", spec)
    return vae(spec, likelihood=standardised(PixelNormal(scale), spec), **options)


@recipe
def structured_residuals(spec: Spec, neighbourhood: Amount = 1, **options: Any) -> Recipe:
    """A normal likelihood whose residuals depend on their neighbours', by a sparse factor of the precision, L L'.

    log p(x | z) = -1/2 |L' (x - mu)|^2 + sum log L_ii - D / 2 log 2 pi, mu and L from the network.

    `neighbourhood`: how many rows and columns a residual reads, 0 for the other channels of its place alone. Of a table
    all columns depend on each other. ValueError for columns that it is no law of, such as counts, or of several kinds.

    Dorta, Vicente, Agapito, Campbell, Simpson: Training VAEs Under Structured Residuals, 2018.
    """
    if spec.columns:
        check("structured", spec)
    return vae(spec, likelihood=standardised(structured(spec, neighbourhood), spec), **options)


@recipe
def low_rank_residuals(spec: Spec, rank: Count = 5, **options: Any) -> Recipe:
    """A normal likelihood whose residuals share a few directions: p(x | z) = N(mu, diag s^2 + V V^T), from the network.

    `rank`: columns of V.

    ValueError for columns that it is no law of, such as counts, or of several kinds.

    Monteiro, Le Folgoc, de Castro, et al.: Stochastic Segmentation Networks, 2020.
    """
    if spec.columns:
        check("low-rank", spec)
    return vae(spec, likelihood=standardised(LowRankResiduals(rank), spec), **options)
