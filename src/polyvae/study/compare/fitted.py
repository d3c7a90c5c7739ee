"""Pictures of a model whose prior was fitted afterwards to what its posterior makes of the training part."""

from __future__ import annotations

from torch import Tensor

from polyvae.data import Data
from polyvae.data.split import Split
from polyvae.evaluation.frechet import sampled_pictures
from polyvae.study.fitted import with_mixture
from polyvae.training.run import Run
from polyvae.training.store import RunError

COMPONENTS, EXAMPLES = 10, 10_000  # normals of the mixture, and the examples that it is fitted to at most


def fitted_pictures(run: Run, data: Data, split: Split, count: int, seed: int = 0) -> Tensor | None:
    """Means of the likelihood at draws from a mixture of 10 normals with full covariances, fitted to z ~ q(z | x).

    `count` of them, in [0, 1], [count, C, H, W]; what a conditional model reads beside is that of a `split`. None where
    there is no one vector whose prior reads nothing, such as the top one of several levels: a map of codes has none.

    Ghosh, Sajjadi, Vergari, Black, Schölkopf: From Variational to Deterministic Autoencoders, 2020.
    """
    try:
        fitted = with_mixture(run, data, EXAMPLES, seed, components=COMPONENTS)
    except RunError:
        return None
    return sampled_pictures(fitted, split, count, seed)
