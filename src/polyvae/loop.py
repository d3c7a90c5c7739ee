"""The training loop of one process: steps, validation, the best weights, the state to resume from."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from polyvae.core import Values
from polyvae.data.split import Data
from polyvae.meter import Meter, NonFiniteError
from polyvae.progress import Reporter
from polyvae.recipes import Recipe
from polyvae.settings import Settings
from polyvae.store import METRICS, STATE, WEIGHTS, load_tensors, read_tensors, unique_tensors, write_metrics, write_tensors
from polyvae.validation import validate


class Step(nn.Module):
    """What one training step computes: the observed batch through model and objective."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.model = recipe.model
        self.objective = recipe.objective
        self.observe = recipe.observe

    def forward(self, batch: Values, step: int | Tensor) -> dict[str, Tensor]:
        return self.objective(self.model, self.observe(batch), step)


class Loop:
    """Trains a recipe on one process of a Fabric, from where its state stands.

    `kept` is the model that is validated and kept: the trained one, or the moving average of its weights. `best` holds
    the weights of the best epoch. The shuffle of an epoch and the noise of a step depend on the seed and their number
    alone, so the state is the weights, the optimiser's moments, the epoch's sums and a few numbers.
    """

    def __init__(self, fabric: Any, recipe: Recipe, data: Data, settings: Settings, folder: Path | None) -> None:
        self.fabric, self.recipe, self.settings, self.folder = fabric, recipe, settings, folder
        self.train, self.validation = data.train.to(fabric.device), data.validation.to(fabric.device)
        self.plain = Step(recipe)
        if fabric.device.type != "mps":
            self.plain.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.module = fabric.setup_module(torch.compile(self.plain) if settings.compile else self.plain)
        self.parameters = [p for p in self.plain.parameters() if p.requires_grad]
        # A fused step unscales fp16 gradients by itself, which leaves nothing to clip in between.
        fused = not (settings.precision == "fp16" and settings.clip is not None)
        optimizer = torch.optim.AdamW(self.parameters, settings.lr, weight_decay=settings.weight_decay, fused=fused)
        self.optimizer = fabric.setup_optimizers(optimizer)
        self.kept = recipe.model if settings.average is None else copy.deepcopy(recipe.model).requires_grad_(False)
        self.best = {name: tensor.clone() for name, tensor in unique_tensors(self.kept).items()}
        self.meter = Meter(fabric.device)
        self.batches = math.ceil(len(self.train) / settings.batch_size)
        self.epoch = self.batch = self.step = self.best_epoch = 0
        self.best_value, self.seconds = math.inf, 0.0
        self.history: list[dict[str, Any]] = []

    def run(self, asked: Event, shown: Reporter) -> None:
        """Trains until the epochs are done, or patience or `max_steps` runs out; KeyboardInterrupt once `asked` to stop."""
        while self.epoch < self.settings.epochs and not self._patience_over():
            if not self._epoch(asked, shown):
                return
            self._close_epoch()

    def finish(self) -> None:
        """Puts the best weights into the model and leaves it in evaluation mode."""
        if self.best_epoch:
            load_tensors(self.recipe.model, self.best, "the best weights")
        self.recipe.model.eval()

    def _epoch(self, asked: Event, shown: Reporter) -> bool:
        """The rest of an epoch's steps; False where `max_steps` ends it."""
        settings, began, saved = self.settings, time.monotonic() - self.seconds, time.monotonic()
        self.plain.train()
        for index in self._order().split(settings.batch_size)[self.batch :]:
            if settings.max_steps is not None and self.step >= settings.max_steps:
                self.save()
                return False
            self._step(index)
            now = time.monotonic()
            self.seconds = now - began
            if asked.is_set():
                self.save()
                raise KeyboardInterrupt
            if now - saved >= settings.save_every:
                self.save()
                saved = time.monotonic()
            if shown.due():
                done = self.batch * settings.batch_size
                shown.show(self.epoch + 1, self.step, self.meter.means(), done / max(self.seconds, 1e-9))
        self._check()
        return True

    def _step(self, index: Tensor) -> None:
        fabric, settings, count = self.fabric, self.settings, len(index)
        torch.manual_seed((settings.seed * 1_000_003 + self.step) * 1_009 + fabric.global_rank)
        if fabric.world_size > 1:
            index = index[fabric.global_rank :: fabric.world_size]
        share = len(index)
        batch = self.train.batch(index if share else torch.zeros(1, dtype=torch.int64, device=fabric.device))
        step = torch.full((), self.step, device=fabric.device) if settings.compile else self.step
        values = self.module(batch, step)
        try:
            self.meter.add(values, share, self.step)
        except NonFiniteError as error:
            self._explain(error)
        # Processes average their gradients; each share counts by its size, so that the whole batch's gradient results.
        weight = share * fabric.world_size / count
        fabric.backward(values["loss"] if weight == 1 else values["loss"] * weight)
        if settings.clip is not None:
            # To refuse a gradient that is not finite would wait for the device, and fp16 scaling skips such steps.
            fabric.clip_gradients(self.plain, self.optimizer, max_norm=settings.clip, error_if_nonfinite=False)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate(self.step, settings.epochs * self.batches)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if settings.average is not None:
            self._average(settings.average)
        self.step += 1
        self.batch += 1

    def _close_epoch(self) -> None:
        """Validates, keeps the weights if they are the best so far, writes metrics and state."""
        self.epoch, self.batch = self.epoch + 1, 0
        recipe, share = self.recipe, (self.fabric.global_rank, self.fabric.world_size)
        values = validate(
            self.kept, recipe.objective, recipe.observe, self.validation, self.settings.seed, self.step, share, self._sum
        )
        value = -values["bound"] if recipe.monitor == "bound" else values[recipe.monitor]
        if not self.best_epoch or value < self.best_value or math.isnan(self.best_value):
            self.best_value, self.best_epoch = value, self.epoch
            for name, tensor in unique_tensors(self.kept).items():
                self.best[name].copy_(tensor)
            self._write(WEIGHTS, self.best, {"epoch": self.epoch, recipe.monitor: values[recipe.monitor]})
        row = {
            "epoch": self.epoch,
            "step": self.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": round(self.seconds, 3),
            "examples_per_second": round(len(self.train) / max(self.seconds, 1e-9), 1),
            **{f"train_{name}": value for name, value in self.meter.means(self._sum).items()},
            **{f"validation_{name}": value for name, value in values.items()},
        }
        self.history.append(row)
        self.meter.reset()
        self.seconds = 0.0
        if self.folder is not None and self.fabric.is_global_zero:
            write_metrics(self.folder / METRICS, self.history)
            if self.settings.tensorboard:
                _write_events(self.folder, row)
        self.save()

    def save(self) -> None:
        """Writes all that the next step depends on; NonFiniteError where that is no longer finite."""
        self._check()
        if self.folder is None:
            return
        tensors = {f"step.{name}": tensor for name, tensor in unique_tensors(self.plain).items()}
        for place, parameter in enumerate(self.parameters):
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in moments.items()}
        if self.settings.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in unique_tensors(self.kept).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors["totals"] = self.meter.totals
        numbers = {name: getattr(self, name) for name in NUMBERS}
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        extra = {"names": self.meter.names, "scaler": scaler.state_dict() if scaler else None}
        self._write(STATE, tensors, {**numbers, **extra})

    def restore(self) -> None:
        """Continues from the saved state; the memory layout of every tensor is the fresh one's."""
        assert self.folder is not None
        path = self.folder / STATE
        tensors, numbers = read_tensors(path)
        groups: dict[str, dict[str, Tensor]] = {"step": {}, "optimizer": {}, "average": {}, "best": {}, "totals": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = tensor
        load_tensors(self.plain, groups["step"], path)
        for name, tensor in groups["optimizer"].items():
            place, _, moment = name.partition(".")
            parameter = self.parameters[int(place)]
            fresh = torch.zeros_like(parameter) if tensor.shape == parameter.shape else torch.zeros_like(tensor)
            # Adam counts its steps in a scalar that a fused step wants beside the parameter.
            fresh = fresh.to(parameter.device)
            self.optimizer.state[parameter][moment] = fresh.copy_(tensor)
        if self.settings.average is not None:
            load_tensors(self.kept, groups["average"], path)
        for name, tensor in groups["best"].items():
            self.best[name].copy_(tensor)
        self.meter.restore(numbers["names"], groups["totals"][""])
        for name in NUMBERS:
            setattr(self, name, numbers[name])
        if numbers["scaler"]:
            self.fabric.strategy.precision.scaler.load_state_dict(numbers["scaler"])

    def _check(self) -> None:
        try:
            self.meter.check()
            if not torch.stack([parameter.detach().isfinite().all() for parameter in self.parameters]).all():
                raise NonFiniteError(f"after step {self.step - 1} the weights are not finite, though the loss was")
        except NonFiniteError as error:
            self._explain(error)

    def _explain(self, error: NonFiniteError) -> None:
        kept = f"the last good state is kept in {self.folder}" if self.folder else "no run folder was given to keep a state"
        raise NonFiniteError(
            f"{error} (epoch {self.epoch + 1}); {kept}. A smaller lr, a clip or a longer warmup may help, and so may a "
            "look at the range of the data."
        ) from None

    def _average(self, decay: float) -> None:
        kept, now = unique_tensors(self.kept), unique_tensors(self.recipe.model)
        if self.step == 0:
            load_tensors(self.kept, now, "the weights")
            return
        moving = [name for name, tensor in kept.items() if tensor.is_floating_point()]
        with torch.no_grad():
            get_ema_multi_avg_fn(decay)([kept[n] for n in moving], [now[n] for n in moving], self.step)

    def _patience_over(self) -> bool:
        return self.settings.patience is not None and self.epoch - self.best_epoch >= self.settings.patience

    def _order(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.epoch)
        return torch.randperm(len(self.train), generator=generator).to(self.fabric.device)

    def _sum(self, totals: Tensor) -> Tensor:
        return self.fabric.all_reduce(totals, reduce_op="sum") if self.fabric.world_size > 1 else totals

    def _write(self, name: str, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        if self.folder is not None and self.fabric.is_global_zero:
            write_tensors(self.folder / name, tensors, metadata)


NUMBERS = ("epoch", "batch", "step", "best_epoch", "best_value", "seconds", "history")


def _write_events(folder: Path, row: dict[str, Any]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for name, value in row.items():
            writer.add_scalar(name.replace("_", "/", 1), value, row["step"])
