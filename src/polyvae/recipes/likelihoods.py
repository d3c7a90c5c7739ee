"""Variants by their likelihood: another law of the decoder."""

from __future__ import annotations

from typing import Any

from polyvae.checks.ranges import Positive
from polyvae.model.families.columns import check, standardised
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
