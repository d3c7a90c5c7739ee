"""Training: `fit`, from a recipe and data to a run."""

from __future__ import annotations

import inspect
import signal
import tempfile
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from lightning_fabric import Fabric

from polyvae.checks.names import kind
from polyvae.data.loading import as_data
from polyvae.data.seeds import forked, seed_generators
from polyvae.data.split import Data, Split
from polyvae.evaluation.blocks import check_gaps
from polyvae.evaluation.support import check_support
from polyvae.model.protocol import ChecksExamples
from polyvae.model.vae import VAE
from polyvae.recipes import Recipe, named
from polyvae.training.best import Best
from polyvae.training.budget import Budget
from polyvae.training.cpu import kept_heap
from polyvae.training.description import describe
from polyvae.training.devices import fabric_of
from polyvae.training.history import History
from polyvae.training.hooks import Callback, Factory, Hooks, checked_hooks
from polyvae.training.loop import Loop
from polyvae.training.meter import check_validation
from polyvae.training.optimizer import recorded
from polyvae.training.processes import in_processes, on_signals
from polyvae.training.progress import reporter
from polyvae.training.resume import restore_state
from polyvae.training.run import Run
from polyvae.training.run_folder import check_start, trained_in
from polyvae.training.settings import ENDLESS, Settings, chosen
from polyvae.training.sharing import tell_examples
from polyvae.training.starting import show
from polyvae.training.step import Step
from polyvae.training.store import (
    METRICS,
    STATE,
    WEIGHTS,
    load_tensors,
    read_metrics,
    read_tensors,
    take_objective,
)
from polyvae.training.tensorboard import check_tensorboard
from polyvae.training.trial import as_recipe, tried
from polyvae.training.validation import validate

ROWS = 1000  # examples at a time, where a closed form needs all of them


@dataclass(frozen=True)
class Job:
    """One training: what it trains, on what, where and how; in a process of its own it is called with a Fabric."""

    recipe: Recipe
    data: Data
    folder: Path | None
    settings: Settings
    progress: bool | None
    hooks: Hooks

    def __call__(self, fabric: Fabric) -> None:
        # Tensors cross to another process as memory shared with it: each process needs weights of its own.
        for module in (self.recipe.model, self.recipe.objective):
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data = tensor.data.clone()
        _train(fabric, self)


def fit(
    recipe: Recipe | VAE | str,
    data: Any,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool | None = None,
    optimizer: Factory | None = None,
    callbacks: Sequence[Callback] = (),
    settings: Settings | None = None,
    **named_settings: Any,
) -> Run:
    """Trains a recipe and returns the run with its best weights in place.

    `recipe`: a recipe, a VAE, which is trained by the plain bound, or the name of a recipe, whose weights the seed then
    decides. `data`: a `Data`, a name or a path that `data.load` reads, or any tensor, array, DataFrame, pair (x, y),
    Dataset or DataLoader, of which a tenth each is set aside for validation and test, as `data.load` cuts it. Values of
    x that are missing are kept, for a recipe that learns from what is observed. `run`: a folder for weights, metrics
    and the state to resume from; without one everything stays in memory. `resume`: go on with the run in that folder,
    exactly as if it had not stopped. `progress`: None shows a bar on a terminal, True also plain lines where there is
    none, False nothing. `optimizer`: a class of `torch.optim`, made with the setting `lr`, or a function that makes one
    of a list of parameters and sets its numbers itself; AdamW where none is given. Schedule and warm-up move its
    learning rates. `callbacks`: functions called with each epoch's row of metrics, a dict of their own, once its state
    is saved; what one raises ends the run. `settings`: a `Settings`, or fields by name.

    The best epoch is the one with the largest plain bound on the validation part (or the smallest value that the recipe
    monitors: its loss where a tighter bound or none is trained, the reconstruction where a posterior is a point).
    Ctrl-C saves the state, then raises KeyboardInterrupt.

    Raises RunError for a folder that holds another run or cannot be written, ValueError for a bad setting, data that
    the model cannot read or a part that does not fit, by its name, TypeError for an unknown setting, settings in both
    ways or what is no recipe, NonFiniteError where the loss is not finite.
    """
    settings, said = chosen(settings, named_settings, *_of_recipe(recipe))
    hooks = checked_hooks(optimizer, callbacks, said, settings.devices)
    folder = _folder(run, resume, settings.tensorboard)
    data = as_data(data, gaps=True)
    settings = settings.resolved(len(data.train))
    recipe = as_recipe(recipe, lambda name: named(name)(data, seed=settings.seed))
    if recipe.solve is None and not any(p.requires_grad for p in recipe.model.parameters()):
        raise ValueError("the model has no parameter to train")
    tell_examples(recipe.objective, len(data.train))
    _check_compiled(recipe, settings)
    _check_settled(recipe, settings, len(data.train))
    check_gaps(recipe.model, *data.parts.values(), columns=data.spec.columns)
    check_support(recipe, data, tried(recipe, data, settings.seed))
    fabric = fabric_of(settings)  # before the folder: what this machine has not leaves none behind
    description = describe(recipe, data, asdict(settings))
    if recipe.solve is None:
        description["optimizer"] = recorded(hooks.optimizer, Step(recipe), settings)
    job = Job(recipe, data, folder, settings, progress, hooks)
    opened = nullcontext(description)
    if folder is not None:
        opened = trained_in(folder, description, settings, resume, recipe.solve is not None)
    with opened as description:
        history = _trained(fabric, job)
    return Run(recipe, folder, history, description)


def _folder(run: Any, resume: bool, tensorboard: bool) -> Path | None:
    """The folder of a run, before any work; TypeError for what names none, RunError where it cannot start in it."""
    if not isinstance(run, (str, PathLike, NoneType)):
        how = "; settings go by name: settings=..." if isinstance(run, Settings) else ""
        raise TypeError(f"run is a folder; got {kind(run)}{how}")
    if run is None and (resume or tensorboard):
        raise ValueError("resume and tensorboard need a run folder")
    if tensorboard:
        check_tensorboard()
    if run is None:
        return None
    check_start(Path(run), resume)
    return Path(run)


def _of_recipe(recipe: Any) -> tuple[str, tuple[str, ...]]:
    """The name of a recipe that is given by one, and its options."""
    if not isinstance(recipe, str):
        return "", ()
    return recipe, tuple(inspect.signature(named(recipe)).parameters)


def _check_compiled(recipe: Recipe, settings: Settings) -> None:
    """ValueError where a step is to be compiled that an objective's hooks take part in."""
    apart = [part for part in recipe.objective.modules() if not getattr(part, "compiles", True)]
    if settings.compile and apart:
        raise ValueError(
            f"compile: {type(apart[0]).__name__} takes or moves gradients on its way, which a compiled step would "
            "leave out; train without"
        )


def _check_settled(recipe: Recipe, settings: Settings, examples: int) -> None:
    """ValueError where all epochs go by before the model is what the recipe makes of it, or it cannot be made."""
    if recipe.settle is not None and isinstance(recipe.settle[1], ChecksExamples):
        recipe.settle[1].check(examples)
    if recipe.settle is not None and settings.epochs == ENDLESS and not isinstance(recipe.settle[0], int):
        raise ValueError(
            "minutes: this model settles after a share of its epochs; say how many, epochs=, beside minutes"
        )
    settle = None if recipe.model.trained or settings.epochs is None else recipe.settles(settings.epochs)
    if settle is not None and settings.epochs is not None and settings.epochs <= settle:
        raise ValueError(
            f"epochs: this model settles after {settle}, and {settings.epochs} leave none after that; ask for more, or "
            "build it with a smaller settle"
        )


def _trained(fabric: Fabric, job: Job) -> list[dict[str, Any]]:
    """The rows of metrics of a training, whichever way it goes; the best weights are then in the model."""
    if job.recipe.solve is not None:
        return _solve(job)
    if job.settings.devices > 1:
        return _train_many(fabric, job)
    with forked(fabric.device):
        return _train(fabric, job)


def _train(fabric: Fabric, job: Job) -> list[dict[str, Any]]:
    """One process's part of a run, from a saved state where there is one; leaves the best weights in the model."""
    recipe, data, folder, settings = job.recipe, job.data, job.folder, job.settings
    going_on = folder is not None and (folder / STATE).exists()
    starting = Budget(None, settings.clock)
    starting.begin()
    if not going_on:
        _start(recipe, data, settings.seed)
    loop = Loop(fabric, recipe, data, settings, folder, job.hooks)
    if going_on:
        restore_state(loop)
    else:
        loop.budget.before = starting.spent  # what is fitted before the first step takes its time as well
        loop.save()
    shown = reporter(job.progress if fabric.is_global_zero else False, loop.epochs, loop.steps, loop.step, loop.budget)
    asked = threading.Event()

    def stop(number: int, frame: Any) -> None:
        # A second Ctrl-C does not wait; that the first process passes a first one on to the others is no second.
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    try:
        with on_signals(stop), kept_heap() if fabric.device.type == "cpu" else nullcontext():
            loop.run(asked, shown)
    finally:
        shown.close()
        loop.history.tensorboard.close()
    loop.best.put_in_place()
    recipe.model.trained = loop.step > 0
    return loop.history.rows


def _start(recipe: Recipe, data: Data, seed: int) -> None:
    """Shows the recipe some of the examples before training, where it asks for that; the same ones in every process.

    What has been trained goes on from there: other pseudo-inputs, or another mean in front of it, would undo it.
    """
    if recipe.start is None or recipe.model.trained:
        return
    show(recipe.start, recipe, data.train, seed)


def _train_many(fabric: Fabric, job: Job) -> list[dict[str, Any]]:
    """Trains in several processes, which leave their result in a folder, and takes it up as `_train` leaves it."""
    recipe = job.recipe
    with tempfile.TemporaryDirectory() as temporary:
        place = job.folder or Path(temporary)
        in_processes(fabric, replace(job, folder=place), place)
        tensors, _ = read_tensors(place / WEIGHTS)
        load_tensors(recipe.model, tensors, place / WEIGHTS)
        recipe.model.trained = True
        take_objective(recipe.objective, place)
        recipe.model.eval()
        recipe.objective.eval()
        return read_metrics(place / METRICS)


def _solve(job: Job) -> list[dict[str, Any]]:
    """A closed-form fit: one row of metrics and the weights, as after training."""
    recipe, data, folder, settings = job.recipe, job.data, job.folder, job.settings
    assert recipe.solve is not None
    with forked(data.train.device):
        seed_generators(data.train.device, settings.seed)
        found = recipe.solve(_observed(recipe, data.train)) or {}
    values = validate(recipe.model, recipe.objective, recipe.observe, data.validation, settings.seed)
    check_validation(values, recipe.monitor)
    Best(recipe, None, folder).put_in_place()
    history = History(folder, False, job.hooks.callbacks)
    history.add({"epoch": 0, "step": 0, **found, **{f"validation_{name}": value for name, value in values.items()}})
    history.call_back()
    return history.rows


def _observed(recipe: Recipe, split: Split) -> dict[str, torch.Tensor]:
    """The values of all examples, observed, without what observing adds. Beside them a block is held: what x is made
    of may be more than memory takes."""
    whole: dict[str, torch.Tensor] = {}
    for index in torch.arange(len(split), device=split.device).split(ROWS):
        batch = split.batch(index)
        for name, part in recipe.observe(batch).items():
            if name in batch:
                whole.setdefault(name, part.new_empty(len(split), *part.shape[1:]))[index] = part
    return whole
