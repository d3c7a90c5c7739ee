"""A grid of recipes and seeds on one data set under one budget, as jobs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from polyvae.recipes import is_own, named
from polyvae.study.budget import Budget, Networks
from polyvae.study.records import StudyError
from polyvae.study.sources import dataset_name, whole_source
from polyvae.study.tables import Tables
from polyvae.study.trained import Job
from polyvae.study.variants import Variant, variants


@dataclass(frozen=True)
class Grid:
    """Which recipes are trained on which data, under which budget, with which networks.

    recipes: as `variants` reads them, "vae, iwae:samples=50", or a list of such texts and `Variant`s. data: a name of
    `data.names()` or a path. data_dir: where the files of the data lie.
    """

    recipes: str | Sequence[str | Variant] = "vae"
    data: str = "mnist"
    budget: Budget = field(default_factory=Budget)
    networks: Networks = field(default_factory=Networks)
    data_dir: Path | None = None

    def jobs(
        self, study: Path, measure: str, asked: Mapping[str, Any] | None = None, device: str = "auto"
    ) -> list[Job]:
        """Every run, seed after seed, so that a table of all recipes stands early; see `trained.Job`.

        Each recipe is built once. Raises ValueError for what it refuses, DataError.
        """
        chosen, source = variants(self.recipes), whole_source(self.data)
        # Other processes may have another working directory.
        place = None if self.data_dir is None else self.data_dir.absolute()
        shared = {**asdict(self.networks), "widths": tuple(self.networks.widths)}
        same = source, study.absolute(), self.budget, measure, shared, dict(asked or {}), device, place
        made = [Job(each, seed, *same, home(each)) for seed in range(self.budget.seeds) for each in chosen]
        for job in made[: len(chosen)]:
            try:
                job.recipe()
            except (ValueError, TypeError) as error:
                raise ValueError(f"recipes: {job.variant.label}: {error}") from error
        return made

    def protocol(self) -> dict[str, Any]:
        """What every run of one study shares, for `open_study`: the seeds may grow and the recipes become more."""
        budget = {name: value for name, value in asdict(self.budget).items() if name != "seeds"}
        return {"data": dataset_name(self.data), **budget, **asdict(self.networks)}


def home(variant: Variant) -> str | None:
    """The module of a user's own recipe, which another process has to import."""
    build = inspect.unwrap(named(variant.recipe))
    return build.__module__ if is_own(build) and build.__module__ != "__main__" else None


def check_labels(records: Tables, jobs: Sequence[Job], folder: Path) -> None:
    """StudyError where a run that is recorded under a job's label was of other options."""
    held = {key: row["recipe"] + row["options"] for key, row in records.rows.items()}
    for job in jobs:
        if held.get(job.key, mine := job.variant.recipe + json.dumps(job.options, sort_keys=True)) != mine:
            raise StudyError(
                f"{folder} holds {job.title} with other options ({held[job.key]} then, {mine} now); "
                "give it another label, RECIPE as NAME, or choose another --out"
            )
