"""Pictures of a model whose prior was fitted afterwards to what its posterior makes of the training part."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from polyvae.data import Data
from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.evaluation.frechet import sampled_pictures
from polyvae.training.run import Run
from polyvae.training.second_stage import fit_prior, with_prior
from polyvae.training.store import RunError

COMPONENTS, EXAMPLES = 10, 10_000  # normals of the mixture, and the examples that it is fitted to at most


def fitted_pictures(run: Run, data: Data, split: Split, count: int, seed: int = 0) -> Tensor | None:
    """Means of the likelihood at draws from a mixture of 10 normals with full covariances, fitted to z ~ q(z | x).

    `count` of them, in [0, 1], [count, C, H, W]; what a conditional model reads beside is that of a `split`. None where
    there is no one vector whose prior reads nothing, such as the top one of several levels: a map of codes has none.

    Ghosh, Sajjadi, Vergari, Black, Schölkopf: From Variational to Deterministic Autoencoders, 2020.
    """
    some = replace(data, train=subset(data.train, EXAMPLES, seed), call={})
    alone = replace(run, folder=None)  # nothing is written beside the run
    try:
        prior = fit_prior(alone, some, "mixture", components=COMPONENTS, seed=seed, progress=False)
    except RunError:
        return None
    return sampled_pictures(with_prior(alone, prior), split, count, seed)
