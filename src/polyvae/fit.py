"""Training: the loop, and the only file that knows Lightning Fabric."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from polyvae.data.split import Data, wrap
from polyvae.loop import Loop
from polyvae.progress import reporter
from polyvae.recipes import Recipe, named
from polyvae.settings import PRECISIONS, Settings
from polyvae.store import (
    DESCRIPTION,
    METRICS,
    STATE,
    WEIGHTS,
    Run,
    RunError,
    describe,
    load_tensors,
    read_description,
    read_metrics,
    read_tensors,
    unique_tensors,
    write_description,
    write_metrics,
    write_tensors,
)
from polyvae.validation import validate


def fit(
    recipe: Recipe | str,
    data: Any,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool | None = None,
    **settings: Any,
) -> Run:
    """Trains a recipe and returns the run with its best weights in place.

    `recipe`: a recipe, or the name of one, whose weights the seed then decides. `data`: a `Data`, or any tensor, array,
    pair (x, y), Dataset or DataLoader, of which a tenth is set aside for validation. `run`: a folder for weights, metrics
    and the state to resume from; without one everything stays in memory. `resume`: go on with the run in that folder,
    exactly as if it had not stopped. `progress`: None shows a bar on a terminal. `settings`: those of `Settings`.

    The best epoch is the one with the largest plain bound on the validation part (or the smallest value of the term that
    the recipe monitors). Ctrl-C saves the state, then raises KeyboardInterrupt.

    Raises RunError for a folder that holds another run, ValueError for a bad setting, NonFiniteError where the loss is not
    finite.
    """
    chosen = Settings(**settings)
    data = wrap(data)
    if isinstance(recipe, str):
        recipe = named(recipe)(data.spec, seed=chosen.seed)
    folder = None if run is None else Path(run)
    if recipe.solve is None and not any(p.requires_grad for p in recipe.model.parameters()):
        raise ValueError("the model has no parameter to train")
    _check_batch(recipe, data)
    description = describe(recipe, {"name": data.name, "call": dict(data.call)}, asdict(chosen))
    if folder is not None:
        description = _open(folder, description, chosen, resume)
    if recipe.solve is not None:
        return _solve(recipe, data, folder, description, chosen)
    if chosen.devices > 1:
        return _fit_many(recipe, data, folder, description, chosen, progress)
    with torch.random.fork_rng():
        torch.manual_seed(chosen.seed)
        history = _train(_fabric(chosen), recipe, data, folder, chosen, progress)
    return Run(recipe, folder, history, description)


def _train(
    fabric: Fabric, recipe: Recipe, data: Data, folder: Path | None, settings: Settings, progress: bool | None
) -> list[dict[str, Any]]:
    """One process's part of a run, from a saved state where there is one; leaves the best weights in the model."""
    loop = Loop(fabric, recipe, data, settings, folder)
    if folder is not None and (folder / STATE).exists():
        loop.restore()
    else:
        loop.save()
    shown = reporter(
        progress if fabric.is_global_zero else False, settings.epochs, settings.epochs * loop.batches, loop.step
    )
    try:
        with _stopping() as asked:
            loop.run(asked, shown)
    finally:
        shown.close()
    loop.finish()
    return loop.history


def _fit_many(
    recipe: Recipe, data: Data, folder: Path | None, description: dict[str, Any], settings: Settings, progress: bool | None
) -> Run:
    """Trains in several processes, which leave their result in a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        _fabric(settings, "ddp_spawn").launch(_process, recipe, data, place, settings, progress)
        tensors, _ = read_tensors(place / WEIGHTS)
        load_tensors(recipe.model, tensors, place / WEIGHTS)
        recipe.model.eval()
        return Run(recipe, folder, read_metrics(place / METRICS), description)


def _process(
    fabric: Fabric, recipe: Recipe, data: Data, folder: Path, settings: Settings, progress: bool | None
) -> None:
    torch.manual_seed(settings.seed + fabric.global_rank)
    _train(fabric, recipe, data, folder, settings, progress)


def _solve(
    recipe: Recipe, data: Data, folder: Path | None, description: dict[str, Any], settings: Settings
) -> Run:
    """A closed-form fit: one row of metrics and the weights, as after training."""
    assert recipe.solve is not None
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        recipe.solve(recipe.observe(data.train.batch(torch.arange(len(data.train))))["x"])
    recipe.model.eval()
    values = validate(recipe.model, recipe.objective, recipe.observe, data.validation, settings.seed)
    history = [{"epoch": 0, "step": 0, **{f"validation_{name}": value for name, value in values.items()}}]
    if folder is not None:
        write_tensors(folder / WEIGHTS, unique_tensors(recipe.model), {"epoch": 0})
        write_metrics(folder / METRICS, history)
    return Run(recipe, folder, history, description)


def _open(folder: Path, description: dict[str, Any], settings: Settings, resume: bool) -> dict[str, Any]:
    """Starts a run folder, or checks that it holds the same run."""
    if not (folder / DESCRIPTION).exists():
        if folder.exists() and (not folder.is_dir() or any(path.name[0] != "." for path in folder.iterdir())):
            raise RunError(f"{folder} holds other files; choose an empty or a new folder for the run")
        try:
            write_description(folder, description)
        except OSError as error:
            raise RunError(f"{folder} cannot be written ({error}); choose another folder for the run") from error
        return description
    if not resume:
        raise RunError(f"{folder} already holds a run; resume it, or choose another folder")
    recorded = read_description(folder)
    differences = settings.differences(recorded["settings"])
    for part in ("recipe", "data"):
        if recorded[part] != description[part]:
            differences.append(f"{part}: {recorded[part]} then, {description[part]} now")
    if differences:
        raise RunError(f"{folder} holds another run and cannot be resumed with these: {'; '.join(differences)}")
    return recorded


def _check_batch(recipe: Recipe, data: Data) -> None:
    """Refuses data of which the model needs a value that they do not have."""
    with torch.random.fork_rng():
        first = data.train.batch(torch.zeros(1, dtype=torch.int64, device=data.train.device))
        try:
            held = recipe.observe(first)
        except KeyError as error:
            raise ValueError(f"the recipe transforms {error}, the data hold {sorted(first)}") from None
    if missing := [name for name in recipe.model.inputs if name not in held]:
        raise ValueError(f"the model needs {missing}, the data hold {sorted(held)}")


def _fabric(settings: Settings, strategy: str = "auto") -> Fabric:
    return Fabric(
        accelerator=settings.device,
        devices=settings.devices,
        strategy=strategy,
        precision=PRECISIONS[settings.precision],
    )


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Within it, the first Ctrl-C or termination signal sets the event instead of interrupting; a second one interrupts."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def stop(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


