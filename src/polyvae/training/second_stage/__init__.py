"""The second stage of a run: a prior fitted to it once it is trained, all else left as it is.

Of a vector-quantised run that is a PixelCNN over its codes, which are computed once; of a vector it is a mixture, a
VampPrior, a flow, a rectified flow or a second autoencoder over draws of its posteriors. Either is trained by the same
loop as any recipe, on data that the first stage makes, in a run folder of its own. No weight of the first stage takes
part.
"""

from polyvae.training.second_stage.codes import code_data, has_codes, sharpened
from polyvae.training.second_stage.fitting import fit_prior, train_prior, with_prior
from polyvae.training.second_stage.kept import PRIOR, fingerprint, has_prior, unfinished
from polyvae.training.second_stage.latents import latent_data

__all__ = [
    "PRIOR",
    "code_data",
    "fingerprint",
    "fit_prior",
    "has_codes",
    "has_prior",
    "latent_data",
    "sharpened",
    "train_prior",
    "unfinished",
    "with_prior",
]
