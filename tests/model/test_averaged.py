"""Several processes at once: their weights, the moments of their mixture, how many there are, saving."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from polyvae.model.averaged import Averaged
from polyvae.model.processes import Processes


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


def test_weights_are_inverse_to_the_errors_left_out(made: Averaged) -> None:
    assert len(made.members) == 4  # two, or all, of three targets at once, of which eight are as many
    wrong = torch.stack([each.left_out(10)[0].square().sum() for each in members(made)])
    assert torch.allclose(made.share.double() * wrong, (made.share.double() * wrong).mean().expand(4), rtol=1e-5)
    assert made.share.sum() == pytest.approx(1)


def test_mean_and_variance_are_those_of_the_mixture(made: Averaged) -> None:
    new = draws(seed=1)[0]
    means, variances = (torch.stack(each) for each in zip(*(each(new) for each in members(made)), strict=True))
    share = made.share.double()[:, None, None]
    mean, second = (share * means).sum(0), (share * (variances + means.square())).sum(0)
    found = made(new)
    assert torch.allclose(found[0], mean)
    assert torch.allclose(found[1], made.stretch.double() * (second - mean.square()), rtol=1e-5)


def test_variances_are_those_that_the_errors_left_out_have(made: Averaged) -> None:
    errors, variances = (torch.stack(each) for each in zip(*(m.left_out(10) for m in members(made)), strict=True))
    share = made.share.double()[:, None, None]
    error = (share * errors).sum(0)
    spread = (share * (variances + errors.square())).sum(0) - error.square()
    scaled = error.square() / (made.stretch.double() * spread)
    assert torch.allclose(scaled.mean(0), torch.ones(3, dtype=torch.float64), rtol=1e-5)


def test_of_many_examples_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyvae.model.averaged.ALIKE", 20)
    found = Averaged().fit(*draws(30, 2))
    assert len(found.members) == 1
    assert found.share.tolist() == [1.0]


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
