"""The training loop of one process: steps, validation, the best weights, the state to resume from."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.finite import NonFiniteError
from polyvae.data.seeds import NOISE, SHUFFLE, mixed, seed_generators
from polyvae.data.split import Data
from polyvae.evaluation.blocks import Blocks
from polyvae.recipes import Recipe
from polyvae.training.cpu import clear_small
from polyvae.training.ema import Average
from polyvae.training.meter import Meter, check_validation
from polyvae.training.optimizer import NONE, Hooks, build, moments, parameters_of, restore
from polyvae.training.optimizer import numbers as numbers_of
from polyvae.training.progress import Reporter
from polyvae.training.settings import Settings
from polyvae.training.state import read_state, write_state
from polyvae.training.step import Step, counting, share_of
from polyvae.training.store import (
    METRICS,
    STATE,
    WEIGHTS,
    RunError,
    copy_tensors,
    read_tensors,
    unique_tensors,
    write_metrics,
    write_tensors,
)
from polyvae.training.tensorboard import Events
from polyvae.training.validation import validate


class Loop:
    """Trains a recipe on one process of a Fabric, from where its state stands.

    `kept` is the model that is validated and kept: the trained one, or the moving average of its weights. `best` holds
    the weights of the best epoch. The shuffle of an epoch and the noise of a step depend on the seed and their number
    alone, so the state is the weights, the optimiser's moments, the epoch's sums and a few numbers.
    """

    def __init__(
        self,
        fabric: Any,
        recipe: Recipe,
        data: Data,
        settings: Settings,
        folder: Path | None,
        hooks: Hooks = NONE,
    ) -> None:
        self.fabric, self.recipe, self.settings, self.folder = fabric, recipe, settings, folder
        self.hooks = hooks
        self.train, self.validation = data.train.to(fabric.device), data.validation.to(fabric.device)
        self.plain = Step(recipe)
        if fabric.device.type != "mps":
            self.plain.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.module = fabric.setup_module(torch.compile(self.plain) if settings.compile else self.plain)
        if fabric.world_size == 1 and settings.precision == "fp32" and not settings.compile:
            self.module = self.plain  # Fabric's wrapper would look through every value of every step and change none
        optimizer = build(hooks.optimizer, self.plain, settings)
        self.parameters = parameters_of(optimizer)
        self.rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.optimizer = fabric.setup_optimizers(optimizer)
        self.average: Average | None = None
        self.kept = recipe.model
        if settings.average is not None:
            self.kept = copy.deepcopy(recipe.model).requires_grad_(False)
            self.average = Average(unique_tensors(self.kept), unique_tensors(recipe.model), settings.average)
        self.best = {name: tensor.clone() for name, tensor in unique_tensors(self.kept).items()}
        self.meter = Meter(fabric.device)
        self.slices = Blocks(settings.batch_size, alone=False).cut(len(self.train))
        self.epochs = settings.resolved(len(self.train)).epochs or 0
        self.steps = self.epochs * len(self.slices)
        self.epoch = self.batch = self.step = self.best_epoch = 0
        self.best_value, self.seconds = math.inf, 0.0
        self.history: list[dict[str, Any]] = []
        self.events = Events(folder if settings.tensorboard else None)

    def run(self, asked: Event, shown: Reporter) -> None:
        """Trains until epochs, patience or `max_steps` run out; KeyboardInterrupt once `asked`, or NonFiniteError."""
        try:
            while self.epoch < self.epochs and not self._patience_over() and self._epoch(asked, shown):
                self._close_epoch(shown)
        except NonFiniteError as error:
            kept = f"the last good state is in {self.folder}" if self.folder else "without a run folder none is kept"
            raise NonFiniteError(
                f"{error} (epoch {self.epoch + 1}); {kept}. A smaller lr, a clip or a longer warmup may help, and so "
                "may a look at the range of the data."
            ) from None

    def finish(self) -> None:
        """Puts the best weights into the model, before the first epoch's end the last ones, in evaluation mode."""
        if not self.best_epoch:
            copy_tensors(self.best, unique_tensors(self.kept), "the weights")
            self._write_weights({"epoch": 0})
        copy_tensors(unique_tensors(self.recipe.model), self.best, "the best weights")
        self.recipe.model.eval()
        self.recipe.objective.eval()

    def _epoch(self, asked: Event, shown: Reporter) -> bool:
        """The rest of an epoch's steps; False where `max_steps` ends it."""
        settings, began, saved = self.settings, time.monotonic() - self.seconds, time.monotonic()
        self.plain.train()
        generator = torch.Generator().manual_seed(mixed(settings.seed, SHUFFLE, self.epoch))
        order = torch.randperm(len(self.train), generator=generator).to(self.fabric.device)
        for place in self.slices[self.batch :]:
            if settings.max_steps is not None and self.step >= settings.max_steps:
                self.save()
                return False
            self._step(order[place])
            now = time.monotonic()
            self.seconds = now - began
            # One process decides for all: the others end when it leaves them.
            if asked.is_set() and self.fabric.is_global_zero:
                self.save()
                raise KeyboardInterrupt
            if now - saved >= settings.save_every:
                self.save()
                saved = time.monotonic()
            if self.batch < len(self.slices) and shown.due():  # the end of the epoch is shown with its validation
                shown.show(self.epoch + 1, self.step, self.meter.means(), place.stop / max(self.seconds, 1e-9))
        self._check()
        self.seconds = time.monotonic() - began
        return True

    def _step(self, index: Tensor) -> None:
        fabric, settings, count = self.fabric, self.settings, len(index)
        seed_generators(fabric.device, mixed(settings.seed, NOISE, self.step, fabric.global_rank))
        several, share = fabric.world_size > 1, count
        if several:
            index, share = share_of(index, fabric.global_rank, fabric.world_size)
        batch = self.train.batch(index)
        step = torch.full((), self.step, device=fabric.device) if settings.compile else self.step
        with counting(self.plain, share) if several else nullcontext():
            values = self.module(batch, step)
        self.meter.add(self._together(values, share / count) if several else values, count, self.step)
        # Processes average their gradients; each share counts by its size, so that the whole batch's gradient results.
        weight = share * fabric.world_size / count
        fabric.backward(values["loss"] if weight == 1 else values["loss"] * weight)
        if settings.clip is not None:
            # To refuse a gradient that is not finite would wait for the device, and fp16 scaling skips such steps.
            fabric.clip_gradients(self.plain, self.optimizer, max_norm=settings.clip, error_if_nonfinite=False)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = settings.learning_rate(self.step, self.steps, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(first=self.step == 0)
        if fabric.device.type == "cpu" and self.step % 100 == 99:
            clear_small(moments(self.optimizer).values())
        self.step += 1
        self.batch += 1

    def _together(self, values: dict[str, Tensor], share: float) -> dict[str, Tensor]:
        """The values of the whole batch, in every process the same: then the state of the first holds all sums."""
        row = torch.stack([value.detach() for value in values.values()])
        row = row * share if share else torch.zeros_like(row)  # not 0 * inf
        return dict(zip(values, self._sum(row).unbind(), strict=True))

    def _close_epoch(self, shown: Reporter) -> None:
        """Validates, keeps the weights if they are the best so far, writes metrics and state."""
        fabric, recipe, settings = self.fabric, self.recipe, self.settings
        share = fabric.global_rank, fabric.world_size
        reduce = self._sum if fabric.world_size > 1 else None
        self._share_buffers()
        values = validate(
            self.kept, recipe.objective, recipe.observe, self.validation, settings.seed, self.step, reduce, share
        )
        check_validation(values, recipe.monitor)
        self.epoch, self.batch = self.epoch + 1, 0
        value = -values["bound"] if recipe.monitor == "bound" else values[recipe.monitor]
        if not self.best_epoch or value < self.best_value:
            self.best_value, self.best_epoch = value, self.epoch
            copy_tensors(self.best, unique_tensors(self.kept), "the weights")
            self._write_weights({"epoch": self.epoch, recipe.monitor: values[recipe.monitor]})
        means = self.meter.means()
        rate = len(self.train) / max(self.seconds, 1e-9)
        row = {
            "epoch": self.epoch,
            "step": self.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(rate, 1),
            **{f"train_{name}": value for name, value in {**means, **self._epoch_values()}.items()},
            **{f"validation_{name}": value for name, value in values.items()},
        }
        self.history.append(row)
        self.meter.reset()
        self.seconds = 0.0
        shown.show(self.epoch, self.step, {**means, f"validation {recipe.monitor}": values[recipe.monitor]}, rate)
        if self.folder is not None and fabric.is_global_zero:
            write_metrics(self.folder / METRICS, self.history)
            self.events.write(row)
        self.save()
        for callback in self.hooks.callbacks if fabric.is_global_zero else ():
            callback(dict(row))

    def save(self) -> None:
        """Writes all that the next step depends on; NonFiniteError where that is no longer finite."""
        self._check()
        if self.folder is None or not self.fabric.is_global_zero:
            return
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        extra = {"names": self.meter.names, "scaler": scaler.state_dict() if scaler else None}
        if self.hooks.optimizer is not None:
            extra["optimizer"] = numbers_of(self.optimizer)
        groups = {**self._groups(), "optimizer": moments(self.optimizer), "totals": {"": self.meter.totals()}}
        write_state(self.folder / STATE, groups, {**{name: getattr(self, name) for name in NUMBERS}, **extra})

    def restore(self) -> None:
        """Continues from the saved state. Raises RunError where it is not one of this run."""
        assert self.folder is not None
        path = self.folder / STATE
        mine = self._groups()
        own = () if self.hooks.optimizer is None else ("optimizer",)
        theirs, numbers = read_state(path, (*mine, "optimizer", "totals"), (*NUMBERS, "names", "scaler", *own))
        for group, tensors in mine.items():
            copy_tensors(tensors, theirs[group], path)
        if numbers["step"]:
            restore(self.optimizer, theirs["optimizer"], numbers.get("optimizer", {}), path)
        self.meter.restore(numbers["names"], theirs["totals"][""])
        for name in NUMBERS:
            setattr(self, name, numbers[name])
        if numbers["scaler"]:
            self.fabric.strategy.precision.scaler.load_state_dict(numbers["scaler"])
        self._repair()

    def _repair(self) -> None:
        """Writes metrics and weights again where what lies beside the state is not what it holds."""
        if self.folder is None or not self.best_epoch or not self.fabric.is_global_zero:
            return
        write_metrics(self.folder / METRICS, self.history)
        try:
            read_tensors(self.folder / WEIGHTS)
        except RunError:
            monitored = -self.best_value if self.recipe.monitor == "bound" else self.best_value
            self._write_weights({"epoch": self.best_epoch, self.recipe.monitor: monitored})

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of the state, by what they belong to, but for the optimiser's."""
        average = {} if self.average is None else {"average": unique_tensors(self.kept)}
        return {"step": unique_tensors(self.plain), **average, "best": self.best}

    def _check(self) -> None:
        """Reads what waits on the device; NonFiniteError where the loss or a weight is not finite."""
        self.meter.read()
        tensors = [*unique_tensors(self.plain).values(), *moments(self.optimizer).values()]
        if not torch.stack([tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point()]).all():
            raise NonFiniteError(f"after {self.step} steps the weights are not finite, though the loss was")

    def _epoch_values(self) -> dict[str, float]:
        """What parts of the model or objective tell of the epoch; `epoch_values` also starts their next one."""
        found: dict[str, float] = {}
        for module in self.plain.modules():
            tell: Callable[[], dict[str, float]] | None = getattr(module, "epoch_values", None)
            if tell is not None:
                found |= tell()
        return found

    def _patience_over(self) -> bool:
        return self.settings.patience is not None and self.epoch - self.best_epoch >= self.settings.patience

    def _share_buffers(self) -> None:
        """Gives every process the buffers of the first, as each step does before it, so that all validate one model."""
        if self.fabric.world_size > 1:
            for module in (self.plain, self.kept):  # in the same order in every process
                for buffer in module.buffers():
                    torch.distributed.broadcast(buffer, 0)

    def _sum(self, tensor: Tensor) -> Tensor:
        return self.fabric.all_reduce(tensor.to(self.fabric.device), reduce_op="sum")

    def _write_weights(self, metadata: dict[str, Any]) -> None:
        if self.folder is not None and self.fabric.is_global_zero:
            write_tensors(self.folder / WEIGHTS, self.best, metadata)


NUMBERS = ("epoch", "batch", "step", "best_epoch", "best_value", "seconds", "history")
