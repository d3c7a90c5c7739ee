"""The study of rate and distortion from its first run to its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from polyvae.checks.ranges import at_least
from polyvae.data.files.writing import write_text
from polyvae.evaluation.classifier import grey
from polyvae.study import trained
from polyvae.study.grid import Grid, check_labels
from polyvae.study.grown import Keep, Outcome, Study, grown
from polyvae.study.records import open_study
from polyvae.study.tables import Tables
from polyvae.study.trade.measure import MEASURE, MEASURED
from polyvae.study.trade.sweep import Sweep
from polyvae.study.trade.weighing import Job

NAME, SPECTRUM = "rate-distortion", "spectrum.json"
LAYOUT = trained.layout(MEASURED)


def tables() -> Tables:
    """The study's tables, with nothing in them."""
    return Tables(LAYOUT)


def rate_distortion(
    grid: Grid,
    out: str | Path,
    *,
    sweep: Sweep | None = None,
    device: str = "auto",
    workers: int = 1,
    ray: str | None = None,
    keep: Keep = "weights",
    progress: bool | None = None,
) -> Outcome[Tables]:
    """Trains every recipe of the grid at every weight of its divergence: a curve of rate and distortion for each.

    Any recipe whose objective has a divergence with a weight. `sweep`: the weights, and how points are measured.
    `workers`, `ray`, `keep`, `progress`: as of `compare`. The same call goes on after a stop; recipes, weights and
    seeds may be added, and `study.report(out)` draws the curves.

    Raises StudyError for a folder with another study, ValueError for a recipe without such a weight, DataError.

    Alemi, Poole, Fischer, Dillon, Saurous, Murphy: Fixing a Broken ELBO, 2018.
    """
    out, sweep = Path(out), sweep or Sweep()
    at_least("workers", workers, 1, "runs at once")
    jobs = jobs_of(grid, out, sweep, device)
    shared = {name: value for name, value in asdict(sweep).items() if name != "betas"}
    open_study(out, NAME, {**grid.protocol(), **shared})
    check_labels(tables().filled(out), jobs, out)
    if not (out / SPECTRUM).exists():
        write_text(out / SPECTRUM, json.dumps(spectrum(jobs[0])) + "\n")
    return grown(Study(out, tables, trained.RUNNER, _said, keep=keep), jobs, workers, ray, progress)


def jobs_of(grid: Grid, out: Path, sweep: Sweep, device: str = "auto") -> list[Job]:
    """Every run, seed after seed and from the largest weight on. Raises ValueError, naming the recipe."""
    betas = sorted(sweep.betas, reverse=True)
    base = grid.jobs(out, MEASURE, {}, device)
    curves = {f"{job.variant.label} beta {beta:g}": job.variant.label for job in base for beta in betas}
    asked = {"sweep": asdict(sweep), "curves": curves}
    made = []
    for job in base:
        for beta in betas:
            label = replace(job.variant, label=f"{job.variant.label} beta {beta:g}")
            held = {field.name: getattr(job, field.name) for field in fields(job)}
            made.append(Job(**{**held, "variant": label, "asked": asked}, beta=beta))
    for job in made[: len({job.variant.label for job in made})]:
        try:
            job.recipe()
        except ValueError as error:
            raise ValueError(f"recipes: {curves[job.variant.label]}: {error}") from error
    return made


def spectrum(job: Job) -> list[float]:
    """The variances along the principal directions of the training part, from the largest; none of a table's gaps."""
    x = job.data().train.tensors.get("x")
    if x is None or not x.numel() or not (x.dtype is torch.uint8 or x.is_floating_point()):
        return []
    values = grey(x).flatten(1).double()
    if not bool(values.isfinite().all()):
        return []
    found = torch.linalg.eigvalsh(torch.cov(values.T, correction=0).reshape(values.shape[1], -1))
    return found.clamp(min=0).flip(0).tolist()


def _said(job: Job, row: Mapping[str, Any]) -> str:
    """A run's result in a line."""
    return f"{job.title}: rate {row['rate']:.2f}, distortion {row['distortion']:.2f} nats, {row['seconds']:.0f} s"
