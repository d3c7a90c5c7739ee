"""Priors: modules that map values to the distribution of a latent.

A prior is any module that is called with the values, the batch and the latents drawn above, and returns a
`torch.distributions.Distribution` whose event is one z. Its batch shape is [] where it is one law for all, [B] where it
reads the batch, [K B] where it reads a latent; `given` names what it reads. It is asked for `log_prob` and, to
generate, for `sample`; where torch knows the KL to the posterior in closed form, that is taken.
"""

from polyvae.model.priors.autoregressive import AutoregressivePrior
from polyvae.model.priors.classes import Classes, NormalOfClass
from polyvae.model.priors.exemplar import ExemplarPrior
from polyvae.model.priors.flow import FlowPrior
from polyvae.model.priors.matching import FlowMatching
from polyvae.model.priors.mixture import FullMixture, Mixture, VampPrior, mixture
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.priors.pairwise import Coupling, PairwisePrior
from polyvae.model.priors.pixelcnn import PixelCNNPrior
from polyvae.model.priors.uniform import UniformPrior

__all__ = [
    "AutoregressivePrior",
    "Classes",
    "Coupling",
    "ExemplarPrior",
    "FlowMatching",
    "FlowPrior",
    "FullMixture",
    "Mixture",
    "NormalOfClass",
    "PairwisePrior",
    "PixelCNNPrior",
    "StandardNormal",
    "UniformPrior",
    "VampPrior",
    "mixture",
]
