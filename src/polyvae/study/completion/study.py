"""The study of completion from its first run to its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import at_least
from polyvae.study.completion.jobs import RUNNER, CompletionJob, jobs_of
from polyvae.study.completion.measure import MEASURED, SIDES
from polyvae.study.completion.protocol import BEFORE, Completed, Effort, Seen
from polyvae.study.grid import check_labels
from polyvae.study.grown import Keep, Outcome, Study, grown
from polyvae.study.records import open_study
from polyvae.study.sources import dataset_name
from polyvae.study.tables import Tables
from polyvae.study.trained import layout

NAME = "completion"
LAYOUT = layout(MEASURED, **SIDES)


def tables() -> Tables:
    """The study's tables, with nothing in them."""
    return Tables(LAYOUT)


def completion(
    chosen: Completed,
    out: str | Path,
    *,
    effort: Effort | None = None,
    seen: Seen | None = None,
    device: str = "auto",
    workers: int = 1,
    ray: str | None = None,
    keep: Keep = "weights",
    progress: bool | None = None,
) -> Outcome[Tables]:
    """Trains models and baselines and judges what they make of partly seen pictures, where `out` does not hold it yet.

    `effort`: what each model is given. `seen`: what is seen, and how completions are judged. `workers`, `ray`, `keep`,
    `progress`: as of `compare`; minutes are those of a process, and several at once share the machine. A run that fails
    is told, and the others go on; the same call goes on after a stop, models and seeds may be added, and
    `study.report(out)` writes tables and figures.

    Raises StudyError for a folder with another study, ValueError for what a recipe refuses and for data that are no
    pictures, DataError.
    """
    out, effort, seen = Path(out), effort or Effort(), seen or Seen()
    at_least("workers", workers, 1, "runs at once")
    jobs = jobs_of(chosen, effort, seen, out, device)
    open_study(out, NAME, protocol(chosen, effort, seen), BEFORE)
    check_labels(tables().filled(out), jobs, out)
    return grown(Study(out, tables, RUNNER, _said, keep=keep), jobs, workers, ray, progress)


def protocol(chosen: Completed, effort: Effort, seen: Seen) -> dict[str, Any]:
    """What all runs of a study share: seeds and methods may become more."""
    shared = {name: value for name, value in asdict(effort).items() if name != "seeds"}
    return {"data": dataset_name(chosen.data), **shared, **asdict(seen), "points": sorted(set(seen.points))}


def _said(job: CompletionJob, row: Mapping[str, Any]) -> str:
    """A run's result in a line."""
    return f"{job.title}: {row['seconds']:.0f} s, {row['completions_per_second']:.1f} completions a second"
