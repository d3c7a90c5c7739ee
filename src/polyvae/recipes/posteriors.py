"""Variants by their posterior: another law of the encoder."""

from __future__ import annotations

from typing import Any

from polyvae.model.spec import Spec
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def full_covariance(spec: Spec, **options: Any) -> Recipe:
    """q(z | x) = N(mu, L L^T): z = mu + L eps with L lower triangular.

    Kingma, Welling: An Introduction to Variational Autoencoders, 2019, section 2.5.1.
    """
    return vae(spec, posterior="full", **options)
