"""A run of a study whose prior is fitted once it is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from polyvae.data import Data
from polyvae.data.cuts import subset
from polyvae.training.run import Run
from polyvae.training.second_stage import fit_prior, with_prior


def with_mixture(run: Run, data: Data, examples: int, seed: int = 0, **options: Any) -> Run:
    """The run with a mixture of normals as its prior, fitted to at most so many training `examples`.

    Nothing is written beside the run. `options`: of the mixture, such as `components`. Raises RunError where the run
    has no latents that a prior is fitted to.

    Ghosh, Sajjadi, Vergari, Black, Schölkopf: From Variational to Deterministic Autoencoders, 2020.
    """
    some = replace(data, train=subset(data.train, examples, seed), call={})
    alone = replace(run, folder=None)
    return with_prior(alone, fit_prior(alone, some, "mixture", seed=seed, progress=False, **options))
