"""What is measured of a run of the comparison on the test part, once, in evaluation mode and with seeded noise."""

from __future__ import annotations

from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.data import Data
from polyvae.data.cuts import shuffled, subset
from polyvae.data.files.writing import held
from polyvae.data.split import Split
from polyvae.evaluation import both_bounds, evaluate, frechet_distance, train_classifier
from polyvae.evaluation.classifier import grey
from polyvae.evaluation.frechet import classifier_features, sampled_pictures
from polyvae.evaluation.pictures import in_unit
from polyvae.study.compare.cost import cost
from polyvae.study.compare.fitted import fitted_pictures
from polyvae.study.compare.scoring import Scoring
from polyvae.study.trained import Job, Measured, budgeted

MEASURE = "polyvae.study.compare.measure:measure"
SEED = 0  # of all that is drawn here: every run is judged by the same examples and bits
PLAIN = 16  # draws of the plain bound for each example
MEASURED: dict[str, type] = {
    "test": int,
    "bound": float,
    "nll": float,
    "nll_error": float,
    "samples": int,
    "scored": int,
    "discrete": str,
    "given": str,
    "mse": float,
    "frechet": float,
    "frechet_fitted": float,
    "frechet_real": float,
    "pictures": int,
    "active": int,
    "latent": int,
    "step_seconds": float,
    "memory_mb": float,
    "workers": int,
    "note": str,
}


def measure(measured: Measured) -> dict[str, Any]:
    """The row of a run: bounds, squared error, Fréchet distances, active units, and what a step costs."""
    run, data, job = measured.run, measured.data, measured.job
    asked, test = Scoring(**job.asked["scoring"]), part(data)
    found = evaluate(run, test, samples=PLAIN, seed=SEED)
    row: dict[str, Any] = {
        "test": len(test),
        "bound": found["bound"],
        **_likelihood(run, test, asked, found["bound"]),
        "discrete": {True: "yes", False: "no"}.get(found["discrete"], ""),
        "given": ", ".join(found["given"]),
        "mse": found["mse"],
        **_active(found["latents"]),
        "workers": job.asked.get("workers", 1),
        "note": "; ".join(note for note in found["notes"] if note.startswith("no bound")),
    }
    if asked.pictures:
        row |= _frechet(measured, asked.pictures)
    if asked.timing and run.recipe.solve is None:
        row |= cost(job)
    return {"row": row}


def part(data: Data) -> Split:
    """The test part, or the validation part where none was cut."""
    return data.test if len(data.test) else data.validation


def _likelihood(run: Any, test: Split, asked: Scoring, bound: float | None) -> dict[str, Any]:
    """-log p(x), importance-weighted, in nats, and how far a subset's may be from that of all examples of the part.

    Of a subset the mean of what the weights add, log 1/K sum_k w_k less the plain bound, varies far less over examples
    than the bounds themselves; it is added to the plain bound of all. The standard error is of both: of n examples in N
    without replacement, and of the few draws that the plain bound of all has. It is 0 where all are scored.
    """
    if bound is None:
        return {}
    some = subset(test, asked.scored, SEED)
    found = both_bounds(run, some, asked.samples, SEED)
    told = {"samples": asked.samples, "scored": len(some)}
    if len(some) == len(test):
        mean, error = float(found.importance.mean()), 0.0
    else:
        gain = found.importance - found.plain
        mean, error = bound + float(gain.mean()), None
        if len(some) > 1:
            # How far the plain bound of a few draws is from that of many is the noise of an example of the other.
            noise = (both_bounds(run, some, PLAIN, SEED + 1).plain - found.plain).square().mean()
            left = 1 - len(some) / len(test)
            error = sqrt(float(left * gain.var() / len(some) + noise / len(test)))
    return {"nll": -mean if isfinite(mean) else None, "nll_error": error, **told}


def _active(latents: dict[str, Any]) -> dict[str, Any]:
    """Active units and dimensions, over all latents; neither where one is a map of codes."""
    units = [latent["active_units"] for latent in latents.values()]
    if not units or None in units:
        return {}
    return {"active": sum(units), "latent": sum(latent["dimensions"] for latent in latents.values())}


def _frechet(measured: Measured, count: int) -> dict[str, Any]:
    """Fréchet distances of means of the likelihood at draws of a prior to grey pictures of the test part.

    The model's own prior, one fitted afterwards, and in their place real pictures, half of them beside the other half.
    Nothing for what is no picture in [0, 1] with labels.
    """
    run, job = measured.run, measured.job
    plain = budgeted(job.source, job.data_dir, job.budget, plain=True)
    test = part(plain)
    x = test.tensors.get("x")
    if x is None or x.ndim != 4 or plain.train.labels is None or not in_unit(plain.spec, x):
        return {}
    judge = classifier(plain, job)
    order = shuffled(len(x), SEED)[:count].to(x.device)
    real = classifier_features(judge, grey(x[order].cpu()))

    def distance(pictures: Tensor | None) -> float | None:
        return None if pictures is None else frechet_distance(classifier_features(judge, pictures.cpu()), real)

    half = len(real) // 2
    return {
        "frechet": distance(sampled_pictures(run, part(measured.data), len(real), SEED)),
        "frechet_fitted": distance(fitted_pictures(run, measured.data, part(measured.data), len(real), SEED)),
        "frechet_real": frechet_distance(real[:half], real[half:]) if half > 1 else None,
        "pictures": len(real),
    }


def classifier(plain: Data, job: Job) -> nn.Module:
    """The classifier in whose features all runs of a study are judged: trained once, by whoever comes first."""
    cache = Path(job.study) / "classifier"
    with held(job.study / ".classifier.lock"), torch.inference_mode(False), torch.enable_grad():
        return train_classifier(plain.train, cache, SEED)
