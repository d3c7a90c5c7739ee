"""Training: the loop, and the only file that knows Lightning Fabric."""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch.multiprocessing.spawn import ProcessRaisedException

from polyvae.core import VAE
from polyvae.data.split import Data, permutation, wrap
from polyvae.events import check_tensorboard
from polyvae.files import write_text
from polyvae.loop import Loop, Step
from polyvae.meter import NonFiniteError, check_validation
from polyvae.optimizer import Callback, Factory, Hooks, checked_hooks, recorded
from polyvae.processor import kept_heap
from polyvae.progress import reporter
from polyvae.recipes import Recipe, named
from polyvae.run import Run
from polyvae.seeds import forked, seed_generators
from polyvae.settings import PRECISIONS, Settings, checked
from polyvae.store import (
    DESCRIPTION,
    METRICS,
    STATE,
    WEIGHTS,
    RunError,
    describe,
    load_tensors,
    part_differences,
    read_description,
    read_metrics,
    read_tensors,
    unique_tensors,
    write_description,
    write_metrics,
    write_tensors,
)
from polyvae.support import check_support
from polyvae.trial import as_recipe, tried
from polyvae.validation import validate

FAILURE = ".failure.json"
STARTING = 4096  # examples that a recipe may look at before the first step
FAILURES: dict[str, type[Exception]] = {kind.__name__: kind for kind in (NonFiniteError, RunError, ValueError)}


def fit(
    recipe: Recipe | VAE | str,
    data: Any,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool | None = None,
    optimizer: Factory | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Run:
    """Trains a recipe and returns the run with its best weights in place.

    `recipe`: a recipe, a VAE, which is trained by the plain bound, or the name of a recipe, whose weights the seed then
    decides. `data`: a `Data`, or any tensor, array, DataFrame, pair (x, y), Dataset or DataLoader, of which a tenth is
    set aside for validation. `run`: a folder for weights, metrics and the state to resume from; without one everything
    stays in memory. `resume`: go on with the run in that folder, exactly as if it had not stopped. `progress`: None
    shows a bar on a terminal. `optimizer`: a class of `torch.optim`, made with the setting `lr`, or a function that
    makes one of a list of parameters and sets its numbers itself; AdamW where none is given. Schedule and warm-up move
    its learning rates. `callbacks`: functions called with each epoch's row of metrics, a dict of their own, once its
    state is saved; what one raises ends the run. `settings`: those of `Settings`.

    The best epoch is the one with the largest plain bound on the validation part (or the smallest value of the term
    that the recipe monitors). Ctrl-C saves the state, then raises KeyboardInterrupt.

    Raises RunError for a folder that holds another run or cannot be written, ValueError for a bad setting, data that
    the model cannot read or a part that does not fit, by its name, TypeError for an unknown setting or what is no
    recipe, NonFiniteError where the loss is not finite.
    """
    chosen = checked(settings)
    hooks = checked_hooks(optimizer, callbacks, settings, chosen.devices)
    folder = None if run is None else Path(run)
    if folder is None and (resume or chosen.tensorboard):
        raise ValueError("resume and tensorboard need a run folder")
    if chosen.tensorboard:
        check_tensorboard()
    data = wrap(data)
    chosen = chosen.resolved(len(data.train))
    recipe = as_recipe(recipe, lambda name: named(name)(data.spec, seed=chosen.seed))
    if recipe.solve is None and not any(p.requires_grad for p in recipe.model.parameters()):
        raise ValueError("the model has no parameter to train")
    tried(recipe, data, chosen.seed)
    check_support(recipe, data)
    description = describe(recipe, data, asdict(chosen))
    if recipe.solve is None:
        description["optimizer"] = recorded(hooks.optimizer, Step(recipe), chosen)
    if folder is not None:
        description = _open(folder, description, chosen, resume, recipe.solve is not None)
    if recipe.solve is not None:
        return _solve(recipe, data, folder, description, chosen, hooks)
    if chosen.devices > 1:
        return _fit_many(recipe, data, folder, description, chosen, progress, hooks)
    fabric = _fabric(chosen)
    with forked(fabric.device):
        history = _train(fabric, recipe, data, folder, chosen, progress, hooks)
    return Run(recipe, folder, history, description)


def _train(
    fabric: Fabric,
    recipe: Recipe,
    data: Data,
    folder: Path | None,
    settings: Settings,
    progress: bool | None,
    hooks: Hooks,
) -> list[dict[str, Any]]:
    """One process's part of a run, from a saved state where there is one; leaves the best weights in the model."""
    going_on = folder is not None and (folder / STATE).exists()
    if not going_on:
        _start(recipe, data, settings.seed)
    loop = Loop(fabric, recipe, data, settings, folder, hooks)
    if going_on:
        loop.restore()
    else:
        loop.save()
    shown = reporter(progress if fabric.is_global_zero else False, loop.epochs, loop.steps, loop.step)
    asked = threading.Event()

    def stop(number: int, frame: Any) -> None:
        # A second Ctrl-C does not wait; that the first process passes a first one on to the others is no second.
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    try:
        with _on_signals(stop), kept_heap() if fabric.device.type == "cpu" else nullcontext():
            loop.run(asked, shown)
    finally:
        shown.close()
        loop.events.close()
    loop.finish()
    return loop.history


def _start(recipe: Recipe, data: Data, seed: int) -> None:
    """Shows the recipe some of the examples before training, where it asks for that; the same ones in every process."""
    if recipe.start is None:
        return
    chosen = permutation(len(data.train), seed)[:STARTING].to(data.train.device)
    with forked(data.train.device), torch.no_grad():
        seed_generators(data.train.device, seed)
        recipe.start(recipe.observe(data.train.batch(chosen)))


def _fit_many(
    recipe: Recipe,
    data: Data,
    folder: Path | None,
    description: dict[str, Any],
    settings: Settings,
    progress: bool | None,
    hooks: Hooks,
) -> Run:
    """Trains in several processes, which leave their result in a folder."""
    before = set(multiprocessing.active_children())
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        (place / FAILURE).unlink(missing_ok=True)
        try:
            with _on_signals(_interrupt):
                _fabric(settings, "ddp_spawn").launch(_Process(recipe, data, place, settings, progress, hooks))
        except KeyboardInterrupt:
            _end(set(multiprocessing.active_children()) - before)
            raise
        except ProcessRaisedException:
            _raise_failure(place / FAILURE)
            raise
        tensors, _ = read_tensors(place / WEIGHTS)
        load_tensors(recipe.model, tensors, place / WEIGHTS)
        recipe.model.eval()
        recipe.objective.eval()
        return Run(recipe, folder, read_metrics(place / METRICS), description)


class _Process:
    """One of several processes; what it raises for a user to read reaches the first one by a file."""

    def __init__(self, *given: Any) -> None:
        """What `_train` takes after a Fabric."""
        self.given = given

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrives in the new process, before Fabric would announce it in five lines."""
        self.__dict__.update(state)
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

    def __call__(self, fabric: Fabric) -> None:
        # Tensors cross to another process as memory shared with it: each process needs weights of its own.
        recipe, _, folder, *_ = self.given
        for module in (recipe.model, recipe.objective):
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data = tensor.data.clone()
        try:
            _train(fabric, *self.given)
            # Together, or the one that ends last finds its connection gone and aborts.
            fabric.barrier()
            torch.distributed.destroy_process_group()
        except tuple(FAILURES.values()) as error:
            write_text(folder / FAILURE, json.dumps([type(error).__name__, str(error)]))
            raise


def _raise_failure(path: Path) -> None:
    if path.exists():
        kind, message = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        raise FAILURES.get(kind, ValueError)(message) from None


def _end(processes: set[Any], patience: float = 60.0) -> None:
    """Asks processes to stop, which the first one does once its state is saved; ends those that do not."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _solve(
    recipe: Recipe, data: Data, folder: Path | None, description: dict[str, Any], settings: Settings, hooks: Hooks
) -> Run:
    """A closed-form fit: one row of metrics and the weights, as after training."""
    assert recipe.solve is not None
    with forked(data.train.device):
        seed_generators(data.train.device, settings.seed)
        recipe.solve(recipe.observe(data.train.batch(torch.arange(len(data.train), device=data.train.device)))["x"])
    recipe.model.eval()
    values = validate(recipe.model, recipe.objective, recipe.observe, data.validation, settings.seed)
    check_validation(values, recipe.monitor)
    history = [{"epoch": 0, "step": 0, **{f"validation_{name}": value for name, value in values.items()}}]
    if folder is not None:
        write_tensors(folder / WEIGHTS, unique_tensors(recipe.model), {"epoch": 0})
        write_metrics(folder / METRICS, history)
    for callback in hooks.callbacks:
        callback(dict(history[0]))
    return Run(recipe, folder, history, description)


def _open(folder: Path, description: dict[str, Any], settings: Settings, resume: bool, closed: bool) -> dict[str, Any]:
    """Starts a run folder, or checks that it holds the same run."""
    if not (folder / DESCRIPTION).exists():
        if folder.exists() and (not folder.is_dir() or any(path.name[0] != "." for path in folder.iterdir())):
            raise RunError(f"{folder} holds other files; choose an empty or a new folder for the run")
        write_description(folder, description)
        return description
    if not resume:
        raise RunError(f"{folder} already holds a run; resume it, or choose another folder")
    if (folder / WEIGHTS).exists() and not (folder / STATE).exists() and not closed:
        raise RunError(f"{folder} was saved without the state to resume from; train again in another folder")
    recorded = read_description(folder)
    differences = settings.differences(recorded["settings"])
    for part in ("recipe", "data"):
        if recorded.get(part) != description[part]:
            differences.append(f"{part}: {recorded.get(part)} then, {description[part]} now")
    differences += part_differences(recorded, description)
    if differences:
        raise RunError(f"{folder} holds another run and cannot be resumed with these: {'; '.join(differences)}")
    for pattern in (".*.part", ".tmp??????"):  # half written, by us or by safetensors, when the run was killed
        for left in folder.glob(pattern):
            left.unlink(missing_ok=True)
    if recorded["settings"] != description["settings"]:
        recorded["settings"] = description["settings"]
        write_description(folder, recorded)
    return recorded


def _fabric(settings: Settings, strategy: str = "auto") -> Fabric:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "auto": True}
    if not available[settings.device]:
        raise ValueError(
            f"this machine has no {settings.device} device; take {' or '.join(n for n in available if available[n])}"
        )
    if settings.precision == "fp16" and not any(
        available[n] for n in ("cuda", "mps") if settings.device in (n, "auto")
    ):
        raise ValueError("fp16 needs a GPU; on a CPU take bf16 or fp32")
    precision = PRECISIONS[settings.precision]
    given: dict[str, Any] = {"precision": precision}
    if settings.precision != "fp32":
        usual = next(name for name in ("mps", "cuda", "cpu") if available[name])
        given = {"plugins": [_Mixed(precision, usual if settings.device == "auto" else settings.device)]}
    return Fabric(accelerator=settings.device, devices=settings.devices, strategy=strategy, **given)


class _Mixed(MixedPrecision):
    """Half precision where autocast chooses it; a batch stays as it is.

    Rounded to eight bits, grey values and codes would be others, and every density would be that of other data.
    """

    def convert_input(self, data: Any) -> Any:
        return data


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


@contextmanager
def _on_signals(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Within it, Ctrl-C and the termination signal are handled by `handle`; only the main thread can be asked."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
