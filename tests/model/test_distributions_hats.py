"""A law of grey levels that is linear between a few of them, beside sums over all levels."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvae.model.distributions.grey import GridCategorical
from polyvae.model.distributions.hats import PiecewiseLinear, hats_of


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 14), st.integers(2, 40), st.integers(0, 10**6))
def test_it_is_the_categorical_law_of_its_sums(knots: int, levels: int, seed: int) -> None:
    torch.manual_seed(seed)
    hats = hats_of(knots, levels).double()
    hats = hats / hats.sum(1, keepdim=True)
    assert hats.shape[0] == min(knots, levels)
    torch.testing.assert_close(hats.sum(1), torch.ones(len(hats), dtype=torch.float64))
    logits = (3 * torch.randn(2, 3, len(hats), dtype=torch.float64)).requires_grad_()
    law = PiecewiseLinear(logits, hats)
    sums = logits.softmax(-1) @ hats
    reference = GridCategorical(sums.clamp(min=1e-300).log())
    grid = torch.linspace(0, 1, levels, dtype=torch.float64)
    x = grid[torch.randint(levels, (5, 2, 3))]
    known = reference.log_prob(x) > -60
    torch.testing.assert_close(law.log_prob(x)[known], reference.log_prob(x)[known])
    torch.testing.assert_close(law.mean, reference.mean)
    torch.testing.assert_close(law.variance, (sums * grid.square()).sum(-1) - reference.mean.square())
    law.log_prob(x).sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_hats_are_linear_between_knots_and_single_at_the_ends() -> None:
    hats = hats_of(12, 256)
    assert int((hats[0] > 0).sum()) == int((hats[-1] > 0).sum()) == 1
    assert bool(((hats > 0).sum(0) >= 1).all())
    assert int((hats > 0).sum(0).max()) == 2
    inner = hats[5][hats[5] > 0]
    rise = inner[: int(inner.argmax()) + 1]
    torch.testing.assert_close(rise.diff(), rise.diff()[:1].expand(len(rise) - 1))


def test_at_two_knots_of_two_levels_it_is_a_bernoulli() -> None:
    logits = torch.randn(4, 2, dtype=torch.float64)
    law = PiecewiseLinear(logits, hats_of(12, 2).double())
    bits = torch.distributions.Bernoulli(logits.softmax(-1)[:, 1])
    x = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(law.log_prob(x), bits.log_prob(x))
    torch.testing.assert_close(law.variance, bits.variance)


def test_samples_follow_its_probabilities() -> None:
    torch.manual_seed(0)
    hats = hats_of(4, 9).double()
    law = PiecewiseLinear(torch.randn(2, 4, dtype=torch.float64), hats)
    x = law.sample((40_000,))
    assert x.shape == (40_000, 2)
    assert bool(law.support.check(x).all())
    found = torch.nn.functional.one_hot((x * 8).round().long(), 9).double().mean(0)
    torch.testing.assert_close(found, law.probs @ hats, atol=0.012, rtol=0)
