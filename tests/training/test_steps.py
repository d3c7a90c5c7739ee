"""What a step is: a loop by hand, batches and schedules, half precision, memory layout, compilation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.runs import pictures, small, trained
from polyvae.objectives.schedules import Cyclical
from polyvae.objectives.terms import KL
from polyvae.training.store import unique_tensors


def reference(recipe: pv.Recipe, data: Any, run: pv.Run, step: Any) -> None:
    """The batches of a run's epochs, in order, handed to `step` by a loop written out by hand."""
    from polyvae.data.seeds import NOISE, SHUFFLE, mixed

    settings = run.description["settings"]
    number = 0
    for epoch in range(settings["epochs"]):
        generator = torch.Generator().manual_seed(mixed(settings["seed"], SHUFFLE, epoch))
        for index in torch.randperm(len(data.train), generator=generator).split(settings["batch_size"]):
            torch.manual_seed(mixed(settings["seed"], NOISE, number, 0))
            step(number, data.train.batch(index))
            number += 1


@pytest.mark.parametrize("average", [None, 0.9])
def test_weights_equal_a_loop_written_out_by_hand(average: float | None) -> None:
    data = pictures(50, validation=2)
    options = {"epochs": 3, "batch_size": 10, "lr": 1e-2, "warmup": 4, "schedule": "cosine", "clip": 0.5}
    run = pv.fit(small("vae", data), data, average=average, progress=False, **options)
    recipe = small("vae", data)
    assert recipe.start is not None
    recipe.start(recipe.observe(data.train.batch(torch.arange(len(data.train)))))
    model = recipe.model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.01, fused=True)
    moving: dict[str, Tensor] = {}
    best: list[dict[str, Tensor]] = []

    def step(number: int, batch: dict[str, Tensor]) -> None:
        left = 1 - (number - 4) / (15 - 4)
        rate = 1e-2 * (number + 1) / 4 if number < 4 else 1e-2 * (1 - math.cos(math.pi * left)) / 2
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        recipe.objective(model, recipe.observe(batch), number)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()
        for name, tensor in unique_tensors(model).items():
            kept = tensor if average is None else moving.get(name, tensor) * 0.9 + tensor * 0.1
            moving[name] = kept.clone() if number else tensor.clone()
        best.append(dict(moving))

    reference(recipe, data, run, step)
    epoch = max(range(3), key=lambda place: run.history[place]["validation_bound"])
    expected = best[epoch * 5 + 4]
    for name, tensor in unique_tensors(run.model).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-7)
    assert run.history[1]["lr"] == pytest.approx(1e-2 * (1 - math.cos(math.pi * (1 - 5 / 11))) / 2)


def test_training_terms_are_the_mean_over_examples_and_not_over_batches() -> None:
    data = pictures(31, validation=4)  # 27 examples: batches of 10, 10 and 7
    recipe = small("ae", data)
    seen = []

    class Record(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, model: Any, batch: Any, step: Any = 0) -> dict[str, Tensor]:
            values = self.inner(model, batch, step)
            if torch.is_grad_enabled():
                seen.append((values["loss"].item(), len(batch["x"])))
            return values

    run = pv.fit(replace(recipe, objective=Record(recipe.objective)), data, epochs=1, batch_size=10, progress=False)
    assert [count for _, count in seen] == [10, 10, 7]
    mean = sum(value * count for value, count in seen) / 27
    assert run.history[0]["train_loss"] == pytest.approx(mean, rel=1e-12)


def test_a_last_batch_of_one_example_joins_the_one_before() -> None:
    data = pictures(31 + 10, validation=10)
    assert len(data.train) == 31
    for name in ("vae", "mmd_vae"):
        run = pv.fit(small(name, data), data, epochs=1, batch_size=10, progress=False)
        assert run.history[0]["step"] == 3
    single = pv.fit(small("vae", data), data, epochs=1, batch_size=1, progress=False)
    assert single.history[0]["step"] == 31


def test_schedules_of_the_objective_count_training_steps() -> None:
    data = pictures()
    seen: list[int] = []

    def weight(step: int) -> float:
        if torch.is_grad_enabled():
            seen.append(int(step))
        return Cyclical(0.0, 1.0, 4)(step)

    recipe = replace(small("vae", data), objective=pv.Objective({"kl": pv.Weighted(KL(), weight)}))
    pv.fit(recipe, data, epochs=2, batch_size=16, progress=False)
    assert seen == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("clip", [None, 1.0])
def test_half_precision_trains_float32_weights(clip: float | None) -> None:
    run = trained(precision="bf16", clip=clip, epochs=3, lr=1e-2)
    exact = trained(clip=clip, epochs=3, lr=1e-2)
    assert all(tensor.dtype is torch.float32 for tensor in run.model.parameters())
    assert run.history[-1]["train_loss"] == pytest.approx(exact.history[-1]["train_loss"], rel=0.02)
    assert run.history[-1]["train_loss"] != exact.history[-1]["train_loss"]


def test_networks_of_pictures_are_trained_channels_last() -> None:
    data = pictures(side=8)
    recipe = small("vae", data, network="conv", widths=[4, 4])
    pv.fit(recipe, data, epochs=1, progress=False)
    kernels = [p for p in recipe.model.parameters() if p.ndim == 4 and min(p.shape[:2]) > 1]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's compiler means to hide it, but too late
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")
def test_a_compiled_step_trains_like_a_plain_one() -> None:
    plain, compiled = trained("beta_vae", {"kl_warmup": 5}), trained("beta_vae", {"kl_warmup": 5}, compile=True)
    assert compiled.history[-1]["train_reconstruction"] == pytest.approx(
        plain.history[-1]["train_reconstruction"], rel=0.05
    )
