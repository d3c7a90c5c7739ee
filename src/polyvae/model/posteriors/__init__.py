"""Posteriors that no family makes: modules that map values to the distribution of a latent."""

from polyvae.model.posteriors.codebook import Codebook
from polyvae.model.posteriors.exact import ExactCode, ExactDecoder
from polyvae.model.posteriors.quantiser import Quantiser

__all__ = [
    "Codebook",
    "ExactCode",
    "ExactDecoder",
    "Quantiser",
]
