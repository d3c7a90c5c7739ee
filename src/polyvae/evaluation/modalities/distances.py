"""Fréchet distances of pictures that were made to real ones, modality by modality, beside that of other real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from polyvae.data.cuts import subset
from polyvae.data.split import Split, floats
from polyvae.evaluation.frechet import frechet_distance
from polyvae.evaluation.modalities.coherence import Share, joint_coherence
from polyvae.evaluation.modalities.generation import Judged, Translator
from polyvae.evaluation.modalities.judges import Judge, real


@dataclass(frozen=True)
class Reference:
    """Features [N, d] of real test pictures of a modality, and the distance of as many real training pictures."""

    features: Tensor
    distance: float


def references(
    train: Split, test: Split, judges: Mapping[str, Judge], most: int = 10_000, seed: int = 0
) -> dict[str, Reference]:
    """Real test pictures of every modality whose judge has features, each picture once, and at most so many.

    The distance of training pictures at the same count is the least that is to be had: distances are biased upwards,
    the more the fewer the pictures, so that all of them are to be taken at this one count.
    """
    found = {}
    for name, judge in judges.items():
        if not judge.picture:
            continue
        parts = [real(part, name) for part in (test, train)]
        count = min(most, *map(len, parts))
        features = [judge(floats(subset(part, count, seed).tensors["x"]))[1] for part in parts]
        one, other = (each for each in features if each is not None)
        found[name] = Reference(one, frechet_distance(other, one))
    return found


def distance(judged: Judged, reference: Reference | None) -> float | None:
    """The Fréchet distance of what was made, as much of it as there are real ones; None without features.

    ValueError where less was made.
    """
    if reference is None or judged.features is None:
        return None
    count = len(reference.features)
    if len(judged.features) < count:
        raise ValueError(f"{count:,} real pictures are compared with as many made ones; got {len(judged.features):,}")
    return frechet_distance(judged.features[:count], reference.features)


def joint_draws(
    translator: Translator,
    judges: Mapping[str, Judge],
    real: Mapping[str, Reference],
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[Share, dict[str, float | None]]:
    """`joint_coherence` of draws of the prior, and their Fréchet distance to the `references` of each modality."""
    agreed, judged = joint_coherence(translator, judges, draws, seed)
    return agreed, {name: distance(each, real.get(name)) for name, each in judged.items()}
