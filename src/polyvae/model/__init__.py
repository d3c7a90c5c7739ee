"""What a model is: conditional distributions over named values, and what one pass of them leaves behind."""

from polyvae.model import distributions, families, networks, posteriors, priors
from polyvae.model.draw import Draw, Latent, Observed, Values
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import VAE, Conditional, Family, Head

__all__ = [
    "VAE",
    "Column",
    "Conditional",
    "Draw",
    "Family",
    "Head",
    "Latent",
    "Observed",
    "Spec",
    "Values",
    "distributions",
    "families",
    "networks",
    "posteriors",
    "priors",
]
