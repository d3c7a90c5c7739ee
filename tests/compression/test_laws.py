"""Probabilities that values are coded by are those that a likelihood says, and vectors are taken number by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from polyvae.compression.latents import Coding
from polyvae.compression.scalars import vector
from polyvae.compression.values import values_of
from polyvae.model.distributions.mixture import mixture
from polyvae.model.families import likelihood
from polyvae.model.priors.autoregressive import AutoregressivePrior


def law_of(name: str, levels: int = 5, channels: int = 3) -> Distribution:
    torch.manual_seed(0)
    family = likelihood(name, levels, (channels, 2, 2)).double()
    return family(0.7 * torch.randn(1, family.size(channels), 2, 2, dtype=torch.float64))


def tables(coding: Coding) -> list[tuple[Tensor, np.ndarray]]:
    """The tables of a coding of known symbols, turn by turn."""
    found = []
    try:
        turn = next(coding)
        while True:
            assert turn[1] is not None
            found.append((turn[0], turn[1]))
            turn = coding.send(turn[1])
    except StopIteration:
        return found


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("bernoulli", 2),
        ("logistic", 5),
        ("logistic-mixture", 5),
        ("categorical", 5),
        ("piecewise-linear", 16),
        ("coupled-logistic-mixture", 5),
    ],
)
def test_tables_multiply_to_the_probability_of_the_picture_and_sum_to_one(name: str, levels: int) -> None:
    law = law_of(name, levels)
    x = law.sample()  # what is far out has fewer digits in a table, whose counts cannot tell
    symbols = (x * (levels - 1)).round().long().flatten().numpy()
    values = values_of(law, "x")
    assert values.levels == levels
    log_p = torch.zeros((), dtype=torch.float64)
    for table, chosen in tables(values.coding(law, symbols, 0)):
        assert torch.allclose(table.sum(1), torch.ones(len(table), dtype=torch.float64))
        log_p += table[torch.arange(len(table)), torch.from_numpy(chosen)].log().sum()
    assert torch.allclose(log_p, law.log_prob(x)[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["poisson", "negative-binomial", "zero-inflated-negative-binomial-network"])
def test_tables_of_counts_are_their_probabilities_up_to_the_largest(name: str) -> None:
    torch.manual_seed(0)
    family = likelihood(name).double()
    law = family(torch.randn(1, family.size(4), dtype=torch.float64))
    symbols = np.array([0, 3, 1, 7])
    values = values_of(law, "x")
    assert values.levels is None
    ((table, _),) = tables(values.coding(law, symbols, 60))
    found = table[torch.arange(4), torch.from_numpy(symbols)].log().sum()
    assert table.shape == (4, 61)
    assert torch.allclose(found, law.log_prob(torch.from_numpy(symbols).double()[None])[0])
    assert float(table.detach().sum(1).min()) > 0.98


@pytest.mark.parametrize("name", ["normal", "normal-learned", "continuous-bernoulli", "laplace"])
def test_densities_are_refused_with_what_to_train(name: str) -> None:
    with pytest.raises(ValueError, match="no probabilities to code them by: train with --likelihood logistic-mixture"):
        values_of(law_of(name), "x")


def full() -> MultivariateNormal:
    tril = torch.tensor([[1.0, 0, 0], [0.5, 0.7, 0], [-0.3, 0.2, 0.4]], dtype=torch.float64)
    return MultivariateNormal(torch.tensor([[0.2, -1.0, 0.5]], dtype=torch.float64), scale_tril=tril[None])


def mixed() -> Distribution:
    torch.manual_seed(1)
    loc, scale = torch.randn(4, 3, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64) + 0.2
    return mixture(torch.randn(4, dtype=torch.float64), Independent(Normal(loc, scale), 1))


def mixed_full() -> Distribution:
    torch.manual_seed(1)
    tril = (0.4 * torch.randn(4, 3, 3, dtype=torch.float64)).tril(-1) + torch.eye(3, dtype=torch.float64)
    return mixture(torch.randn(4, dtype=torch.float64), MultivariateNormal(torch.randn(4, 3).double(), scale_tril=tril))


def one_by_one() -> Distribution:
    torch.manual_seed(2)
    return AutoregressivePrior(3, 4).double()({})


def diagonal() -> Distribution:
    return Independent(Normal(*torch.tensor([[[0.1, 2.0, -1.0]], [[0.5, 1.0, 2.0]]], dtype=torch.float64)), 1)


@pytest.mark.parametrize("make", [diagonal, full, mixed, mixed_full, one_by_one])
def test_number_by_number_a_law_has_the_density_that_it_has_as_a_whole(make) -> None:
    law = make()
    found = vector(law)
    assert found is not None
    z, step = torch.tensor([0.3, -0.4, 0.8], dtype=torch.float64), 1e-5
    log_p = torch.zeros((), dtype=torch.float64)
    parts = [slice(i, i + 1) for i in range(3)] if found.in_turn else [slice(0, 3)]
    for part in parts:
        each = found.given(part, z)
        around = torch.stack([z[part] - step, z[part] + step], 1)
        log_p += (each.below(around).diff(dim=1) / (2 * step)).log().sum()
        share = torch.tensor([[1e-12, 0.1, 0.5, 0.999]], dtype=torch.float64).expand(len(z[part]), 4)
        assert torch.allclose(each.below(each.at(share)), share, rtol=1e-9)
        ends = each.at(torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(len(z[part]), 2))
        assert (ends == torch.tensor([-torch.inf, torch.inf], dtype=torch.float64)).all()
    with torch.no_grad():
        assert torch.allclose(log_p, law.log_prob(z[None]).squeeze(), atol=1e-8)


def test_a_law_of_which_no_number_is_known_on_its_own_is_told() -> None:
    assert vector(Independent(torch.distributions.Laplace(torch.zeros(1, 3), 1.0), 1)) is None
