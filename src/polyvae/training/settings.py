"""How a recipe is trained: every number of a run that is not the model's or the data's."""

from __future__ import annotations

import math
import typing
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal

from polyvae.checks.names import gathered
from polyvae.checks.ranges import Amount, Count, Positive, Range, Seed, Weight, ranges_of
from polyvae.training.budget import Clock

Decay = Annotated[float, Range(0, 1, open=True, below=True)]

PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
ENDLESS = 10**6  # epochs of a run that its minutes alone end
EPOCHS, STEPS = 10, 2000  # of a run that is not told how long to train: few examples are seen more often
# What a prior that is fitted afterwards is trained with where nothing else is said, by its kind. The regression of a
# velocity is noisy: large batches, and at the end small steps and a mean of the last weights.
OF_PRIORS: dict[str, dict[str, Any]] = {
    "flow-matching": {"batch_size": 512, "lr": 2e-3, "schedule": "cosine", "average": 0.995}
}
# What may differ when a run is resumed: how far, where and how it is watched. The rest decides the weights.
TIME = frozenset({"epochs", "minutes", "clock"})
FREE = TIME | {"max_steps", "patience", "device", "compile", "tensorboard", "save_every"}


# What other libraries call a setting.
ELSEWHERE = {"learning_rate": "lr", "early_stopping": "patience", "ema": "average", "gradient_clip": "clip"}
# What is said before, of the data or of the recipe.
OF_DATA = frozenset({"skip_bad", "label", "kind", "limit", "size", "blocks", "validation", "fold", "folds", "binarise"})
OF_RECIPES = frozenset({"latent", "network", "widths", "likelihood", "beta"})


@dataclass(frozen=True)
class Settings:
    """The settings of a training run.

    epochs: passes over the training part; by default 10, or as many as make 2,000 steps where that is more.
    batch_size: examples a step, over all devices together.
    lr, weight_decay: of AdamW (Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019), which `fit` takes
        where it is given no other optimiser.
    schedule: the learning rate after warm-up: constant, or down to zero at the last step by a cosine or a line.
    warmup: steps over which the learning rate rises from zero.
    clip: largest norm of the gradient, which is left as it is where none is given.
    average: decay of an exponential moving average of the weights, which is then what is validated and kept.
    patience: epochs without a better validation value before training stops, which it does not where none is given.
    max_steps: stop after so many steps, leaving a run that can be resumed.
    minutes: stop when training has taken so many, over all resumes, and validate once more; without epochs it goes on
        until then, and a schedule falls with the time.
    clock: whose minutes: of the wall, or of the processors, which this process's threads take together and which other
        work on the machine changes little.
    seed: of the weights a recipe's name stands for, the shuffles and the noise.
    device: cpu, cuda or mps; auto is cuda where there is one.
    devices: how many processes, a GPU or a core each.
    precision: fp32, bf16, or fp16 with loss scaling.
    compile: whether the step goes through torch.compile.
    tensorboard: whether to write TensorBoard events into the run folder as well.
    save_every: seconds between saved states within an epoch; one is saved after each epoch in any case.
    """

    epochs: Amount | None = None
    batch_size: Count = 128
    lr: Positive = 1e-3
    weight_decay: Weight = 0.01
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: Amount = 0
    clip: Positive | None = None
    average: Decay | None = None
    patience: Count | None = None
    max_steps: Count | None = None
    minutes: Positive | None = None
    clock: Clock = "wall"
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Count = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False
    tensorboard: bool = False
    save_every: Weight = 60.0

    def __post_init__(self) -> None:
        ranges = ranges_of(Settings)
        for name, hint in typing.get_type_hints(Settings).items():
            value, choices = getattr(self, name), typing.get_args(hint)
            optional = type(None) in choices
            if name in ranges:
                number, found = isinstance(value, (int, float)), ranges[name][0]
                holds, wanted = number and found.holds(value), found.expected(value if number else found.least)
            elif typing.get_origin(hint) is Literal:
                holds, wanted = value in choices, f"one of {', '.join(choices)}"
            else:
                holds, wanted = isinstance(value, bool), "True or False"
            if not holds and not (optional and value is None):
                raise ValueError(f"{name} is {wanted}{' or None' if optional else ''}; got {value!r}")

        if self.minutes is not None and self.devices > 1:
            raise ValueError(f"minutes are those of one process; with devices = {self.devices} say epochs or max_steps")

    def resolved(self, examples: int) -> Settings:
        """The same with a number of epochs, for so many training examples."""
        if self.epochs is not None:
            return self
        if self.minutes is not None:
            return replace(self, epochs=ENDLESS)
        return replace(self, epochs=max(EPOCHS, math.ceil(STEPS / math.ceil(examples / self.batch_size))))

    def learning_rate(self, step: int, steps: int, lr: float | None = None, spent: float = 0.0) -> float:
        """The learning rate of step `step` (from 0) of `steps`, out of the setting or of another `lr`.

        `spent`: the share of the time that has gone, which counts where it is further on than the steps.
        """
        lr = self.lr if lr is None else lr
        if step < self.warmup:
            return lr * (step + 1) / self.warmup
        left = min(1 - (step - self.warmup) / max(1, steps - self.warmup), 1 - spent)
        return lr * SCHEDULES[self.schedule](left)

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        """Settings that decide the weights and are not what a run recorded."""
        # A schedule ends with the last epoch or minute, so there another number of them changes every step.
        free = FREE if self.schedule == "constant" else FREE - TIME
        if self.minutes is None and recorded.get("minutes") is None:
            free |= {"clock"}
        mine = {name: value for name, value in asdict(self).items() if name not in free}
        # What a run did not record came later, and by default leaves runs as they were.
        then = {each.name: each.default for each in fields(Settings)} | dict(recorded)
        return [f"{n}: {then[n]} then, {value} now" for n, value in mine.items() if then[n] != value]


def chosen(
    settings: Settings | None, given: Mapping[str, Any], recipe: str = "", options: Collection[str] = ()
) -> tuple[Settings, set[str]]:
    """The settings of a run, one object or some by name, and the names of those that are said, not left as they are.

    `recipe`, `options`: the name of the recipe, where it is given by one, and what may be said of it instead.
    Raises ValueError for a bad one, TypeError for an unknown one, for another object and for both ways together.
    """
    if settings is None:
        return gathered(Settings, given, lambda name: _elsewhere(name, recipe, options)), set(given)
    if not isinstance(settings, Settings):
        raise TypeError(f"settings is a polyvae.Settings; got a {type(settings).__name__}")
    if given:
        raise TypeError(f"{', '.join(given)} beside settings=; say it there, dataclasses.replace(settings, ...)")
    return settings, {each.name for each in fields(Settings) if getattr(settings, each.name) != each.default}


def checked(given: Mapping[str, Any]) -> Settings:
    """Settings of these names. Raises ValueError for a bad one, TypeError for an unknown one."""
    return gathered(Settings, given, _elsewhere)


def _elsewhere(name: str, recipe: str = "", options: Collection[str] = ()) -> str:
    """Where else, or by what other name, something is said."""
    if name in options:
        return f"; it is an option of the recipe: recipe = polyvae.recipes.{recipe}(data.spec, {name}=...)."
    if name in OF_DATA:
        return f"; it is said of the data, data = polyvae.data.load(..., {name}=...)."
    if name in OF_RECIPES:
        return f"; it is the recipe's, polyvae.recipes.vae(data.spec, {name}=...)."
    return f"; did you mean {ELSEWHERE[name]}?" if name in ELSEWHERE else ""


SCHEDULES = {
    "constant": lambda left: 1.0,
    "cosine": lambda left: (1 - math.cos(math.pi * left)) / 2,
    "linear": lambda left: left,
}
