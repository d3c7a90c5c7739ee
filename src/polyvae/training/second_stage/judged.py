"""Priors of one run beside each other: bounds with each, and how far their samples are from real pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import Amount, Count, ranged
from polyvae.data.cuts import subset
from polyvae.data.split import Data
from polyvae.evaluation import train_classifier
from polyvae.evaluation.bounds import both_bounds
from polyvae.evaluation.frechet import frechet_report
from polyvae.training.run import Run


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

    `samples`: draws of the latents for each example, K of the importance-weighted bound. `examples`: so many have
    their bounds told. `frechet`: so many samples judged by a classifier that is trained first, where pictures have
    labels; 0 for none. `seed`: of the draws. `cache`: a folder that keeps the classifier.
    """
    part = data.test if len(data.test) else data.validation
    few, count = subset(part, min(examples, len(part)), seed), min(frechet, len(part))
    x, classifier = data.train.tensors.get("x"), None
    if count >= 2 and x is not None and x.ndim == 4 and data.train.labels is not None:
        classifier = train_classifier(data.train, cache=cache)
    found: dict[str, Any] = {}
    for name, run in runs.items():
        bounds = both_bounds(run, few, samples, seed)
        told = {"plain": float(bounds.plain.mean()), "importance": float(bounds.importance.mean())}
        distance = None
        if classifier is not None:
            distance = frechet_report(run, part, count, classifier, seed, None, [])["distance"]
        found[name] = {"bound": told["plain"], "importance_bound": told["importance"], "frechet": distance}
    return {**found, "samples": samples, "examples": len(few), "frechet_samples": 0 if classifier is None else count}
