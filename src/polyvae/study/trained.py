"""One run of a study of recipes: a recipe on data under a budget, trained in a run folder of its own and measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from polyvae import data
from polyvae.data import Data
from polyvae.evaluation.blocks import device_of
from polyvae.recipes import Recipe, named
from polyvae.study.budget import Budget
from polyvae.study.job import named_runner, once
from polyvae.study.tables import Layout, Side
from polyvae.study.variants import Variant
from polyvae.training.run import Run
from polyvae.training.store import STATE, WEIGHTS

RUNNER = "polyvae.study.trained:run"
# A study has no option that leaves examples out.
WHOLE = "a study compares recipes on the same whole examples: save the data without those that lack something"
WHOLE_FILES = "a study compares recipes on the same whole pictures: move files that cannot be read out of the folder"
KEYS = ("label", "seed")
# What is recorded of every run; what a study measures follows.
ROW: dict[str, type] = {
    "label": str,
    "seed": int,
    "recipe": str,
    "options": str,
    "dataset": str,
    "train": int,
    "epochs": int,
    "best_epoch": int,
    "parameters": int,
    "objective_parameters": int,
    "seconds": float,
}
MADE: dict[str, type] = {"device": str, "commit": str, "polyvae": str, "torch": str}
CURVE: dict[str, type] = {"label": str, "seed": int, "epoch": int, "loss": float, "bound": float}


def layout(measured: Mapping[str, type], **sides: Side) -> Layout:
    """The tables of a study whose runs are measured so: a row, a curve of the validation part, and `sides`."""
    return Layout({**ROW, **measured, **MADE}, {"curve": Side("curves.csv", CURVE, "epoch"), **sides}, KEYS)


@dataclass(frozen=True)
class Measured:
    """What a study measures: the run that was trained, the data it was trained on, and the job that asked for it."""

    run: Run
    data: Data
    job: Job


@dataclass(frozen=True)
class Job:
    """A variant to be trained with a seed under a budget and measured by "module:function", called with `Measured`.

    The function returns what it adds to the row, and under the names of other tables their lines: {"row": {...}, ...}.
    `source`, `data_dir`: where the data come from. `shared`: options of every recipe that takes them. `asked`: what the
    measure needs to know. `home`: the module of a recipe that is a user's own.
    """

    variant: Variant
    seed: int
    source: str
    study: Path
    budget: Budget
    measure: str
    shared: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    data_dir: Path | None = None
    home: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.variant.label, self.seed

    @property
    def title(self) -> str:
        return f"{self.variant.label}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The run's folder, STUDY/runs/LABEL/seed-K."""
        return self.study / "runs" / self.variant.place / f"seed-{self.seed}"

    @property
    def epochs(self) -> int:
        return self.budget.epochs

    @property
    def settings(self) -> dict[str, Any]:
        """How it is trained, beside its epochs, seed and device."""
        # AdamW without weight decay is Adam.
        return {"batch_size": self.budget.batch_size, "lr": self.budget.lr, "weight_decay": 0.0}

    @property
    def options(self) -> dict[str, Any]:
        """All options of the recipe that are asked for, which are recorded."""
        return self.variant.given(self.shared)

    @property
    def call(self) -> dict[str, Any]:
        """The options that the recipe is built with."""
        return self.options

    def data(self) -> Data:
        """What it is trained and measured on."""
        return budgeted(self.source, self.data_dir, self.budget)

    def recipe(self) -> Recipe:
        """The recipe with the weights of its seed."""
        if self.home is not None:
            import_module(self.home)
        return named(self.variant.recipe)(self.data().spec, seed=self.seed, **self.call)


def run(job: Job) -> dict[str, Any]:
    """Trains, from where the run's folder stands, measures and returns the result, which the folder keeps.

    Raises RunFailed for whatever goes wrong with this run but for what the system refuses, such as a full disk.
    """
    return once(job, _result, ("row", "curve"), failing=(ValueError, TypeError, ArithmeticError, RuntimeError))


def _result(job: Job) -> dict[str, Any]:
    found = job.data()
    run = _trained(job, job.recipe(), found)
    run.model.eval()
    return recorded(job, found, run, named_runner(job.measure)(Measured(run, found, job)))


def recorded(job: Job, found: Data, run: Run, more: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a run: its row with what `more` measures under "row", its curve, and the rest of `more`."""
    best, more = run.best or {}, dict(more)
    row = {
        "label": job.variant.label,
        "seed": job.seed,
        "recipe": job.variant.recipe,
        "options": json.dumps(job.options, sort_keys=True),
        "dataset": found.name,
        "train": len(found.train),
        "epochs": len(run.history),
        "best_epoch": best.get("epoch", 0),
        **sizes(run.recipe),
        "seconds": round(sum(line.get("seconds", 0.0) for line in run.history), 2),
        **more.pop("row"),
        "device": device_name(device_of(run.model)),
        "commit": commit_of(run.description.get("git")),
        **{package: run.description["versions"][package] for package in ("polyvae", "torch")},
    }
    names = {"loss": "train_loss", "bound": "validation_bound"}
    curve = [
        {"epoch": line["epoch"], **{name: line.get(theirs) for name, theirs in names.items()}} for line in run.history
    ]
    return {"row": row, "curve": curve, **more}


def sizes(recipe: Recipe) -> dict[str, int]:
    """How many parameters the model has, and how many more the objective, such as those of a critic."""
    own = set(recipe.model.parameters())
    more = set(recipe.objective.parameters()) - own
    return {"parameters": sum(p.numel() for p in own), "objective_parameters": sum(p.numel() for p in more)}


def _trained(job: Job, recipe: Recipe, found: Data) -> Run:
    """The run, trained or gone on with; one that was shed of its state is done, and only measured again."""
    if (job.folder / WEIGHTS).exists() and not (job.folder / STATE).exists() and recipe.solve is None:
        return Run.load(job.folder, recipe)
    return fitted(job, recipe, found, job.budget.epochs)


def fitted(job: Job, recipe: Recipe, found: Data, epochs: int) -> Run:
    """The run, trained so far from where its folder stands."""
    fit: Callable[..., Run] = import_module("polyvae.training.fit").fit
    return fit(
        recipe,
        found,
        job.folder,
        resume=True,
        progress=False,
        epochs=epochs,
        seed=job.seed,
        device=job.device,
        **job.settings,
    )


def budgeted(source: str, data_dir: Path | None, budget: Budget, plain: bool = False) -> Data:
    """The data of a budget; `plain`: the same examples without binarisation. Raises DataError, ValueError."""
    binarise = None if plain or budget.binarise == "none" else budget.binarise
    if binarise == "auto":
        spec = loaded(source, data_dir, limit=budget.limit, seed=budget.data_seed).spec
        binarise = "dynamic" if len(spec.x) == 3 and spec.x[0] == 1 and (spec.levels or 0) > 2 else None
    more = {} if binarise is None else {"binarise": binarise}
    return loaded(source, data_dir, limit=budget.limit, seed=budget.data_seed, **more)


@lru_cache(maxsize=2)
def loaded(source: str, data_dir: Path | None, **options: Any) -> Data:
    """Data kept for the next run of this process, without where they lie: a run goes on with them elsewhere."""
    try:
        found = data.load(source, data_dir, **options)
    except data.DataError as error:
        if "skip_bad" not in error.advice:
            raise
        advice = WHOLE_FILES if Path(source).is_dir() else WHOLE
        raise data.DataError(error.file, error.expected, error.found, advice) from error
    return replace(found, call={name: value for name, value in found.call.items() if name != "data_dir"})


def device_name(device: torch.device) -> str:
    """What a table calls a device: a GPU by its name, a CPU with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    count = torch.get_num_threads()
    return f"{device.type}, {count} thread{'s' * (count > 1)}" if device.type == "cpu" else device.type


def commit_of(state: Mapping[str, Any] | None) -> str:
    """The commit of a run's code in short, with a plus where files were changed."""
    return "" if state is None else state["commit"][:12] + ("+" if state["changed"] else "")
