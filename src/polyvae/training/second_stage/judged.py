"""Priors of one run beside each other: bounds with each, and how far their samples are from real pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import Amount, Count, ranged
from polyvae.data.cuts import subset
from polyvae.data.split import Data, Split
from polyvae.evaluation import train_classifier
from polyvae.evaluation.blocks import evaluating
from polyvae.evaluation.bounds import both_bounds
from polyvae.evaluation.frechet import frechet_report
from polyvae.evaluation.modalities.coherence import real_agreement
from polyvae.evaluation.modalities.distances import joint_draws, references
from polyvae.evaluation.modalities.generation import Translator
from polyvae.evaluation.modalities.judges import judges
from polyvae.training.run import Run

Judging = Callable[[Run], dict[str, Any]]


@ranged
def judged(
    runs: Mapping[str, Run],
    data: Data,
    samples: Count = 16,
    examples: Count = 500,
    frechet: Amount = 2000,
    seed: int = 0,
    cache: Path | None = None,
) -> dict[str, Any]:
    """By the name of each run "bound", "importance_bound", nats an example, and "frechet", None where there is none.

    All see the same examples, those of the test part, or of the validation part where there is none, and equal noise.
    Of several modalities "frechet" is by modality, of those that are pictures, and "coherence", with its "error", tells
    how often all that is drawn together shows one class; beside the runs "real" is the same of real rows.

    `samples`: draws of the latents for each example, K of the importance-weighted bound. `examples`: so many have
    their bounds told. `frechet`: so many samples judged by a classifier that is trained first, where pictures have
    labels; 0 for none. `seed`: of the draws. `cache`: a folder that keeps the classifier.
    """
    part = data.test if len(data.test) else data.validation
    few, count, shared = subset(part, min(examples, len(part)), seed), frechet, {}
    if data.spec.modalities:
        judge, shared = _together(data, part, count, seed, cache)
    else:
        count = min(count, len(part))
        judge = _alone(data, part, count, seed, cache)
    found: dict[str, Any] = {}
    for name, run in runs.items():
        bounds = both_bounds(run, few, samples, seed)
        told = {"bound": float(bounds.plain.mean()), "importance_bound": float(bounds.importance.mean())}
        found[name] = {**told, "frechet": None} if judge is None else {**told, **judge(run)}
    counts = {"samples": samples, "examples": len(few), "frechet_samples": 0 if judge is None else count}
    return {**found, **shared, **counts}


def _together(
    data: Data, part: Split, count: int, seed: int, cache: Path | None
) -> tuple[Judging | None, dict[str, float]]:
    """What judges, trained first, say of modalities that a run draws together, and of real rows; None as below."""
    if count < 2 or data.train.labels is None or part.labels is None:
        return None, {}
    specs, by = data.spec.values, judges(data, cache)
    real = references(data.train, part, by, count, seed)

    def judge(run: Run) -> dict[str, Any]:
        with evaluating(run.model):
            agreed, distances = joint_draws(Translator(run, specs), by, real, count, seed)
        pictures = {name: value for name, value in distances.items() if name in real}
        return {"coherence": agreed.value, "error": agreed.error, "frechet": pictures}

    return judge, {"real": real_agreement(part, by).value}


def _alone(data: Data, part: Split, count: int, seed: int, cache: Path | None) -> Judging | None:
    """What classifiers, trained first, say of so many samples of a run; None where there can be none."""
    if count < 2 or data.train.labels is None:
        return None
    x = data.train.tensors.get("x")
    if x is None or x.ndim != 4:
        return None
    classifier = train_classifier(data.train, cache=cache)
    return lambda run: {"frechet": frechet_report(run, part, count, classifier, seed, None, [])["distance"]}
