"""Posteriors that no family makes: modules that map values to the distribution of a latent."""

from polyvae.model.posteriors.bayes import Bayes
from polyvae.model.posteriors.codebook import Codebook
from polyvae.model.posteriors.exact import ExactCode, ExactDecoder
from polyvae.model.posteriors.gumbel import GumbelCodes
from polyvae.model.posteriors.lattice import FiniteScalar, LookupFree
from polyvae.model.posteriors.pairwise import PairwisePosterior
from polyvae.model.posteriors.quantiser import Quantiser
from polyvae.model.posteriors.stages import Grouped, Residual

__all__ = [
    "Bayes",
    "Codebook",
    "ExactCode",
    "ExactDecoder",
    "FiniteScalar",
    "Grouped",
    "GumbelCodes",
    "LookupFree",
    "PairwisePosterior",
    "Quantiser",
    "Residual",
]
