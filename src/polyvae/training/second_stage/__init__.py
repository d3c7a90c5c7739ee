"""The second stage of a run: a prior fitted to it once it is trained, all else left as it is.

Of a vector-quantised run that is a PixelCNN over its codes, which are computed once; of a vector it is a mixture, a
VampPrior, a flow, a rectified flow or a second autoencoder over draws of its posteriors. Either is trained by the same
loop as any recipe, on data that the first stage makes, in a run folder of its own. No weight of the first stage takes
part. So is what a run completes by, a law q(z | m) of its latents given what is seen.
"""

from polyvae.training.second_stage.codes import code_data, has_codes, sharpened
from polyvae.training.second_stage.completing import fit_completion, has_completion, with_completion
from polyvae.training.second_stage.fitting import fit_prior, train_prior, with_prior
from polyvae.training.second_stage.kept import COMPLETION, PRIOR, fingerprint, has_prior, unfinished
from polyvae.training.second_stage.latents import latent_data

__all__ = [
    "COMPLETION",
    "PRIOR",
    "code_data",
    "fingerprint",
    "fit_completion",
    "fit_prior",
    "has_codes",
    "has_completion",
    "has_prior",
    "latent_data",
    "sharpened",
    "train_prior",
    "unfinished",
    "with_completion",
    "with_prior",
]
