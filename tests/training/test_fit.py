"""Training: what is returned, what it equals, what is refused."""

from __future__ import annotations

import math
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.data import wrap
from polyvae.objectives.schedules import Cyclical
from polyvae.objectives.terms import KL
from polyvae.training.store import read_metrics, unique_tensors


def fitted(name: str = "vae", options: dict[str, Any] | None = None, **settings: Any) -> pv.Run:
    data = pictures()
    return pv.fit(
        small(name, data, **(options or {})), data, progress=False, **{"epochs": 2, "batch_size": 16, **settings}
    )


def test_the_loss_falls_and_the_best_weights_are_in_place_in_evaluation_mode() -> None:
    data = pictures(100)
    run = pv.fit(small("vae", data), data, epochs=8, batch_size=16, lr=1e-2, progress=False)
    assert [row["epoch"] for row in run.history] == list(range(1, 9))
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    assert run.history[-1]["validation_bound"] > run.history[0]["validation_bound"]
    assert not any(module.training for module in run.model.modules())
    assert not any(module.training for module in run.recipe.objective.modules())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    assert same(weights(fitted().recipe), weights(fitted().recipe))
    assert not same(weights(fitted().recipe), weights(fitted(seed=1).recipe))


def test_a_recipe_by_name_draws_its_weights_from_the_seed_alone() -> None:
    data = pictures(40, side=8)
    runs = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        runs.append(pv.fit("vae", data, epochs=1, seed=5, progress=False))
    assert same(weights(runs[0].recipe), weights(runs[1].recipe))
    assert runs[0].description["recipe"]["options"] == {"seed": 5}


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fitted()
    assert torch.equal(torch.rand(3), expected)


def test_the_callers_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    fitted()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class Pairs(Dataset):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        return self.x[place], self.y[place]


def test_every_form_of_the_same_data_trains_the_same_weights() -> None:
    x, y = torch.rand(40, 1, 4, 4), torch.arange(40) % 3
    forms = {
        "pair": (x, y),
        "arrays": (x.numpy(), y.numpy()),
        "mapping": {"x": x, "y": y},
        "dataset": Pairs(x, y),
        "tensor dataset": TensorDataset(x, y),
        "loader": DataLoader(Pairs(x, y), batch_size=7),
        "data": wrap((x, y)),
    }
    spec = wrap((x, y)).spec
    results = {}
    for name, form in forms.items():
        recipe = pv.recipes.cvae(spec, seed=0, network="mlp", widths=[8], latent=2)
        results[name] = weights(pv.fit(recipe, form, epochs=1, batch_size=16, progress=False).recipe)
    assert all(same(results["pair"], other) for other in results.values())


def test_a_bare_tensor_and_an_array_train_the_same_weights() -> None:
    x = torch.rand(40, 6)
    runs = [pv.fit(pv.recipes.vae((6,), seed=0, network="mlp", latent=2), form, epochs=1) for form in (x, x.numpy())]
    assert same(weights(runs[0].recipe), weights(runs[1].recipe))


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


def test_validation_leaves_modes_and_statistics_of_the_model_alone() -> None:
    from polyvae.training.validation import validate

    data = pictures(side=8)
    recipe = small("vae", data, network="conv", widths=[2])
    recipe.model.train()
    frozen = next(module for module in recipe.model.modules() if isinstance(module, nn.BatchNorm2d))
    frozen.eval()
    before = weights(recipe)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    validate(recipe.model, recipe.objective, recipe.observe, data.validation, 0)
    assert torch.equal(torch.rand(2), expected)
    assert same(before, weights(recipe))
    assert recipe.model.training
    assert not frozen.training


def test_zero_epochs_return_the_weights_as_they_were(tmp_path: Any) -> None:
    data = pictures()
    recipe = small("vae", data)
    before = weights(recipe)
    run = pv.fit(recipe, data, tmp_path / "run", epochs=0, progress=False)
    assert run.history == []
    assert same(before, weights(recipe))
    assert same(before, weights(pv.Run.load(tmp_path / "run").recipe))


@pytest.mark.parametrize("clip", [None, 1.0])
def test_half_precision_trains_float32_weights(clip: float | None) -> None:
    run = fitted(precision="bf16", clip=clip, epochs=3, lr=1e-2)
    exact = fitted(clip=clip, epochs=3, lr=1e-2)
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
    plain, compiled = fitted("beta_vae", {"kl_warmup": 5}), fitted("beta_vae", {"kl_warmup": 5}, compile=True)
    assert compiled.history[-1]["train_reconstruction"] == pytest.approx(
        plain.history[-1]["train_reconstruction"], rel=0.05
    )


def test_what_cannot_be_trained_is_refused_with_the_reason() -> None:
    data = pictures()
    recipe = small("vae", data)
    with pytest.raises(ValueError, match=r"the model needs \['y'\], the data hold \['x'\]"):
        pv.fit(_needs_y(data), data)
    with pytest.raises(ValueError, match="validation part of the data is empty"):
        pv.fit(recipe, wrap(torch.rand(20, 1, 4, 4), validation=0))
    with pytest.raises(TypeError, match="no setting is named 'epoch'; did you mean epochs"):
        pv.fit(recipe, data, epoch=3)
    with pytest.raises(ValueError, match="need a run folder"):
        pv.fit(recipe, data, resume=True)
    with pytest.raises(ValueError, match="need a run folder"):
        pv.fit(recipe, data, tensorboard=True)
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        pv.fit(recipe, data, device="cpu", precision="fp16")
    with pytest.raises(ValueError, match="no parameter"):
        pv.fit(replace(recipe, model=recipe.model.requires_grad_(False)), data)


def _needs_y(data: Any) -> pv.Recipe:
    labelled = pictures(labels=True)
    recipe = pv.recipes.cvae(labelled.spec, seed=0, network="mlp", latent=2)
    return replace(recipe, observe=small("vae", data).observe)


def test_an_objective_without_the_monitored_value_is_refused_at_the_first_step() -> None:
    class Bare(nn.Module):
        def forward(self, model: Any, batch: Any, step: Any = 0) -> dict[str, Tensor]:
            return {"loss": -model(batch).log_px.mean()}

    data = pictures()
    with pytest.raises(ValueError, match=r"training needs \['bound'\] too"):
        pv.fit(replace(small("vae", data), objective=Bare()), data, progress=False)


def test_baselines_in_closed_form_pass_through_the_same_call(tmp_path: Any) -> None:
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(80, 5)) @ np.diag([3, 2, 1, 0.5, 0.2])).float()
    run = pv.fit(pv.recipes.ppca((5,), latent=2), table, tmp_path / "run")
    assert len(run.history) == 1
    assert math.isfinite(run.history[0]["validation_bound"])
    loaded = pv.Run.load(tmp_path / "run")
    assert same(weights(run.recipe), weights(loaded.recipe))
    assert timeless(loaded.history) == timeless(run.history)


class Counting(pv.Objective):
    """The negative bound; tells how many steps it saw since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, model: Any, batch: pv.Values, step: Any = 0) -> dict[str, Tensor]:
        self.steps += self.training
        return super().forward(model, batch, step)

    def epoch_values(self) -> dict[str, float]:
        told, self.steps = {"steps_seen": float(self.steps)}, 0
        return told


def test_a_part_may_tell_of_each_epoch_and_starts_anew(tmp_path) -> None:
    data = pictures()
    made = replace(small("vae", data), objective=Counting(), call=None)
    run = pv.fit(made, data, tmp_path, epochs=2, batch_size=16, progress=False)
    assert [row["train_steps_seen"] for row in run.history] == [run.history[0]["step"]] * 2
    assert read_metrics(tmp_path / "metrics.csv") == run.history


def test_a_recipe_may_look_at_the_data_once_before_the_first_step(tmp_path) -> None:
    data, seen = pictures(), []
    made = small("vae", data)
    state = torch.get_rng_state()

    def start(values: pv.Values) -> None:
        seen.append(values["x"] + torch.rand(()))
        assert not torch.is_grad_enabled()

    for folder in (tmp_path / "a", tmp_path / "b"):
        pv.fit(replace(made, start=start), data, folder, epochs=1, max_steps=1, batch_size=16, progress=False)
    pv.fit(replace(made, start=start), data, tmp_path / "a", epochs=2, batch_size=16, progress=False, resume=True)
    assert torch.equal(torch.get_rng_state(), state)
    first, second = seen
    assert torch.equal(first, second)
    assert len(first) == len(data.train)
