"""No step of training waits for the device: nothing in it asks a tensor for its value."""

from __future__ import annotations

import pytest
import torch

from helpers.runs import pictures, small
from helpers.waiting import Watch
from polyvae.training.devices import fabric_of
from polyvae.training.loop import Loop
from polyvae.training.settings import Settings
from polyvae.training.validation import BLOCK, validate

RECIPES = ["vae", "beta_vae", "capacity_vae", "iwae", "full_covariance", "sigma_vae", "mmd_vae", "cvae", "two_level"]


@pytest.mark.parametrize("name", [*RECIPES, "vamp_prior", "mixture_prior", "ae"])
def test_steps_between_looks_at_the_loss_wait_for_nothing(name: str) -> None:
    data = pictures(labels=True)
    settings = Settings(device="cpu", batch_size=12, clip=1.0, average=0.9, schedule="cosine", warmup=2)
    recipe = small(name, data, **({"components": 3} if "prior" in name else {}))
    loop = Loop(fabric_of(settings), recipe, data, settings, None)
    loop.meter.look = 50  # as on an accelerator
    loop.plain.train()
    watch = Watch()
    with watch:
        for _ in range(3):
            for place in loop.slices:
                loop._step(torch.arange(len(data.train))[place])
    assert watch.seen == []
    assert loop.step == 12
    loop.meter.read()
    assert loop.meter.count == 3 * 48


def test_validation_waits_once_at_its_end() -> None:
    data = pictures(12 + 3 * BLOCK, validation=3 * BLOCK)
    recipe = small("vae", data)
    watch = Watch()
    with watch:
        validate(recipe.model, recipe.objective, recipe.observe, data.validation, 0)
    assert watch.seen == []


def test_the_watch_sees_what_waits() -> None:
    watch = Watch()
    value = torch.ones(2)
    with watch:
        value.sum().item()
        bool(value.sum() > 1)
        value.nonzero()
    assert watch.seen == ["aten::_local_scalar_dense", "aten::_local_scalar_dense", "aten::nonzero"]
