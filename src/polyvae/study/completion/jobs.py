"""The runs of the study of completion: models, networks without z, and baselines."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from polyvae.checks.names import one_of
from polyvae.completion.masked import masked
from polyvae.data import Data
from polyvae.data.split import floats
from polyvae.evaluation.blocks import evaluating
from polyvae.model.separable import LARGEST
from polyvae.recipes import Recipe
from polyvae.recipes.without_z import without_latents
from polyvae.study import trained
from polyvae.study.budget import Budget
from polyvae.study.completion.masks import masks
from polyvae.study.completion.measure import Task, judged_by, measured
from polyvae.study.completion.protocol import BASELINES, COLOURS, LARGE, MODELS, UNET, Completed, Effort, Seen, words
from polyvae.study.completion.stated import METHODS, of_run
from polyvae.study.completion.unet import unet
from polyvae.study.grid import home
from polyvae.study.job import once
from polyvae.study.sources import whole_source
from polyvae.study.trained import Job, Measured, commit_of, device_name, loaded
from polyvae.study.variants import Variant, variants
from polyvae.training.description import git_state
from polyvae.training.settings import ENDLESS
from polyvae.version import __version__

RUNNER = "polyvae.study.completion.jobs:run"
MEASURE = "polyvae.study.completion.jobs:measure"
FAILING = (ValueError, TypeError, ArithmeticError, RuntimeError)
WITHOUT = "z"  # the option that takes the latents of a model away
MODEL, ABLATION, BASELINE = "model", "without z", "baseline"


@dataclass(frozen=True)
class CompletionJob(Job):
    """A model to be trained and judged by what it makes of pictures that are seen in part."""

    effort: Effort = field(default_factory=Effort)
    seen: Seen = field(default_factory=Seen)

    @property
    def epochs(self) -> int:
        """Of a bar: one where minutes count."""
        return self.effort.epochs or 1

    @property
    def settings(self) -> dict[str, Any]:
        timed = {} if self.effort.epochs else {"minutes": self.effort.minutes, "clock": self.effort.clock}
        how = {name: getattr(self.effort, name) for name in ("schedule", "warmup", "average")}
        return {**super().settings, **how, **timed}

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.variant.options)

    @property
    def kind(self) -> str:
        """What it is: a model, one without z, or a baseline."""
        if self.variant.recipe in BASELINES:
            return BASELINE
        return ABLATION if WITHOUT in self.options else MODEL

    @property
    def shown(self) -> Path:
        """Where some completed pictures of it lie."""
        return self.study / "pictures" / f"{self.variant.place}-{self.seed}.npz"

    def recipe(self) -> Recipe:
        options = self.options
        bare = WITHOUT in options
        if bare and options.pop(WITHOUT) is not None:
            raise ValueError(f"{WITHOUT} is none, for a model without latents, or left out")
        if self.variant.recipe != UNET:
            made = replace(self, variant=replace(self.variant, options=options))
            recipe = super(CompletionJob, made).recipe()
        elif bare:
            raise ValueError(f"a {UNET} has no latents to be taken away")
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                return unet(self.data().spec, **options)
        return without_latents(recipe, self.data().spec) if bare else recipe

    def task(self) -> Task:
        """What it is judged on."""
        data, judge = self.data(), None
        if self.seen.steps and data.test.labels is not None:  # else whole data sets would be read for nothing
            whole = loaded(self.source, self.data_dir, seed=self.effort.data_seed)
            judge = judged_by(self.study, self.source, whole.train, self.seen.steps)
        return Task.of(data, self.seen, judge, self.shown if self.seed == 0 else None)

    def result(self) -> dict[str, Any]:
        """What the run's folder keeps of it."""
        return trained.run(self)


@dataclass(frozen=True)
class FittedJob(CompletionJob):
    """A baseline that is fitted in closed form, or not at all; its variant's recipe is its name."""

    def result(self) -> dict[str, Any]:
        return once(self, _fitted, ("row", "curve", "cells", "pictures"), failing=FAILING)


def run(job: CompletionJob) -> dict[str, Any]:
    """Makes the result of a run, from where its folder stands. Raises RunFailed for what goes wrong with it alone."""
    return job.result()


def measure(trained: Measured) -> dict[str, Any]:
    """The row of a model's run, its cells and its pictures."""
    run, job = trained.run, trained.job
    assert isinstance(job, CompletionJob)
    with evaluating(run.model) as device:
        complete = of_run(masked(run), _limits(trained.data))
        found = measured(lambda held, seen: complete, job.task(), device)
    return {**found, "row": {"kind": job.kind, "minutes": _minutes(job), **found["row"]}}


def _limits(data: Data) -> tuple[float, float] | None:
    """Where all methods are cut off: grey levels lie between 0 and 1."""
    return (0.0, 1.0) if data.spec.unit else None


def _minutes(job: CompletionJob) -> float | None:
    return None if job.effort.epochs else job.effort.minutes


def _fitted(job: CompletionJob) -> dict[str, Any]:
    """The result of a baseline, as `trained.recorded` writes that of a run."""
    data, begun = job.data(), time.perf_counter()
    at = METHODS[job.variant.recipe](floats(data.train.tensors["x"]).cpu(), _limits(data))
    seconds = time.perf_counter() - begun
    found = measured(at, job.task())
    row = {
        "label": job.variant.label,
        "seed": job.seed,
        "recipe": job.variant.recipe,
        "options": "{}",
        "dataset": data.name,
        "train": len(data.train),
        "epochs": 0,
        "best_epoch": 0,
        "seconds": round(seconds, 2),
        "kind": job.kind,
        **found["row"],
        "device": device_name(torch.device("cpu")),
        "commit": commit_of(git_state()),
        "polyvae": __version__,
        "torch": torch.__version__,
    }
    return {**found, "row": row, "curve": []}


def jobs_of(chosen: Completed, effort: Effort, seen: Seen, study: Path, device: str = "auto") -> list[CompletionJob]:
    """Every run, seed after seed: baselines in closed form first, then models and networks.

    Raises ValueError for what a recipe refuses, for no such baseline and for data that are no pictures, DataError.
    """
    budget = Budget(1, effort.epochs or ENDLESS, effort.batch_size, effort.lr, effort.limit, "none", effort.data_seed)
    place = None if chosen.data_dir is None else chosen.data_dir.absolute()
    same = whole_source(chosen.data), study.absolute(), budget, MEASURE, {}, {}, device, place

    def job(variant: Variant, seed: int, kind: type[CompletionJob] = CompletionJob) -> CompletionJob:
        where = None if variant.recipe in BASELINES else home(variant)
        return kind(variant, seed, *same, where, effort, seen)

    data = trained.budgeted(same[0], place, budget)
    _check(data, seen)
    separable = data.spec.x[0] > 1 and prod(data.spec.x[1:]) <= LARGEST
    usual = ", ".join(name for name in BASELINES if separable or name != "separable-normal")
    text = chosen.models or (MODELS if data.spec.x[0] == 1 else COLOURS if separable else LARGE)
    asked = usual if chosen.against is None else chosen.against
    against = _said("against", asked, BASELINES) if words(asked) else []
    models = _said("models", text, None) if words(text) else []
    if twice := {each.place for each in models} & {each.place for each in against}:
        raise ValueError(f"models: {min(twice)!r} is a baseline too; give one another label, {min(twice)} as NAME")
    fitted = [each for each in against if each.recipe != UNET]
    if wrong := [each.label for each in fitted if each.options]:
        raise ValueError(f"against: {wrong[0]}: baselines but {UNET} have no options")
    learned = [*models, *(each for each in against if each.recipe == UNET)]
    if not models and not against:
        raise ValueError("models: there is nothing to compare; name a recipe, or a baseline behind --against")
    for each in learned:
        option = "against" if each.recipe == UNET else "models"
        try:
            _check_read(job(each, 0).recipe(), data)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{option}: {each.label}: {error}") from error
    return [
        *(job(each, 0, FittedJob) for each in fitted),
        *(job(each, seed) for seed in range(effort.seeds) for each in learned),
    ]


def _said(option: str, text: str, known: Collection[str] | None) -> Sequence[Variant]:
    try:
        found = variants(text, known, "a baseline")
        if known is not None:
            for each in found:
                one_of(known, each.recipe, "a baseline")
        return found
    except ValueError as error:
        raise ValueError(f"{option}: {str(error).removeprefix('recipes: ')}") from error


def _check(data: Data, seen: Seen) -> None:
    """ValueError for data that are no pictures, lack a part, or are too small for the masks."""
    if len(data.spec.x) != 3 or data.spec.columns:
        raise ValueError(f"data: completions are of pictures; {data.name} holds values of shape {list(data.spec.x)}")
    for name, part, least in (("validation", data.validation, 4), ("test", data.test, 2)):
        if len(part) < least:
            raise ValueError(f"data: methods are judged on a {name} part; that of {data.name} has {len(part)} pictures")
    some = torch.zeros(1, *data.spec.x)
    for name in seen.names:
        masks(name, some, 0)


def _check_read(recipe: Recipe, data: Data) -> None:
    """ValueError for a model that reads labels, or that no seen pixel reaches."""
    made = masked(recipe)
    try:
        known = {made.name, *made.observe({made.of: torch.zeros(1, *data.spec.x)})}
    except KeyError as error:
        raise ValueError(f"it also reads {error.args[0]}, which methods are not told here") from error
    if missing := set(recipe.model.conditions) - known:
        raise ValueError(f"it also reads {', '.join(sorted(missing))}, which methods are not told here")
    if made.name not in recipe.model.conditions:
        raise ValueError("nothing of it reads what is seen; take one that does, such as arbitrary_conditioning")
