"""The weights that a run keeps: those of its best epoch, of the model or of the moving average of its weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path

from polyvae.recipes import Recipe
from polyvae.training.ema import Average
from polyvae.training.store import WEIGHTS, copy_tensors, unique_tensors, write_tensors


class Best:
    """The weights of the best epoch so far, and the model that is validated to choose them.

    `model` is the trained one, or with a `decay` one with the moving average of its weights. `epoch` counts from 1 and
    is 0 before the first one's end; `value` is the monitored one, the smaller the better. Without a `folder` nothing is
    written.
    """

    def __init__(self, recipe: Recipe, decay: float | None, folder: Path | None) -> None:
        self.recipe, self.folder = recipe, folder
        self.model, self.average = recipe.model, None
        if decay is not None:
            self.model = copy.deepcopy(recipe.model).requires_grad_(False)
            self.average = Average(self.model, recipe.model, decay)
        self.tensors = {name: tensor.clone() for name, tensor in unique_tensors(self.model).items()}
        self.epoch, self.value = 0, math.inf

    def take(self, epoch: int, values: Mapping[str, float]) -> None:
        """Keeps the weights of an epoch with these validation values if they are the best so far."""
        monitor = self.recipe.monitor
        value = -values["bound"] if monitor == "bound" else values[monitor]
        if not self.epoch or value < self.value:
            self.epoch, self.value = epoch, value
            copy_tensors(self.tensors, unique_tensors(self.model), "the weights")
            self.write()

    def forget(self) -> None:
        """Lets the next epoch be the best so far: those before were of another model."""
        self.epoch, self.value = 0, math.inf

    def write(self) -> None:
        """Writes them into the run folder. Raises RunError."""
        if self.folder is None:
            return
        monitor = self.recipe.monitor
        monitored = {monitor: -self.value if monitor == "bound" else self.value} if self.epoch else {}
        write_tensors(self.folder / WEIGHTS, self.tensors, {"epoch": self.epoch, **monitored})

    def put_in_place(self) -> None:
        """Puts the best weights into the model, before the first epoch's end the last ones, in evaluation mode."""
        if not self.epoch:
            copy_tensors(self.tensors, unique_tensors(self.model), "the weights")
            self.write()
        copy_tensors(unique_tensors(self.recipe.model), self.tensors, "the best weights")
        self.recipe.model.eval()
        self.recipe.objective.eval()
