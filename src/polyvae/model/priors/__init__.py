"""Priors: modules that map values to the distribution of a latent."""

from polyvae.model.priors.mixture import Mixture, VampPrior, mixture
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.priors.pixelcnn import PixelCNNPrior
from polyvae.model.priors.uniform import UniformPrior

__all__ = [
    "Mixture",
    "PixelCNNPrior",
    "StandardNormal",
    "UniformPrior",
    "VampPrior",
    "mixture",
]
