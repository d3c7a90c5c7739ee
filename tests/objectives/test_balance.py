"""SoftAdapt: golden values, slopes that are exact on polynomials, and its history as part of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.model.vae import Draw
from polyvae.objectives.balance import (
    MODES,
    VARIANTS,
    GroupBalance,
    SoftAdapt,
    backward_difference,
    forward_difference,
    least_squares,
)
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.training.validation import validate

# The example of the method's authors: three losses over five steps.
LOSSES = torch.tensor(
    [[1, 2, 3, 4, 5], [150, 100, 50, 10, 0.1], [1500, 1000, 500, 100, 1]],
    dtype=torch.float64,
)
GOLDEN = {
    "original": [0.99343, 0.0065666, 3.8908e-22],
    "normalised": [0.3221, 0.3251, 0.3528],
    "loss-weighted": [0.87978, 0.12022, 7.1234e-20],
}


def made(variant: str = "original", mode: str = "least-squares", **options: Any) -> SoftAdapt:
    return SoftAdapt(("a", "b", "c"), variant, mode=mode, **options).double()


def feed(balance: SoftAdapt, history: Tensor) -> list[Tensor]:
    """The factors after each step of a history [n, steps]."""
    return [torch.stack(list(balance(dict(zip(balance.names, row, strict=True))).values())) for row in history.T]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_authors_values_in_the_authors_mode(variant) -> None:
    factors = feed(made(variant, "authors"), LOSSES)[-1]
    torch.testing.assert_close(factors, torch.tensor(GOLDEN[variant], dtype=torch.float64), rtol=2e-4, atol=0)


@pytest.mark.parametrize("mode", ["least-squares", "backward"])
def test_corrected_modes_rank_the_normalised_slopes_as_the_plain_ones(mode) -> None:
    plain, normalised = (made(variant, mode).computed(LOSSES) for variant in ("original", "normalised"))
    assert plain.argsort().tolist() == normalised.argsort().tolist()
    slopes = LOSSES @ torch.tensor(MODES[mode].slope(5), dtype=torch.float64)
    torch.testing.assert_close(normalised, (0.1 * slopes / slopes.abs().sum()).softmax(0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("mode", ["least-squares", "backward"])
def test_loss_weighted_factors_are_the_windows_means_times_exponentials(mode) -> None:
    history = LOSSES / 100
    slopes = history @ torch.tensor(MODES[mode].slope(5), dtype=torch.float64)
    shares = history.mean(1) * (0.1 * slopes).exp()
    torch.testing.assert_close(made("loss-weighted", mode).computed(history), shares / shares.sum(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("window", [2, 3, 4, 5, 6])
def test_differences_are_exact_on_polynomials_of_their_order(window) -> None:
    place = torch.arange(window, dtype=torch.float64)
    for degree in range(window):
        values, slopes = place**degree, degree * place ** max(degree - 1, 0)
        for weights_of, at in ((forward_difference, 0), (backward_difference, -1)):
            found = values @ torch.tensor(weights_of(window), dtype=torch.float64)
            torch.testing.assert_close(found, slopes[at], atol=1e-9, rtol=1e-9)


def test_the_known_coefficients_of_order_four_and_the_line_of_least_squares() -> None:
    assert forward_difference(5) == pytest.approx([-25 / 12, 4, -3, 4 / 3, -1 / 4])
    values = torch.randn(7, dtype=torch.float64)
    columns = torch.stack([torch.ones(7), torch.arange(7.0)], 1).double()
    line = torch.linalg.lstsq(columns, values[:, None]).solution[1, 0]
    torch.testing.assert_close(values @ torch.tensor(least_squares(7), dtype=torch.float64), line)


def test_factors_are_equal_until_the_window_is_full_and_held_between_updates() -> None:
    history = torch.rand(3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 9
    balance = made(window=4, frequency=3)
    found = feed(balance, history)
    for step, factors in enumerate(found, 1):
        last = max(4, step - (step - 4) % 3)  # the step of the newest factors: 4, 7, 10 ...
        expected = balance.computed(history[:, last - 4 : last]) if step >= 4 else torch.full((3,), 1 / 3).double()
        torch.testing.assert_close(factors, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(torch.stack(found).sum(1), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_losses_make_a_factor_that_is_not_a_number(variant, mode) -> None:
    torch.manual_seed(0)
    balance = SoftAdapt(("a", "b", "c"), variant, mode=mode)
    scales = [
        torch.zeros(3, 5),
        torch.rand(3, 5),
        torch.rand(3, 5) * 1e6,
        torch.tensor([[1e9], [0.0], [1e-9]]) + LOSSES,
    ]
    for history in scales:
        factors = balance.computed(history.float())
        assert factors.isfinite().all()
        assert factors.sum().item() == pytest.approx(1)
    losses = torch.tensor([[-5.0, -6, -7, -8, -9], [-1.0, -1, -1, -1, -1], [3.0, 3, 3, 3, 3]])  # densities may be large
    assert balance.computed(losses).min() >= 0


def test_evaluation_uses_the_factors_and_leaves_the_history_alone() -> None:
    balance = made()
    last = feed(balance, LOSSES)[-1]
    before = {name: tensor.clone() for name, tensor in balance.state_dict().items()}
    balance.eval()
    found = feed(balance, torch.rand(3, 4).double())
    assert all(torch.equal(factors, last) for factors in found)
    assert same(before, balance.state_dict())
    assert set(before) == {"history", "factors", "steps"}


class Half(nn.Module):
    """A balance of the user's own: half of every reconstruction."""

    names = ("reconstruction",)

    def forward(self, losses: pv.Values) -> dict[str, Tensor | float]:
        assert not any(loss.requires_grad for loss in losses.values())
        return {"reconstruction": 0.5}


def test_factors_multiply_the_weights_and_reports_stay_unweighted() -> None:
    recipe = small("vae", data := pictures())
    batch = data.train.batch(torch.arange(8))

    def values(balance: nn.Module | None) -> dict[str, Tensor]:
        torch.manual_seed(0)
        terms = {"reconstruction": pv.Weighted(Reconstruction(), 3.0), "kl": KL()}
        return pv.Objective(terms, balance=balance)(recipe.model, batch)

    plain, halved = values(None), values(Half())
    adapted = values(balance := SoftAdapt(("reconstruction", "kl")))
    for name in ("reconstruction", "kl", "bound"):
        assert torch.equal(plain[name], halved[name])
        assert torch.equal(plain[name], adapted[name])
    torch.testing.assert_close(halved["loss"].detach(), 1.5 * plain["reconstruction"] + plain["kl"])
    torch.testing.assert_close(adapted["loss"].detach(), 1.5 * plain["reconstruction"] + 0.5 * plain["kl"])
    assert balance.history[:, -1].tolist() == [plain["reconstruction"].item(), plain["kl"].item()]
    halved["loss"].backward()


def test_two_steps_may_be_taken_before_the_first_is_differentiated() -> None:
    balance, scale = SoftAdapt(("a", "b"), window=2), torch.ones((), requires_grad=True)
    losses = []
    for step in range(3):
        terms = {"a": scale * (step + 1), "b": scale * 2}
        losses.append(sum(factor * terms[name] for name, factor in balance(terms).items()))
    sum(losses).backward()
    assert scale.grad is not None


def _squares(draw: Draw) -> Tensor:
    return draw.latents["z"].z.square().sum(-1)


def balanced(data: pv.data.Data, mode: str = "least-squares", **options: Any) -> pv.Recipe:
    recipe = small("ae", data)
    balance = SoftAdapt(("reconstruction", "squares"), beta=30.0, mode=mode, **options)
    return replace(
        recipe, objective=pv.Objective({"reconstruction": Reconstruction(), "squares": _squares}, 1, balance)
    )


OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 12, "lr": 1e-2, "device": "cpu", "progress": False}


def test_a_run_stopped_at_any_step_goes_on_with_its_history_bit_for_bit(tmp_path: Path) -> None:
    data = pictures()
    whole = pv.fit(balanced(data, frequency=2), data, tmp_path / "whole", **OPTIONS)
    for step in range(1, 12):
        for more in ({"max_steps": step}, {"resume": True}):
            again = pv.fit(balanced(data, frequency=2), data, tmp_path / str(step), **OPTIONS, **more)
        assert same(weights(again.recipe), weights(whole.recipe)), f"stopped after step {step}"
        assert timeless(again.history) == timeless(whole.history)
    factors = whole.recipe.objective.balance.factors
    assert factors.min() > 0
    assert (factors - 0.5).abs().max() > 0.01, "the losses fell at different rates"
    last = [whole.history[-1][f"train_factor_{name}"] for name in ("reconstruction", "squares")]
    assert last == factors.tolist()


def test_the_history_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    data = pictures(60)
    runs = []
    for devices in (1, 2):
        recipe = balanced(data)
        # 48 = 3 * 15 + 3: shares of 8 and 7 examples, and a batch that is too small to be shared
        options = {**OPTIONS, "batch_size": 15}
        runs.append(pv.fit(recipe, data, tmp_path / str(devices), devices=devices, **options))
    for mine, theirs in zip(timeless(runs[0].history), timeless(runs[1].history), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    states = [
        pv.training.store.read_tensors(tmp_path / str(devices) / pv.training.store.STATE)[0] for devices in (1, 2)
    ]
    for name in ("history", "factors", "steps"):
        one, two = (next(state[key] for key in state if key.endswith(f"balance.{name}")) for state in states)
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_validation_steps_no_history() -> None:
    data = pictures()
    recipe = balanced(data)
    validate(recipe.model, recipe.objective, recipe.observe, data.validation, 0)
    assert recipe.objective.balance.steps.item() == 0


def test_what_makes_no_sense_is_refused() -> None:
    for options, message in (
        ({"variant": "soft"}, "variant is one of original, normalised, loss-weighted; got 'soft'"),
        ({"mode": "newest"}, "mode is one of least-squares, backward, authors; got 'newest'"),
        ({"window": 1}, "window counts the steps that make a slope, at least 2"),
        ({"window": 7, "mode": "backward"}, "from 2 to 6 for mode 'backward'; got 7"),
        ({"frequency": 0}, "frequency counts the steps between new factors, at least 1; got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            SoftAdapt(("a", "b"), **options)
    for names in (("a",), ("a", "a"), ()):
        with pytest.raises(ValueError, match="names are those of two or more terms, each once"):
            SoftAdapt(names)
    with pytest.raises(ValueError, match=r"\['size'\] are to be balanced; the terms are \['reconstruction', 'kl'\]"):
        pv.Objective(balance=SoftAdapt(("reconstruction", "size")))


def test_groups_are_pressed_by_what_they_tell_and_by_their_size_until_the_weight_has_risen() -> None:
    balance = GroupBalance({"a": 2, "b": 8, "c": 2}, steps=3)
    told = {"a": torch.tensor(3.0), "b": torch.tensor(1.0), "c": torch.tensor(0.5)}
    weighed = torch.tensor([6.0, 8.0, 1.0])
    rising = weighed * 3 / weighed.sum()
    for step in range(5):
        balance.eval()
        expected = rising if step < 3 else torch.ones(3)
        torch.testing.assert_close(torch.stack(list(balance(told).values())), expected)  # which takes no step
        balance.train()
        torch.testing.assert_close(torch.stack(list(balance(told).values())), expected)
    again = GroupBalance({"a": 2, "b": 8, "c": 2}, steps=3)
    again.load_state_dict(balance.state_dict())
    assert torch.equal(again.taken, balance.taken)
    collapsed = balance.eval()({name: torch.tensor(0.0) for name in told})
    assert all(factor.isfinite() for factor in collapsed.values())
    for sizes, steps, words in (({"a": 0}, 3, "sizes are how many values"), ({"a": 1}, 0, "steps counts training")):
        with pytest.raises(ValueError, match=words):
            GroupBalance(sizes, steps)
