"""A study from its first run to its tables: what is missing is run, each result recorded as it comes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from polyvae.data.files.writing import held
from polyvae.study.job import Job
from polyvae.study.progress import shown
from polyvae.study.records import Key, StudyError, read_result
from polyvae.study.schedule import answers
from polyvae.study.tables import Tables
from polyvae.training.store import STATE, WEIGHTS

LOCK = ".lock"
Keep = Literal["all", "weights", "none"]
SHED: dict[str, tuple[str, ...]] = {"all": (), "weights": (STATE,), "none": (STATE, WEIGHTS)}
Kept = TypeVar("Kept", bound=Tables)


@dataclass(frozen=True)
class Outcome(Generic[Kept]):
    """What a study has come to: its records, and the runs that failed with why."""

    folder: Path
    records: Kept
    failed: dict[Key, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study(Generic[Kept]):
    """A study's folder, and how it is kept.

    `empty`: makes its tables, with nothing in them. `runner`: "module:function", which makes a result of a job. `said`:
    a line on a result. `beside`: called when a result has been added to the tables, for files beside them. `keep`: what
    stays of a run that is measured, "all", its "weights" without the state to train on from, which is four times as
    large, or "none" of either.
    """

    folder: Path
    empty: Callable[[], Kept]
    runner: str
    said: Callable[[Any, Mapping[str, Any]], str]
    beside: Callable[[Kept, Key, Mapping[str, Any]], None] | None = None
    keep: Keep = "weights"

    def settled(self) -> Kept:
        """The study's records, whose tables are written anew for runs to be added to."""
        with held(self.folder / LOCK):
            records = self.empty().filled(self.folder)
            records.write(self.folder)
        return records

    def record(self, records: Kept, job: Job, result: Mapping[str, Any]) -> None:
        """Adds a result to the study's tables and sheds of its folder what is not kept."""
        # Another study may be writing other runs into the same folder.
        with held(self.folder / LOCK):
            key = records.add(result)
            if self.beside is not None:
                self.beside(records, key, result)
            records.append(self.folder, key)
        for name in SHED[self.keep]:
            (job.folder / name).unlink(missing_ok=True)


def grown(
    study: Study[Kept], jobs: Sequence[Job], workers: int = 1, ray: str | None = None, progress: bool | None = None
) -> Outcome[Kept]:
    """Makes every run that the study does not hold yet, `workers` at once or on the cluster at the address `ray`.

    A run that fails is told and left out; however the study ends, the same call goes on with it. `progress`: None shows
    a bar on a terminal. Raises StudyError for what is wrong with all runs.
    """
    records = study.settled()
    missing = [job for job in jobs if job.key not in records.rows]
    parts = ("row", *records.layout.sides)
    found = {job.key: result for job in missing if (result := read_result(job.folder, parts)) is not None}
    for job in missing:
        if job.key in found:
            study.record(records, job, found[job.key])
    missing = [job for job in missing if job.key not in found]
    failed: dict[Key, str] = {}
    display = shown(missing, len(jobs) - len(missing), progress)
    try:
        for job, answer in answers(missing, study.runner, workers, ray):
            if "error" in answer:
                raise StudyError(f"{job.title}: {answer['error']} ({answer['kind']})")
            if "failed" in answer:
                failed[job.key] = answer["failed"]
                display.tell(job, f"failed: {answer['failed']}")
            else:
                study.record(records, job, answer["result"])
                display.tell(job, study.said(job, answer["result"]["row"]))
    finally:
        display.close()
    for message in failed.values():
        warnings.warn(message, stacklevel=3)
    return Outcome(study.folder, study.settled(), failed)
