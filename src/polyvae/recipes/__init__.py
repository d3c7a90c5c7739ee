"""Recipes: one function a named variant, with its paper."""

from polyvae.recipes.autoregressive import pixel_cnn
from polyvae.recipes.baselines import pca, ppca
from polyvae.recipes.catalogue import RECIPES, Recipe, as_spec, is_own, named, rebuild, recipe
from polyvae.recipes.conditioning import (
    arbitrary_conditioning,
    multitask,
    semi_conditional,
    vq_multitask,
    vq_semi_conditional,
)
from polyvae.recipes.counts import count_vae
from polyvae.recipes.quantised import vq_vae
from polyvae.recipes.variants import (
    ae,
    beta_vae,
    capacity_vae,
    cvae,
    full_covariance,
    iwae,
    mixture_prior,
    mmd_vae,
    sigma_vae,
    two_level,
    vae,
    vamp_prior,
)

__all__ = [
    "RECIPES",
    "Recipe",
    "ae",
    "arbitrary_conditioning",
    "as_spec",
    "beta_vae",
    "capacity_vae",
    "count_vae",
    "cvae",
    "full_covariance",
    "is_own",
    "iwae",
    "mixture_prior",
    "mmd_vae",
    "multitask",
    "named",
    "pca",
    "pixel_cnn",
    "ppca",
    "rebuild",
    "recipe",
    "semi_conditional",
    "sigma_vae",
    "two_level",
    "vae",
    "vamp_prior",
    "vq_multitask",
    "vq_semi_conditional",
    "vq_vae",
]
