from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Laplace

from polyvae.model.distributions import SharedLaplace


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(event=st.lists(st.integers(1, 4), min_size=1, max_size=3), rows=st.integers(1, 4))
def test_the_laplace_law_of_one_scale_is_torchs_in_density_and_gradient(event: list[int], rows: int) -> None:
    x, loc = numbers(2, rows, *event), numbers(rows, *event).requires_grad_()
    scale = torch.tensor(0.37, dtype=torch.float64, requires_grad=True)
    ours, theirs = SharedLaplace(loc, scale, len(event)), Independent(Laplace(loc, scale), len(event))
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.value_log_prob(x), theirs.base_dist.log_prob(x))
    weights = numbers(2, rows)
    mine, known = (torch.autograd.grad((weights * p.log_prob(x)).sum(), (loc, scale)) for p in (ours, theirs))
    torch.testing.assert_close(mine, known)
    torch.testing.assert_close(ours.variance, theirs.variance)
    assert torch.equal(ours.mean, theirs.mean)
    assert ours.expand((3, rows)).log_prob(x[0]).shape == (3, rows)


def test_a_value_for_each_example_is_scored_under_every_draw() -> None:
    loc, x = numbers(12, 3, 2), numbers(4, 3, 2)
    law = SharedLaplace(loc, torch.tensor(0.8).double(), 2)
    torch.testing.assert_close(law.unfold(3).log_prob(x), law.log_prob(x.repeat(3, 1, 1)).view(3, 4))


def test_slabs_change_nothing(monkeypatch) -> None:
    parameter, x = numbers(31, 3, 4), numbers(31, 3, 4)
    whole = SharedLaplace(parameter, torch.tensor(0.7), 2).log_prob(x)
    monkeypatch.setattr("polyvae.model.distributions.law._SLAB", 7 * 12)  # rows that do not divide the batch
    torch.testing.assert_close(SharedLaplace(parameter, torch.tensor(0.7), 2).log_prob(x), whole)


def test_draws_have_the_moments_and_move_with_both_parameters() -> None:
    torch.manual_seed(0)
    scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    loc = numbers(2, 3).requires_grad_()
    law = SharedLaplace(loc, scale)
    x = law.rsample((40_000,))
    torch.testing.assert_close(x.mean(0), law.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(x.var(0), law.variance, atol=0.02, rtol=0)
    by_loc, by_scale = torch.autograd.grad(x.square().mean(0).sum(), (loc, scale))
    torch.testing.assert_close(by_loc, 2 * loc.detach(), atol=0.05, rtol=0)
    torch.testing.assert_close(by_scale.item(), 6 * 4 * 0.5, atol=0.4, rtol=0)
