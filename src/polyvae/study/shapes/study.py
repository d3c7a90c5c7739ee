"""The shapes assignment from its first run to its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import at_least
from polyvae.study.budget import Budget
from polyvae.study.grid import check_labels
from polyvae.study.grown import Keep, Outcome, Study, grown
from polyvae.study.records import open_study
from polyvae.study.shapes.assignment import Assignment
from polyvae.study.shapes.measure import READING
from polyvae.study.shapes.run import RUNNER, Job
from polyvae.study.tables import Side, Tables
from polyvae.study.trained import layout
from polyvae.study.variants import Variant

NAME, DATA, VAE = "shapes", "shapes", "vae"
SIDE = Side("readings.csv", {"label": str, "seed": int, "epochs": int, **READING}, "epochs")
LAYOUT = layout({"step_seconds": float, "memory_mb": float}, readings=SIDE)


def tables() -> Tables:
    """The study's tables, with nothing in them."""
    return Tables(LAYOUT)


def shapes(
    assignment: Assignment,
    out: str | Path,
    *,
    device: str = "auto",
    workers: int = 1,
    ray: str | None = None,
    keep: Keep = "weights",
    progress: bool | None = None,
) -> Outcome[Tables]:
    """Trains a VAE and a `bir_vae` of every noise on generated shapes, and reads every training at several epochs.

    `workers`, `ray`, `keep`, `progress`: as of `compare`; the weights of a reading stay in a folder of their own. The
    same call goes on after a stop, and seeds and noises may be added; `study.report(out)` writes the report.

    Raises StudyError for a folder with another study, ValueError for what a recipe refuses.
    """
    out = Path(out)
    at_least("workers", workers, 1, "runs at once")
    jobs = jobs_of(assignment, out, device)
    open_study(out, NAME, protocol(assignment))
    check_labels(tables().filled(out), jobs, out)
    return grown(Study(out, tables, RUNNER, _said, keep=keep), jobs, workers, ray, progress)


def protocol(assignment: Assignment) -> dict[str, Any]:
    """What all runs of a study share: noises and seeds may become more."""
    return {name: value for name, value in asdict(assignment).items() if name not in ("noises", "seeds")}


def jobs_of(assignment: Assignment, out: Path, device: str = "auto") -> list[Job]:
    """Every run, seed after seed. Raises ValueError for what a recipe refuses."""
    variants = [Variant(VAE, VAE, {"likelihood": "normal-learned"})]
    variants += [
        Variant(f"noise {noise:g}", "bir_vae", {"noise": noise, "weight": assignment.weight})
        for noise in assignment.noises
    ]
    budget = Budget(
        assignment.seeds,
        assignment.readings[-1],
        assignment.batch_size,
        assignment.lr,
        assignment.pictures,
        "none",
    )
    shared = {"latent": assignment.latent, "network": assignment.network, "widths": tuple(assignment.widths)}
    same = DATA, out.absolute(), budget, "", shared, {"assignment": asdict(assignment)}, device
    made = [Job(each, seed, *same) for seed in range(assignment.seeds) for each in variants]
    for job in made[: len(variants)]:
        try:
            job.recipe()
        except ValueError as error:
            raise ValueError(f"network and widths: {error}") from error
    return made


def _said(job: Job, row: Mapping[str, Any]) -> str:
    """A run's result in a line."""
    return f"{job.title}: {row['epochs']} epochs, {row['seconds']:.0f} s"
