"""One training of the shapes assignment, read at several epochs, each reading a run folder of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import Any

from polyvae.data import Data
from polyvae.study import trained
from polyvae.study.compare.cost import cost
from polyvae.study.job import once
from polyvae.study.shapes.assignment import Assignment
from polyvae.study.shapes.measure import measure
from polyvae.training.run import Run
from polyvae.training.store import STATE, WEIGHTS

RUNNER = "polyvae.study.shapes.run:run"


@dataclass(frozen=True)
class Job(trained.Job):
    """A training on shapes of the assignment's size, which are generated."""

    @property
    def assignment(self) -> Assignment:
        """What was asked for."""
        return Assignment(**self.asked["assignment"])

    def data(self) -> Data:
        return trained.loaded(self.source, None, limit=self.budget.limit, size=self.assignment.size, seed=0)


def run(job: Job) -> dict[str, Any]:
    """Trains, measures at every reading, and returns the result, which the folder keeps. Raises RunFailed."""
    failing = (ValueError, TypeError, ArithmeticError, RuntimeError)
    return once(job, _result, ("row", "curve", "readings"), failing)


def _result(job: Job) -> dict[str, Any]:
    found, lines = job.data(), []
    for epochs in job.assignment.readings:
        run = reading(job, found, epochs)
        run.model.eval()
        told = job.study, f"{job.variant.place}-{epochs}", job.seed, job.assignment.size, job.assignment.scored
        lines.append({"epochs": epochs, **measure(run, *told)})
    return {**trained.recorded(job, found, run, {"row": cost(job) if job.seed == 0 else {}}), "readings": lines}


def reading(job: Job, found: Data, epochs: int) -> Run:
    """The best weights of the first so many epochs, from their own folder, or by going on with the training."""
    place, recipe = job.folder / f"epochs-{epochs}", job.recipe()
    if (place / WEIGHTS).exists():
        return Run.load(place, recipe)
    run = trained.fitted(job, recipe, found, epochs)
    beside = place.with_name(f".{place.name}")
    shutil.rmtree(beside, ignore_errors=True)
    run.save(beside)
    (beside / STATE).unlink(missing_ok=True)
    beside.rename(place)
    return replace(run, folder=place)
