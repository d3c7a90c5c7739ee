"""How a recipe is trained: every number of a run that is not the model's or the data's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
# What may differ when a run is resumed: how far, where and how it is watched. The rest decides the weights.
FREE = ("epochs", "max_steps", "patience", "device", "compile", "tensorboard", "save_every")


@dataclass(frozen=True)
class Settings:
    """The settings of a training run.

    epochs: passes over the training part.
    batch_size: examples a step, over all devices together.
    lr, weight_decay: of AdamW (Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019).
    schedule: the learning rate after warm-up: constant, or down to zero at the last step by a cosine or a line.
    warmup: steps over which the learning rate rises from zero.
    clip: largest norm of the gradient; None leaves it.
    average: decay of an exponential moving average of the weights, which is then what is validated and kept.
    patience: epochs without a better validation value before training stops; None never stops.
    max_steps: stop after so many steps, leaving a run that can be resumed.
    seed: of the weights a recipe's name stands for, the shuffles and the noise.
    device, devices: cpu, cuda, mps or auto, and how many processes.
    precision: fp32, bf16, or fp16 with loss scaling.
    compile: whether the step goes through torch.compile.
    tensorboard: whether to write TensorBoard events into the run folder as well.
    save_every: seconds between saved states within an epoch; one is saved after each epoch in any case.
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.01
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: int = 0
    clip: float | None = None
    average: float | None = None
    patience: int | None = None
    max_steps: int | None = None
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    tensorboard: bool = False
    save_every: float = 60.0

    def __post_init__(self) -> None:
        limits = {"epochs": 0, "batch_size": 1, "warmup": 0, "patience": 1, "max_steps": 1, "seed": 0, "devices": 1}
        for name, least in limits.items():
            value = getattr(self, name)
            if value is not None and (value < least or value != int(value)):
                raise ValueError(f"{name} is a whole number of at least {least}; got {value}")
        for name in ("lr", "clip"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is a positive number; got {value}")
        for name in ("weight_decay", "save_every"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is at least 0; got {getattr(self, name)}")
        if self.average is not None and not 0 < self.average < 1:
            raise ValueError(f"average is a decay between 0 and 1, such as 0.999; got {self.average}")
        choices = {"schedule": SCHEDULES, "precision": PRECISIONS, "device": ("auto", "cpu", "cuda", "mps")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}; got {getattr(self, name)!r}")

    def learning_rate(self, step: int, steps: int) -> float:
        """The learning rate of step `step` (from 0) of `steps`."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        left = 1 - (step - self.warmup) / max(1, steps - self.warmup)
        return self.lr * SCHEDULES[self.schedule](left)

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        """Settings that decide the weights and are not what a run recorded."""
        mine = asdict(self)
        bound = ("epochs", "max_steps") if self.schedule == "constant" else ("max_steps",)
        free = set(FREE) - ({"epochs"} - set(bound))
        names = [field.name for field in fields(self) if field.name not in free]
        return [f"{name}: {recorded[name]} then, {mine[name]} now" for name in names if recorded.get(name) != mine[name]]


SCHEDULES = {
    "constant": lambda left: 1.0,
    "cosine": lambda left: (1 - math.cos(math.pi * left)) / 2,
    "linear": lambda left: left,
}
