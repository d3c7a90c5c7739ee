"""Guidance is the normalised product p(x | y)^w p(x)^(1 - w), law by law, in closed form or by sums and integrals."""

import pytest
import torch
from torch.distributions import Categorical, Distribution, Independent, Normal, Poisson

from polyvae.model import distributions as own
from polyvae.model.guidance import guided

W = (-0.3, 0.0, 0.4, 1.0, 2.5)
DOUBLE = torch.float64


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def mixed(given: Distribution, free: Distribution, w: float, support: torch.Tensor, step: float = 1.0) -> torch.Tensor:
    """The product at all values of the support [S, ...], normalised by a sum."""
    score = w * given.log_prob(support) + (1 - w) * free.log_prob(support)
    return (score - (score.logsumexp(0) + torch.tensor(step, dtype=DOUBLE).log())).exp()


BITS = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=DOUBLE)] * 3)[:, None, :]


@pytest.mark.parametrize("w", W)
def test_bits_and_categories_are_the_normalised_product_over_all_their_values(w: float) -> None:
    pair = own.Bernoulli(numbers(2, 3)), own.Bernoulli(numbers(2, 3, seed=1))
    assert torch.allclose(guided(*pair, w).log_prob(BITS).exp(), mixed(*pair, w, BITS))
    grid = torch.linspace(0, 1, 5, dtype=DOUBLE)[:, None]
    pair = own.GridCategorical(numbers(2, 5)), own.GridCategorical(numbers(2, 5, seed=1))
    assert torch.allclose(guided(*pair, w).log_prob(grid).exp(), mixed(*pair, w, grid))
    sizes = torch.tensor([2, 3])
    codes = torch.cartesian_prod(torch.arange(2), torch.arange(3)).to(DOUBLE)[:, None, :]
    pair = own.Categories(numbers(2, 2, 3), sizes), own.Categories(numbers(2, 2, 3, seed=1), sizes)
    assert torch.allclose(guided(*pair, w).log_prob(codes).exp(), mixed(*pair, w, codes))
    plain = Categorical(logits=numbers(2, 4)), Categorical(logits=numbers(2, 4, seed=1))
    classes = torch.arange(4)[:, None]
    assert torch.allclose(guided(*plain, w).log_prob(classes).exp(), mixed(*plain, w, classes))


@pytest.mark.parametrize("w", W)
def test_counts_and_densities_are_the_normalised_product_by_sums_and_integrals(w: float) -> None:
    pair = own.Poisson(numbers(2)), own.Poisson(numbers(2, seed=1))
    counts = torch.arange(80, dtype=DOUBLE)[:, None]
    assert torch.allclose(guided(*pair, w).log_prob(counts).exp(), mixed(*pair, w, counts))
    x, step = torch.linspace(-60, 60, 60001, dtype=DOUBLE)[:, None], 120 / 60000
    wide = Normal(numbers(2), torch.tensor([0.7, 1.0], dtype=DOUBLE)), Normal(numbers(2, seed=1), 0.9)
    found = guided(*wide, w)
    assert torch.allclose(found.log_prob(x).exp(), mixed(*wide, w, x, step), atol=1e-9)
    unit = (torch.arange(20000, dtype=DOUBLE)[:, None, None] + 0.5) / 20000
    pair = own.ContinuousBernoulli(numbers(2, 1)), own.ContinuousBernoulli(numbers(2, 1, seed=1))
    assert torch.allclose(guided(*pair, w).log_prob(unit).exp(), mixed(*pair, w, unit, 1 / 20000), atol=1e-6)


def test_normals_of_one_scale_keep_it_and_move_their_mean_past_the_conditions() -> None:
    scale = torch.tensor(0.3, dtype=DOUBLE)
    given, free = own.SharedNormal(numbers(2, 4), scale), own.SharedNormal(numbers(2, 4, seed=1), scale)
    found = guided(given, free, 3.0)
    assert torch.allclose(found.mean, 3 * given.mean - 2 * free.mean)
    assert torch.allclose(found.variance, given.variance)
    whole = [Independent(Normal(each.mean, scale), 1) for each in (given, free)]
    x = numbers(5, 2, 4, seed=2)
    assert torch.allclose(guided(*whole, 3.0).log_prob(x), found.log_prob(x))
    centre, stretch = numbers(4, seed=3), numbers(4, seed=4).exp()
    units = [own.Standardised(each, centre, stretch) for each in (given, free)]
    assert torch.allclose(guided(*units, 3.0).mean, 3 * units[0].mean - 2 * units[1].mean)


def test_one_is_the_law_with_the_condition_and_zero_the_law_without() -> None:
    given, free = own.Bernoulli(numbers(2, 3)), own.Bernoulli(numbers(2, 3, seed=1))
    assert guided(given, free, 1) is given
    assert guided(given, free, 0) is free


def test_what_has_no_such_law_is_refused_by_name() -> None:
    wide, narrow = Normal(0.0, 2.0), Normal(0.0, 1.0)
    assert float(guided(narrow, wide, 2.0).variance) == pytest.approx(1 / (2 - 1 / 4))
    with pytest.raises(ValueError, match="guidance = 2 makes no density of these normals"):
        guided(wide, narrow, 2.0)
    heavy = own.StudentT(torch.zeros(2, 3), torch.ones(()), torch.tensor(3.0))
    with pytest.raises(ValueError, match=r"guidance mixes bits, categories, .*; got StudentT"):
        guided(heavy, heavy, 2.0)
    with pytest.raises(ValueError, match="guidance mixes"):
        guided(Poisson(1.0), Normal(0.0, 1.0), 2.0)
