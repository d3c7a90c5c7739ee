"""Modalities drawn together from a prior that is fitted to a model once it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from polyvae.data import Data
from polyvae.data.cuts import subset
from polyvae.evaluation.modalities.coherence import Share, joint_coherence
from polyvae.evaluation.modalities.distances import distance, references
from polyvae.evaluation.modalities.generation import Translator
from polyvae.evaluation.modalities.judges import Judge
from polyvae.training.run import Run
from polyvae.training.second_stage import fit_prior, with_prior

EXAMPLES = 20_000  # that the mixture is fitted to at most


def fitted_draws(
    run: Run, data: Data, judges: Mapping[str, Judge], draws: int, seed: int = 0
) -> tuple[Share, dict[str, float | None]]:
    """Joint coherence with a mixture of normals of all latents as the prior, and Fréchet distances by modality.

    The mixture is fitted to draws of the posteriors of training rows, the number of its normals chosen by a held-out
    tenth; nothing else of the run moves.

    Ghosh, Sajjadi, Vergari, Black, Schölkopf: From Variational to Deterministic Autoencoders, 2020.
    """
    some = replace(data, train=subset(data.train, EXAMPLES, seed), call={})
    alone = replace(run, folder=None)  # nothing is written beside the run
    fitted = with_prior(alone, fit_prior(alone, some, "mixture", seed=seed, progress=False))
    agreed, seen = joint_coherence(Translator(fitted, data.spec.values), judges, draws, seed)
    real = references(data.train, data.test if len(data.test) else data.validation, judges, draws, seed)
    return agreed, {name: distance(each, real.get(name)) for name, each in seen.items()}
