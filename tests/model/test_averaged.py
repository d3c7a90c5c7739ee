"""Several processes at once: their weights, what is stated of their sum, how many there are, saving, old runs."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from polyvae.model.averaged import Averaged
from polyvae.model.processes import Processes
from polyvae.model.stacking import stacked


def draws(rows: int = 30, targets: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    v = torch.randn(rows, 1, generator=stream, dtype=torch.float64)
    y = torch.cat([((each + 1) * v).sin() for each in range(targets)], 1)
    return v, y + 0.1 * torch.randn(y.shape, generator=stream, dtype=v.dtype)


@pytest.fixture(scope="module")
def made() -> Averaged:
    return Averaged().fit(*draws())


def members(made: Averaged) -> list[Processes]:
    return [each for each in made.members if isinstance(each, Processes)]


def told(made: Averaged, *at: Tensor | int) -> tuple[Tensor, Tensor]:
    """Of each member what it says at new inputs, or leaving out so many stretches."""
    found = [each.left_out(at[0]) if isinstance(at[0], int) else each(at[0]) for each in members(made)]
    means, variances = zip(*found, strict=True)
    return torch.stack(means), torch.stack(variances)


def test_weights_of_a_target_are_those_of_least_error_on_short_stretches(made: Averaged) -> None:
    assert len(made.members) == 4  # two, or all, of three targets at once, of which eight are as many
    by_one, by_three = (stacked(told(made, folds)[0]) for folds in (30, 10))  # of thirty examples
    assert torch.allclose(made.share.double(), (by_one + by_three) / 2, atol=1e-6)
    assert not torch.allclose(made.share[:, 0], made.share[:, 1], atol=1e-2)


def test_a_sum_is_no_worse_on_what_is_left_out_than_any_member(made: Averaged) -> None:
    errors = told(made, 30)[0]
    best = (stacked(errors)[:, None] * errors).sum(0).square().sum(0)
    assert bool((best <= errors.square().sum(1).amin(0) * (1 + 1e-6)).all())


def test_mean_and_variance_are_those_of_the_formulas(made: Averaged) -> None:
    new = draws(seed=1)[0]
    means, variances = told(made, new)
    share, (own, apart) = made.share.double(), made.stretch.double()
    mean = torch.einsum("ir,ibr->br", share, means)
    variance = own * torch.einsum("ir,ibr->br", share, variances) + apart * means.var(0, correction=0)
    variance = variance + apart * (means.mean(0) - mean).square()  # about the weighted mean, not the members' own
    found = made(new)
    assert torch.allclose(found[0], mean)
    assert torch.allclose(found[1], variance, rtol=1e-5)


def test_each_part_of_a_variance_is_that_of_errors_left_out() -> None:
    made = Averaged().fit(*draws(20))
    share, (own, apart) = made.share.double()[:, None], made.stretch.double()
    errors, variances = told(made, 7)  # three in a row
    scaled = (share * errors).sum(0).square() / (own * (share * variances).sum(0))
    assert torch.allclose(scaled.mean(0), torch.ones(3, dtype=torch.float64), rtol=1e-5)
    errors = told(made, 10)[0]  # a tenth
    error = (share * errors).sum(0)
    needed = error.square().sum(0) / (errors - error).square().mean(0).sum(0)
    assert torch.allclose(apart, needed.clamp(max=4), rtol=1e-5)
    assert bool((apart < 4).any() & (needed > 4).any())


def test_bands_widen_outside_of_the_examples_as_members_differ(made: Averaged) -> None:
    _, inside = made(torch.zeros(1, 1, dtype=torch.float64))
    _, outside = made(torch.full((1, 1), 4.0, dtype=torch.float64))
    assert bool((outside > 4 * inside).all())


def test_a_run_of_one_share_for_all_targets_says_what_it_said(made: Averaged) -> None:
    share, stretch = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.5, 1.0, 2.0])
    old = Averaged()
    old.load_state_dict({**made.state_dict(), "share": share, "stretch": stretch})
    new = draws(seed=1)[0]
    (means, variances), weight = told(made, new), share.double()[:, None, None]
    mean, second = (weight * means).sum(0), (weight * (variances + means.square())).sum(0)
    found = old(new)
    assert torch.allclose(found[0], mean)
    assert torch.allclose(found[1], stretch * (second - mean.square()), rtol=1e-5)


def test_of_many_examples_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyvae.model.averaged.ALIKE", 20)
    found = Averaged().fit(*draws(30, 2))
    assert len(found.members) == 1
    assert found.share.tolist() == [[1.0, 1.0]]
    error, variance = told(found, 10)
    assert torch.allclose((error.square() / variance).mean(1)[0].float(), found.stretch[0])


def test_of_one_target_there_is_one() -> None:
    found = Averaged().fit(*draws(20, 1))
    assert len(found.members) == 1
    assert bool((found(draws(5)[0])[1] > 0).all())


def test_a_state_of_other_members_is_loaded(made: Averaged) -> None:
    new = draws(seed=1)[0]
    other = Averaged()
    other.load_state_dict(made.state_dict())
    for each in (other, deepcopy(made)):
        assert all(torch.equal(a, b) for a, b in zip(each(new), made(new), strict=True))
    again = Averaged().fit(*draws(12, 1))
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(new)[0], made(new)[0])


def test_two_examples_are_enough_and_one_is_refused() -> None:
    mean, variance = Averaged().fit(*draws(2, 1))(draws(5)[0])
    assert mean.isfinite().all()
    assert variance.isfinite().all()
    with pytest.raises(ValueError, match="two examples"):
        Averaged().fit(*draws(1, 1))
