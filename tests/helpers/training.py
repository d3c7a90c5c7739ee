"""Small training runs, what their optimiser sees and what they leave behind."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

import polyvae as pv
from polyvae.data import Data, wrap
from polyvae.recipes import Recipe
from polyvae.training.meter import Meter
from polyvae.training.store import STATE, WEIGHTS, read_tensors

TIMINGS = {"seconds", "examples_per_second", "spent"}


def pictures(count: int = 40, side: int = 4) -> Data:
    x = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0)).mul(255).round().div(255)
    return wrap((x, torch.arange(count) % 3), validation=0.2, test=0)


def small(name: str = "vae", side: int = 4, **options: Any) -> Recipe:
    """A recipe of few weights: of the small options, those that it takes."""
    spec, build = pv.Spec((1, side, side), classes=3), pv.recipes.named(name)
    taken = inspect.signature(build).parameters
    passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    usual = {"latent": 2, "network": "mlp", "widths": (6,)}
    return build(spec, seed=1, **{key: usual[key] for key in usual if passes_on or key in taken} | options)


def fit(recipe: Recipe | str, data: Data, run: Path | None = None, **settings: Any) -> pv.Run:
    """32 training examples in 4 steps an epoch."""
    return pv.fit(recipe, data, run, **{"batch_size": 8, "device": "cpu", "progress": False, **settings})


class Spoiled(pv.Objective):
    """The negative bound, until step `at` of training, where `spoil` is called with it."""

    def __init__(self, at: int, spoil: Any) -> None:
        super().__init__()
        self.at, self.spoil = at, spoil

    def forward(self, model: Any, batch: pv.Values, step: Any = 0) -> dict[str, Tensor]:
        values = super().forward(model, batch, step)
        if self.training and step == self.at:
            values = self.spoil(model, values)
        return values


@contextmanager
def before_each_update(look: Any) -> Iterator[list[Any]]:
    """What `look` says of the optimiser just before each of its steps."""
    seen: list[Any] = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: seen.append(look(optimizer)))
    try:
        yield seen
    finally:
        handle.remove()


def norm(optimizer: torch.optim.Optimizer) -> float:
    gradients = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
    return torch.cat(gradients).norm().item()


def final(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """The tensors of state and weights of a run, and its numbers without what a clock measured."""
    state, numbers = read_tensors(folder / STATE)
    history = [{name: value for name, value in row.items() if name not in TIMINGS} for row in numbers["history"]]
    plain = {name: value for name, value in numbers.items() if name not in TIMINGS}
    return state, read_tensors(folder / WEIGHTS)[0], {**plain, "history": history}


def assert_same_run(one: Path, other: Path) -> None:
    (state, weights, numbers), (other_state, other_weights, other_numbers) = final(one), final(other)
    assert numbers == other_numbers
    for mine, theirs in ((state, other_state), (weights, other_weights)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def half_precision(scale: float) -> Fabric:
    """A Fabric in half precision with loss scaling, on the CPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])


def later(monkeypatch: pytest.MonkeyPatch, look: int) -> None:
    """Lets the meter treat the CPU as a device that runs on its own."""
    made = Meter.__init__

    def make(self: Meter, device: torch.device) -> None:
        made(self, device)
        self.look = look

    monkeypatch.setattr(Meter, "__init__", make)
