"""The training loop of one process: its steps and epochs, each with its validation."""

from __future__ import annotations

import time
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.checks.finite import NonFiniteError
from polyvae.data.seeds import NOISE, SHUFFLE, mixed, seed_generators
from polyvae.data.split import Data
from polyvae.evaluation.blocks import Blocks
from polyvae.recipes import Recipe
from polyvae.training.best import Best
from polyvae.training.budget import Budget
from polyvae.training.cpu import clear_small
from polyvae.training.groups import clips, groups_of
from polyvae.training.history import History
from polyvae.training.hooks import NONE, Hooks
from polyvae.training.meter import Meter, TrainingNote, check_validation, epoch_values, watches
from polyvae.training.optimizer import build, moments, parameters_of
from polyvae.training.progress import Reporter
from polyvae.training.resume import save_state
from polyvae.training.settings import Settings
from polyvae.training.sharing import counting, share_buffers, share_of, summed, whole_batch
from polyvae.training.starting import rows_of, show
from polyvae.training.step import Step
from polyvae.training.store import unique_tensors
from polyvae.training.validation import validate


class Loop:
    """Trains a recipe on one process of a Fabric, from where its state stands.

    `epoch`, `batch` and `step` count what is done, `seconds` the time of the epoch so far. The first of several
    processes writes for all.
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
        groups = groups_of(self.plain)
        self.clips = clips(groups, settings.clip)
        optimizer = build(hooks.optimizer, groups, settings)
        self.parameters = parameters_of(optimizer)
        self.rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.optimizer = fabric.setup_optimizers(optimizer)
        first = fabric.is_global_zero
        self.best = Best(recipe, settings.average, folder if first else None)
        self.history = History(folder if first else None, settings.tensorboard, hooks.callbacks if first else ())
        self.meter = Meter(fabric.device)
        self.rows = rows_of(recipe, self.train)
        self.slices = Blocks(settings.batch_size, alone=False).cut(len(self.rows))
        self.epochs = settings.resolved(len(self.train)).epochs or 0
        self.steps = self.epochs * len(self.slices)
        self.settles = None if recipe.model.trained else recipe.settles(self.epochs)
        self.settled: int | None = None  # after how many epochs it did
        self.epoch = self.batch = self.step = 0
        self.seconds = 0.0
        self.budget = Budget(settings.minutes, settings.clock)

    def run(self, asked: Event, shown: Reporter) -> None:
        """Trains until epochs, minutes, patience or `max_steps` run out; KeyboardInterrupt once `asked`, or
        NonFiniteError."""
        self.budget.begin()
        try:
            while self._left and self._epoch(asked, shown):
                self._close_epoch(shown)
        except NonFiniteError as error:
            kept = f"the last good state is in {self.folder}" if self.folder else "without a run folder none is kept"
            raise NonFiniteError(
                f"{error} (epoch {self.epoch + 1}); {kept}. A smaller lr, a clip or a longer warmup may help, and so "
                "may a look at the range of the data."
            ) from None
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                "batch_size is at least 2 for a network that normalises by the statistics of a batch; "
                f"got {self.settings.batch_size}"
            ) from error

    @property
    def _left(self) -> bool:
        return self.epoch < self.epochs and not self.budget.over and not self._patience_over()

    def _epoch(self, asked: Event, shown: Reporter) -> bool:
        """The rest of an epoch's steps, or those for which there is time; False where `max_steps` ends it."""
        settings, began, saved = self.settings, time.monotonic() - self.seconds, time.monotonic()
        due = self.settles is not None and self.settled is None and self.batch == 0 and self.epoch >= self.settles
        if due and not self._spent:
            self._settle()
        self.plain.train()
        generator = torch.Generator().manual_seed(mixed(settings.seed, SHUFFLE, self.epoch))
        order = self.rows[torch.randperm(len(self.rows), generator=generator)].to(self.fabric.device)
        for place in self.slices[self.batch :]:
            if self._spent:
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
            if self.budget.over:
                break
            if self.batch < len(self.slices) and shown.due():  # the end of the epoch is shown with its validation
                shown.show(self.epoch + 1, self.step, self.meter.means(), place.stop / max(self.seconds, 1e-9))
        self._check()
        self.seconds = time.monotonic() - began
        return True

    @property
    def _spent(self) -> bool:
        """Whether `max_steps` leaves no step."""
        return self.settings.max_steps is not None and self.step >= self.settings.max_steps

    def _settle(self) -> None:
        """Makes another model of the one so far, with which no epoch before compares."""
        assert self.recipe.settle is not None
        self.plain.eval()
        show(self.recipe.settle[1], self.recipe, self.train, self.settings.seed)
        self.settled = self.epoch
        self.best.forget()
        if self.best.average is not None:
            self.best.average.update(first=True)

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
        self.meter.add(whole_batch(fabric, values, share / count) if several else values, count, self.step)
        # Processes average their gradients; each share counts by its size, so that the whole batch's gradient results.
        weight = share * fabric.world_size / count
        fabric.backward(values["loss"] if weight == 1 else values["loss"] * weight)
        if self.clips:
            fabric.strategy.precision.unscale_gradients(self.optimizer.optimizer)
        for parameters, largest in self.clips:
            # To refuse a gradient that is not finite would wait for the device, and fp16 scaling skips such steps.
            nn.utils.clip_grad_norm_(parameters, largest)
        spent = self.budget.share
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = settings.learning_rate(self.step, self.steps, rate, spent)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.best.average is not None:
            self.best.average.update(first=self.step == 0)
        if fabric.device.type == "cpu" and self.step % 100 == 99:
            clear_small(moments(self.optimizer).values())
        self.step += 1
        self.batch += 1

    def _close_epoch(self, shown: Reporter) -> None:
        """Validates, keeps the weights if they are the best so far, writes metrics and state."""
        values, examples = self._validated(), self.slices[self.batch - 1].stop
        self.epoch, self.batch = self.epoch + 1, 0
        self.best.take(self.epoch, values)
        means, monitor = self.meter.means(), self.recipe.monitor
        rate = examples / max(self.seconds, 1e-9)
        row = {
            "epoch": self.epoch,
            "step": self.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(rate, 1),
            **{f"train_{name}": value for name, value in {**means, **epoch_values(self.plain)}.items()},
            **{f"validation_{name}": value for name, value in values.items()},
        }
        if self.settles is not None:
            row["settled"] = int(self.settled is not None)
        self.meter.reset()
        self.seconds = 0.0
        shown.show(self.epoch, self.step, {**means, f"validation {monitor}": values[monitor]}, rate)
        self.history.add(row)
        if self.fabric.is_global_zero:
            self._warn()
        self.save()
        self.history.call_back()

    def _warn(self) -> None:
        """Says what a term finds wrong with its validation values so far, when it first does."""
        for name, watching in watches(self.recipe.objective).items():
            means = [row[f"validation_{name}"] for row in self.history.rows]
            found = watching.wrong(means)
            if found is not None and watching.wrong(means[:-1]) is None:
                warnings.warn(f"epoch {self.epoch}: {found}", TrainingNote, stacklevel=2)

    def _validated(self) -> dict[str, float]:
        """The validation values, the same in every process. Raises NonFiniteError."""
        fabric, recipe = self.fabric, self.recipe
        reduce, share = None, (fabric.global_rank, fabric.world_size)
        if fabric.world_size > 1:
            share_buffers(self.plain, self.best.model)
            reduce = partial(summed, fabric)
        values = validate(
            self.best.model,
            recipe.objective,
            recipe.observe,
            self.validation,
            self.settings.seed,
            self.step,
            reduce,
            share,
        )
        check_validation(values, recipe.monitor)
        return values

    def save(self) -> None:
        """Writes all that the next step depends on; NonFiniteError where that is no longer finite."""
        self._check()
        if self.folder is not None and self.fabric.is_global_zero:
            save_state(self)

    def _check(self) -> None:
        """Reads what waits on the device; NonFiniteError where the loss or a weight is not finite."""
        self.meter.read()
        known = [*unique_tensors(self.plain).values(), *moments(self.optimizer).values()]
        tensors = [tensor for tensor in known if tensor.is_floating_point()]
        # A finite sum has finite terms and is the cheaper to ask for; that of large finite ones may overflow.
        if not torch.stack([tensor.sum().isfinite() for tensor in tensors]).all() and not all(
            bool(tensor.isfinite().all()) for tensor in tensors
        ):
            raise NonFiniteError(f"after {self.step} steps the weights are not finite, though the loss was")

    def _patience_over(self) -> bool:
        if self.settings.patience is None or (self.settles is not None and self.settled is None):
            return False
        return self.epoch - max(self.best.epoch, self.settled or 0) >= self.settings.patience
