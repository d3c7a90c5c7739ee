"""The study of disentanglement from its first run to its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import at_least
from polyvae.evaluation.disentanglement import FACTORS
from polyvae.study.disentangle.measure import MEASURE, MEASURED, SIDE
from polyvae.study.disentangle.scoring import Factored
from polyvae.study.grid import Grid, check_labels
from polyvae.study.grown import Keep, Outcome, Study, grown
from polyvae.study.records import open_study
from polyvae.study.tables import Tables
from polyvae.study.trained import RUNNER, Job, layout

NAME = "disentangle"
LAYOUT = layout(MEASURED, information=SIDE)


def tables() -> Tables:
    """The study's tables, with nothing in them."""
    return Tables(LAYOUT)


def disentangle(
    grid: Grid,
    out: str | Path,
    *,
    scoring: Factored | None = None,
    device: str = "auto",
    workers: int = 1,
    ray: str | None = None,
    keep: Keep = "weights",
    progress: bool | None = None,
) -> Outcome[Tables]:
    """Trains every recipe of the grid with every seed that the folder `out` does not hold yet, and scores its codes.

    The data hold the factors of their examples, such as "sprites" and "dsprites". `scoring`: on how many examples.
    `workers`, `ray`, `keep`, `progress`: as of `compare`. A recipe that fails is told, and the others go on; the same
    call goes on after a stop, recipes and seeds may be added, and `study.report(out)` writes table and traversals.

    Raises StudyError for a folder with another study, ValueError for what a recipe refuses and for data without
    factors, DataError.
    """
    out, scoring = Path(out), scoring or Factored()
    at_least("workers", workers, 1, "runs at once")
    jobs = grid.jobs(out, MEASURE, {"scoring": asdict(scoring)}, device)
    if FACTORS not in (held := jobs[0].data().train.tensors):
        raise ValueError(
            f"data: disentanglement is measured against the factors of examples, integers under the name {FACTORS!r}; "
            f"{grid.data} holds {', '.join(sorted(held))}: take sprites"
        )
    open_study(out, NAME, {**grid.protocol(), **asdict(scoring)})
    check_labels(tables().filled(out), jobs, out)
    return grown(Study(out, tables, RUNNER, _said, keep=keep), jobs, workers, ray, progress)


def _said(job: Job, row: Mapping[str, Any]) -> str:
    """A run's result in a line."""
    names = {"MIG": "mig", "FactorVAE score": "factor_vae", "total correlation, normal": "total_correlation_normal"}
    numbers = [f"{name} {row[column]:.3f}" for name, column in names.items() if row.get(column) is not None]
    return f"{job.title}: {', '.join(numbers)}, {row['seconds']:.0f} s"
