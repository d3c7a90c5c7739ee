"""Training: what is returned, what it follows from and what it leaves alone."""

from __future__ import annotations

import math
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, trained, weights
from polyvae.data import wrap
from polyvae.training.store import read_metrics


def test_the_loss_falls_and_the_best_weights_are_in_place_in_evaluation_mode() -> None:
    data = pictures(100)
    run = pv.fit(small("vae", data), data, epochs=8, batch_size=16, lr=1e-2, progress=False)
    assert [row["epoch"] for row in run.history] == list(range(1, 9))
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    assert run.history[-1]["validation_bound"] > run.history[0]["validation_bound"]
    assert not any(module.training for module in run.model.modules())
    assert not any(module.training for module in run.recipe.objective.modules())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    assert same(weights(trained().recipe), weights(trained().recipe))
    assert not same(weights(trained().recipe), weights(trained(seed=1).recipe))


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
    trained()
    assert torch.equal(torch.rand(3), expected)


def test_the_callers_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    trained()
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
    recipe = small("vae", data, network="conv")  # a perceptron would take up the mean of the pictures
    before = weights(recipe)
    run = pv.fit(recipe, data, tmp_path / "run", epochs=0, progress=False)
    assert run.history == []
    assert same(before, weights(recipe))
    assert same(before, weights(pv.Run.load(tmp_path / "run").recipe))


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
    state = torch.get_rng_state()

    def start(values: pv.Values) -> None:
        seen.append(values["x"] + torch.rand(()))
        assert not torch.is_grad_enabled()

    for folder in (tmp_path / "a", tmp_path / "b"):
        made = small("vae", data)
        pv.fit(replace(made, start=start), data, folder, epochs=1, max_steps=1, batch_size=16, progress=False)
    pv.fit(replace(made, start=start), data, tmp_path / "a", epochs=2, batch_size=16, progress=False, resume=True)
    assert torch.equal(torch.get_rng_state(), state)
    first, second = seen
    assert torch.equal(first, second)
    assert len(first) == len(data.train)
