"""What is measured of a run: the scores of its codes against the factors, and a walk along the dimensions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from polyvae.data import Split
from polyvae.data.cuts import subset
from polyvae.evaluation import evaluate
from polyvae.evaluation.disentanglement import SCORES, disentanglement, factors_of
from polyvae.figures.plots import draw
from polyvae.figures.walks import traversals
from polyvae.study.disentangle.scoring import Factored
from polyvae.study.tables import Side
from polyvae.study.trained import Job, Measured, budgeted

MEASURE = "polyvae.study.disentangle.measure:measure"
SEED = 0  # of all that is drawn here: every run is judged by the same examples
PLAIN = 16  # draws of the plain bound for each example
MEASURED: dict[str, type] = {
    "scored": int,
    "bound": float,
    "mse": float,
    "kl": float,
    "active": int,
    "latent": int,
    **dict.fromkeys(SCORES, float),
}
INFORMATION = {"label": str, "seed": int, "place": str, "dimension": int, "factor": str, "nats": float}
SIDE = Side("information.csv", INFORMATION, "place")


def measure(measured: Measured) -> dict[str, Any]:
    """The row of a run, and its "information": how many nats each dimension tells of each factor."""
    run, job = measured.run, measured.job
    asked, examples = Factored(**job.asked["scoring"]), scored(job)
    names, categorical = factors_of(measured.data.name)
    found = disentanglement(run, examples, SEED, categorical=categorical)
    report = evaluate(run, examples, samples=PLAIN, seed=SEED)
    row = {
        "scored": len(examples),
        "bound": report["bound"],
        "mse": report["mse"],
        "kl": report["kl"],
        "active": sum(latent["active_units"] or 0 for latent in report["latents"].values()),
        "latent": found["latents"],
        **{name: found[name] for name in SCORES},
    }
    told = [names[column] if names else str(column) for column in found["varying"]]
    lines = [
        {"place": f"{dimension}-{factor}", "dimension": dimension, "factor": factor, "nats": nats}
        for dimension, each in enumerate(found["information"])
        for factor, nats in zip(told, each, strict=True)
    ]
    if asked.traversals and job.seed == 0:
        walk = traversals(run, examples, rows=asked.traversals, steps=9, seed=SEED)
        draw(walk, picture(job.study, job.variant.place))
    return {"row": row, "information": lines}


def scored(job: Job) -> Split:
    """Examples of the test part of all the data, none of which is trained on."""
    whole = budgeted(job.source, job.data_dir, replace(job.budget, limit=None))
    part = whole.test if len(whole.test) else whole.validation
    return subset(part, Factored(**job.asked["scoring"]).scored, SEED)


def picture(study: Path, place: str) -> Path:
    """Where the walk along the dimensions of a variant's first seed lies."""
    return study / "pictures" / f"{place}.png"
