"""Which epoch's weights are kept: by the plain bound or the monitored term, and by no weight of training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.runs import pictures, same, small
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.training.store import unique_tensors


def test_early_stopping_counts_epochs_without_a_better_validation_value() -> None:
    data = pictures()
    constant = Validated(small("ae", data).objective, [5.0, 3.0, 4.0, 3.5, 3.2, 1.0])
    run = pv.fit(replace(small("ae", data), objective=constant), data, epochs=6, patience=3, progress=False)
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4, 5]


class Validated(nn.Module):
    """The objective with its validation values of the monitored term replaced, one an epoch."""

    def __init__(self, inner: nn.Module, values: list[float]) -> None:
        super().__init__()
        self.inner, self.values = inner, iter(values)

    def forward(self, model: Any, batch: Any, step: Any = 0) -> dict[str, Tensor]:
        values = self.inner(model, batch, step)
        if not torch.is_grad_enabled():
            values["reconstruction"] = torch.tensor(next(self.values))
        return values


def test_the_weights_returned_are_those_of_the_best_epoch() -> None:
    data = pictures()

    def run(epochs: int, values: list[float]) -> pv.Run:
        recipe = small("ae", data)
        recipe = replace(recipe, objective=Validated(recipe.objective, values))
        return pv.fit(recipe, data, epochs=epochs, batch_size=16, lr=1e-2, progress=False)

    assert same(unique_tensors(run(4, [5.0, 2.0, 3.0, 4.0]).model), unique_tensors(run(2, [5.0, 2.0]).model))
    assert same(unique_tensors(run(3, [3e30, 1e30, 2e30]).model), unique_tensors(run(2, [3.0, 2.0]).model))


def test_selection_is_by_the_plain_bound_whatever_weight_training_gives_a_term() -> None:
    data = pictures()

    class Scheduled(nn.Module):
        """A weight that falls, so that the loss of validation improves while the bound gets worse."""

        def __init__(self) -> None:
            super().__init__()
            self.terms = {"reconstruction": Reconstruction(), "kl": pv.Weighted(KL(), Linear(1000.0, 0.0, 12))}
            self.inner = pv.Objective(self.terms)
            self.bounds = iter([-3.0, -1.0, -2.0, -4.0])

        def forward(self, model: Any, batch: Any, step: Any = 0) -> dict[str, Tensor]:
            values = self.inner(model, batch, step)
            if not torch.is_grad_enabled():
                values["bound"] = torch.tensor(next(self.bounds))
            return values

    def run(epochs: int) -> pv.Run:
        recipe = replace(small("vae", data), objective=Scheduled())
        return pv.fit(recipe, data, epochs=epochs, batch_size=16, lr=1e-2, progress=False)

    whole = run(4)
    losses = [row["validation_loss"] for row in whole.history]
    assert losses.index(min(losses)) == 3
    assert same(unique_tensors(whole.model), unique_tensors(run(2).model))


def test_the_bound_reported_holds_no_training_weight() -> None:
    data = pictures()
    recipe = small("beta_vae", data, beta=50.0, kl_warmup=4)
    run = pv.fit(recipe, data, epochs=3, batch_size=16, progress=False)
    for row in run.history:
        for part in ("train", "validation"):
            plain = -row[f"{part}_reconstruction"] - row[f"{part}_kl"]
            assert row[f"{part}_bound"] == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "monitor"),
    [
        ("ae", {}, "loss"),
        ("wae", {}, "loss"),
        ("adversarial_autoencoder", {"critic": [8]}, "model_loss"),
        ("wae", {"posterior": "point"}, "reconstruction"),
        ("mmd_vae", {"alpha": 1.0}, "bound"),
        ("factor_vae", {"critic": [8]}, "bound"),
        ("iwae", {"samples": 3}, "loss"),
        ("thermodynamic", {"samples": 3}, "loss"),
        ("sticking_the_landing", {}, "bound"),
    ],
)
def test_the_plain_bound_chooses_the_epoch_unless_a_tighter_one_or_none_is_trained(
    name: str, options: dict[str, Any], monitor: str
) -> None:
    data = pictures()
    recipe = small(name, data, **{"posterior": "diagonal", **options})
    assert recipe.monitor == monitor
    run = pv.fit(recipe, data, epochs=5, batch_size=16, lr=1e-2, progress=False)
    sign = -1 if monitor == "bound" else 1
    values = [sign * row[f"validation_{monitor}"] for row in run.history]
    assert run.best_epoch == values.index(min(values)) + 1
    assert run.monitor == monitor


def test_the_loss_of_the_model_leaves_out_a_critics_own_cost() -> None:
    data = pictures()
    recipe = small("adversarial_autoencoder", data, posterior="diagonal", adversary=3.0)
    for row in pv.fit(recipe, data, epochs=2, batch_size=16, progress=False).history:
        for part in ("train", "validation"):
            model, adversary = row[f"{part}_model_loss"], row[f"{part}_adversary"]
            assert model == pytest.approx(row[f"{part}_reconstruction"] + 3 * adversary, rel=1e-5)
            assert row[f"{part}_loss"] == pytest.approx(model + row[f"{part}_critic"], rel=1e-5)
    assert "model_loss" not in small("vae", data).objective(recipe.model, data.train.batch(torch.arange(4)))
