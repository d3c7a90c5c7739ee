"""Variants by their prior, trained with the rest."""

from __future__ import annotations

from typing import Any

from polyvae.checks.ranges import Count
from polyvae.model.spec import Spec
from polyvae.recipes.options import Network
from polyvae.recipes.recording import Recipe, recipe
from polyvae.recipes.variants import vae


@recipe
def vamp_prior(spec: Spec, components: Count = 500, network: Network = "mlp", **options: Any) -> Recipe:
    """p(z) = 1/M sum_m q(z | u_m) over M learned pseudo-inputs.

    `components`: M, how many pseudo-inputs. `network`: "mlp", "conv", "residual" (these two with GroupNorm) or a
    builder of modules without BatchNorm, whose statistics would mix data and pseudo-inputs.

    Tomczak, Welling: VAE with a VampPrior, 2018.
    """
    return vae(spec, prior="vamp", components=components, network=network, **options)


@recipe
def mixture_prior(spec: Spec, components: Count = 10, **options: Any) -> Recipe:
    """p(z) = sum_m w_m N(mu_m, diag s_m^2), learned.

    `components`: how many normals.

    Dilokthanakul, Mediano, Garnelo, Lee, Salimbeni, Arulkumaran, Shanahan: Deep Unsupervised Clustering with Gaussian
    Mixture Variational Autoencoders, 2016, is a relative with a discrete latent.
    """
    return vae(spec, prior="mixture", components=components, **options)
