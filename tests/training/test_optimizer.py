"""A user's own optimiser and callbacks: called as promised, resumed exactly, recorded, and refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.training.store import DESCRIPTION, STATE, read_tensors

DATA = pictures()
OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "plain sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01),
    "class": torch.optim.Adam,
    "adagrad": partial(torch.optim.Adagrad, lr=0.01),
    "rprop": torch.optim.Rprop,
    "nadam": torch.optim.NAdam,
    "asgd": torch.optim.ASGD,
    "adafactor": torch.optim.Adafactor,
    "adadelta": torch.optim.Adadelta,
    "amsgrad": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, amsgrad=True),
    "groups": lambda parameters: torch.optim.RMSprop(
        [{"params": parameters[3:], "lr": 0.01}, {"params": parameters[:3], "lr": 0.001}], momentum=0.5
    ),
}


def fit(run: Path | None = None, recipe: Any = None, **settings: Any) -> pv.Run:
    """48 training examples in 3 steps an epoch."""
    given = {"batch_size": 16, "device": "cpu", "progress": False, **settings}
    return pv.fit(recipe or small("vae", DATA, likelihood="bernoulli"), DATA, run, **given)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_equals_an_uninterrupted_one_with_any_optimiser(name: str, tmp_path: Path) -> None:
    given = {"optimizer": OPTIMIZERS[name], "epochs": 3, "schedule": "cosine", "warmup": 2}
    fit(tmp_path / "whole", **given)
    fit(tmp_path / "cut", **given, max_steps=4)
    fit(tmp_path / "cut", **given, resume=True)
    whole, cut = (read_tensors(tmp_path / folder / STATE) for folder in ("whole", "cut"))
    assert same(whole[0], cut[0])
    assert timeless(whole[1]["history"]) == timeless(cut[1]["history"])
    assert whole[1]["optimizer"] == cut[1]["optimizer"]


class Counting(torch.optim.SGD):
    """Each step is half as long as the one before, by a count that is kept as a number."""

    def step(self, closure: Any = None) -> None:  # pyright: ignore
        for group in self.param_groups:
            group["taken"] = group.get("taken", 0) + 1
            for parameter in group["params"]:
                count = self.state[parameter].get("count", 0) + 1
                self.state[parameter]["count"] = count
                with torch.no_grad():
                    parameter -= group["lr"] * parameter.grad * 0.5 ** min(count, group["taken"])


def test_numbers_that_are_no_tensors_are_kept_too(tmp_path: Path) -> None:
    given = {"optimizer": Counting, "epochs": 3}
    whole = fit(tmp_path / "whole", **given)
    fit(tmp_path / "cut", **given, max_steps=4)
    cut = fit(tmp_path / "cut", **given, resume=True)
    assert same(weights(whole.recipe), weights(cut.recipe))
    assert cut.description["optimizer"]["name"].endswith("Counting")


def test_the_factory_decides_the_step() -> None:
    made = small("vae", DATA, likelihood="bernoulli")
    before = {name: tensor.clone() for name, tensor in made.model.named_parameters()}
    fit(recipe=made, epochs=1, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-30))
    assert same(dict(made.model.named_parameters()), before)
    default, adam = fit(epochs=1), fit(epochs=1, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.01))
    for name, value in weights(default.recipe).items():
        torch.testing.assert_close(weights(adam.recipe)[name], value)


def test_schedule_and_warmup_move_every_groups_own_rate() -> None:
    seen: list[list[float]] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    def factory(parameters: list[nn.Parameter]) -> Watched:
        return Watched([{"params": parameters[:2], "lr": 1.0}, {"params": parameters[2:], "lr": 1e-3}], lr=1.0)

    fit(epochs=2, optimizer=factory, schedule="linear", warmup=2, clip=1e-9)
    expected = [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert [rates[0] for rates in seen] == pytest.approx(expected)
    assert [rates[1] for rates in seen] == pytest.approx([1e-3 * rate for rate in expected])


def test_the_optimiser_is_recorded_and_another_is_refused(tmp_path: Path) -> None:
    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
    fit(tmp_path, epochs=1, optimizer=sgd)
    found = json.loads((tmp_path / DESCRIPTION).read_text())["optimizer"]
    assert found["name"] == "SGD"
    assert found["groups"][0]["momentum"] == 0.9
    with pytest.raises(pv.RunError, match="optimizer, name: SGD then, AdamW now"):
        fit(tmp_path, epochs=2, resume=True)
    with pytest.raises(pv.RunError, match=r"optimizer, groups: .*'momentum': 0.9.* then, .*'momentum': 0.5.* now"):
        fit(tmp_path, epochs=2, resume=True, optimizer=partial(sgd, momentum=0.5))
    assert fit(epochs=0).description["optimizer"] == {"name": "AdamW"}


REFUSED = {
    "no optimiser": (lambda p: p, ValueError, "makes a torch.optim.Optimizer of a list of parameters; got list"),
    "an instance": (torch.optim.SGD([torch.zeros(1)]), TypeError, "optimizer is a class of torch.optim or a function"),
    "some": (
        lambda p: torch.optim.SGD(p[:-1], lr=1),
        ValueError,
        r"leaves out 1 of \d+ parameters, such as model.heads",
    ),
    "LBFGS": (torch.optim.LBFGS, ValueError, "LBFGS, which needs the loss of a batch several times"),
    "a failure": (lambda p: p.nothing, ValueError, "is called with a list of .* parameters; it failed"),
    "another class": (nn.Linear, ValueError, "it failed"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_makes_no_optimiser_is_refused_before_a_folder_is_made(which: str, tmp_path: Path) -> None:
    factory, error, message = REFUSED[which]
    with pytest.raises(error, match=message):
        fit(tmp_path / "run", optimizer=factory)
    assert not (tmp_path / "run").exists()


def test_settings_that_would_not_be_read_are_refused() -> None:
    with pytest.raises(ValueError, match="lr would not be read beside optimizer="):
        fit(optimizer=lambda p: torch.optim.SGD(p, lr=1), lr=0.1)
    with pytest.raises(ValueError, match="weight_decay would not be read"):
        fit(optimizer=torch.optim.SGD, weight_decay=0.1)
    with pytest.raises(ValueError, match="with several devices optimizer= must be importable, and no lambda"):
        fit(optimizer=lambda p: torch.optim.SGD(p, lr=1), devices=2)


def test_callbacks_are_called_at_each_epochs_end_with_a_row_of_their_own(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []

    def spoil(row: dict[str, Any]) -> None:
        rows.append(dict(row))
        assert (tmp_path / "run" / STATE).exists()
        row.clear()

    run = fit(tmp_path / "run", epochs=3, callbacks=[spoil, lambda row: rows.append(row)])
    assert rows[::2] == run.history
    assert [row["epoch"] for row in rows[1::2]] == [1, 2, 3]
    assert pv.Run.load(tmp_path / "run").history == run.history


def test_what_a_callback_raises_ends_the_run_with_its_state_saved(tmp_path: Path) -> None:
    def enough(row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            raise ArithmeticError("enough")

    with pytest.raises(ArithmeticError, match="enough"):
        fit(tmp_path, epochs=3, callbacks=[enough])
    assert len(pv.Run.load(tmp_path).history) == 2
    resumed, whole = fit(tmp_path, epochs=3, resume=True), fit(epochs=3)
    assert same(weights(resumed.recipe), weights(whole.recipe))


def test_callbacks_are_functions_in_a_sequence() -> None:
    with pytest.raises(
        TypeError, match=r"callbacks is a sequence of functions of a row of metrics; got a function: give \[function\]"
    ):
        fit(callbacks=lambda row: None)
    with pytest.raises(TypeError, match="callbacks are functions of a row of metrics; got int"):
        fit(callbacks=[3])


def test_a_closed_form_calls_back_too() -> None:
    rows: list[dict[str, Any]] = []
    table = torch.randn(60, 4)
    run = pv.fit(pv.recipes.ppca((4,), latent=2), table, callbacks=[rows.append])
    assert rows == run.history


def plain() -> pv.Recipe:
    return replace(small("vae", DATA, likelihood="bernoulli"), call=None)


def mine(draw: pv.Draw) -> Any:
    return draw.kl


def objective(**terms: Any) -> pv.Objective:
    return pv.Objective({"reconstruction": Reconstruction(), **terms})


OTHERS = {
    "another weight": (
        objective(kl=pv.Weighted(KL(), 2.0)),
        "objective, term 'kl': .*weight=1.0.* then, .*weight=2.0.* now",
    ),
    "another term": (objective(kl=mine), r"objective, term 'kl': .*KL.* then, mine .* now"),
    "one more": (objective(kl=KL(), more=mine), "objective, term 'more': none then, mine .* now"),
    "one less": (objective(), "objective, term 'kl': .* then, none now"),
    "more samples": (pv.Objective(samples=2), "objective, samples: 1 then, 2 now"),
    "another objective": (pv.ImportanceWeighted(3), "objective, kind: Objective then, ImportanceWeighted now"),
}


@pytest.mark.parametrize("which", OTHERS)
def test_a_run_is_not_resumed_with_other_terms(which: str, tmp_path: Path) -> None:
    other, message = OTHERS[which]
    fit(tmp_path, plain(), epochs=1)
    with pytest.raises(pv.RunError, match=message):
        fit(tmp_path, replace(plain(), objective=other), epochs=2, resume=True)
    assert len(fit(tmp_path, plain(), epochs=2, resume=True).history) == 2
