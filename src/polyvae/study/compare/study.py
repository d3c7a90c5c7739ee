"""The comparison from its first run to its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import at_least
from polyvae.data.files.writing import held, write_text
from polyvae.study.compare.measure import MEASURE, MEASURED
from polyvae.study.compare.scoring import Scoring
from polyvae.study.grid import Grid, check_labels
from polyvae.study.grown import LOCK, Keep, Outcome, Study, grown
from polyvae.study.records import Key, open_study
from polyvae.study.tables import Tables
from polyvae.study.trained import RUNNER, Job, layout

NAME, FAILED = "compare", "failed.json"
LAYOUT = layout(MEASURED)


def tables() -> Tables:
    """The comparison's tables, with nothing in them."""
    return Tables(LAYOUT)


def compare(
    grid: Grid,
    out: str | Path,
    *,
    scoring: Scoring | None = None,
    device: str = "auto",
    workers: int = 1,
    ray: str | None = None,
    keep: Keep = "weights",
    progress: bool | None = None,
) -> Outcome[Tables]:
    """Trains and measures every recipe of the grid with every seed that the folder `out` does not hold yet.

    `scoring`: how exactly they are measured. `workers`: runs at once, in processes that share the device; what a step
    costs is then indicative. `ray`: the address of a cluster to run them on, "local" for one that is started here.
    `keep`: what stays of a run that is measured, "all", its "weights", or "none" of either. `progress`: None shows a
    bar on a terminal.

    A recipe that fails is told, and the others go on; however the study ends, the same call goes on with it. Recipes
    and seeds may be added to a folder. `study.report(out)` writes the table.

    Raises StudyError for a folder with another study, ValueError for what a recipe refuses, DataError.
    """
    out, scoring = Path(out), scoring or Scoring()
    at_least("workers", workers, 1, "runs at once")
    asked = {"scoring": asdict(scoring), "workers": workers}
    jobs = grid.jobs(out, MEASURE, asked, device)
    open_study(out, NAME, {**grid.protocol(), **asdict(scoring)})
    check_labels(tables().filled(out), jobs, out)
    done = grown(Study(out, tables, RUNNER, _said, keep=keep), jobs, workers, ray, progress)
    _keep_failed(out, {job.key for job in jobs}, done.failed)
    return done


def _said(job: Job, row: Mapping[str, Any]) -> str:
    """A run's result in a line."""
    numbers = [
        f"{name} {row[column]:.2f}"
        for name, column in (("bound", "bound"), ("nll", "nll"), ("Fréchet", "frechet"))
        if row.get(column) is not None
    ]
    return f"{job.title}: {', '.join(numbers) or 'measured'}, {row['seconds']:.0f} s"


def _keep_failed(out: Path, tried: set[Key], failed: Mapping[Key, str]) -> None:
    """Writes down which runs came to no result, beside those of other recipes."""
    with held(out / LOCK):
        known = {key: why for key, why in failures(out).items() if key not in tried} | dict(failed)
        if known or (out / FAILED).exists():
            lines = [{"label": label, "seed": seed, "why": why} for (label, seed), why in sorted(known.items())]
            write_text(out / FAILED, json.dumps(lines, indent=2) + "\n")


def failures(out: Path) -> dict[Key, str]:
    """The runs of a folder that came to no result when they were last tried, with why."""
    try:
        lines = json.loads((out / FAILED).read_text(encoding="utf-8"))
        return {(line["label"], line["seed"]): line["why"] for line in lines}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
