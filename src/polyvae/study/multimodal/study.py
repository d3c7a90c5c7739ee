"""The study of several modalities from its first run to its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import at_least
from polyvae.data import names
from polyvae.study.grid import check_labels
from polyvae.study.grown import Keep, Outcome, Study, grown
from polyvae.study.multimodal.jobs import RUNNER, ModalJob, jobs_of
from polyvae.study.multimodal.measure import MEASURED, SIDE
from polyvae.study.multimodal.protocol import Compared, Course, Judging, Lacking
from polyvae.study.records import open_study
from polyvae.study.sources import dataset_name
from polyvae.study.tables import Tables
from polyvae.study.trained import layout

NAME = "multimodal"
LAYOUT = layout(MEASURED, measures=SIDE)


def tables() -> Tables:
    """The study's tables, with nothing in them."""
    return Tables(LAYOUT)


def multimodal(
    compared: Compared,
    out: str | Path,
    *,
    course: Course | None = None,
    lacking: Lacking | None = None,
    judging: Judging | None = None,
    device: str = "auto",
    workers: int = 1,
    ray: str | None = None,
    keep: Keep = "weights",
    progress: bool | None = None,
) -> Outcome[Tables]:
    """Trains models and baselines on data of several modalities, with every seed that `out` does not hold yet.

    `course`: what each run is given. `lacking`: models that are trained once more on rows that lack modalities.
    `judging`: how runs are judged. `workers`, `ray`, `keep`, `progress`: as of `compare`. A run that fails is told, and
    the others go on; the same call goes on after a stop, models and seeds may be added, and `study.report(out)` writes
    tables and figures.

    Raises StudyError for a folder with another study, ValueError for what a recipe refuses and for data of one x or
    without labels, DataError.
    """
    out, course, lacking, judging = Path(out), course or Course(), lacking or Lacking(), judging or Judging()
    at_least("workers", workers, 1, "runs at once")
    jobs = jobs_of(compared, course, lacking, judging, out, device)
    if jobs[0].data().train.labels is None:
        raise ValueError(f"data: coherence is judged by labels, and {compared.data} has none")
    open_study(out, NAME, protocol(compared, course, judging))
    check_labels(tables().filled(out), jobs, out)
    return grown(Study(out, tables, RUNNER, _said, keep=keep), jobs, workers, ray, progress)


def protocol(compared: Compared, course: Course, judging: Judging) -> dict[str, Any]:
    """What all runs of a study share: seeds and models may become more."""
    shared = {name: value for name, value in asdict(course).items() if name != "seeds"}
    name = compared.data if compared.data in names() else dataset_name(compared.data)
    return {"data": name, "modalities": compared.modalities, **shared, **asdict(judging)}


def _said(job: ModalJob, row: Mapping[str, Any]) -> str:
    """A run's result in a line."""
    names = {"cross coherence": "cross", "joint": "joint"}
    numbers = [f"{name} {row[column]:.1%}" for name, column in names.items() if row.get(column) is not None]
    return f"{job.title}: {', '.join(numbers) or 'measured'}, {row['seconds']:.0f} s"
