"""Particles: posteriors in closed form, several modes, little noise, rows on their own."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from polyvae.model.priors.population import Population


def standard(u: Tensor) -> Tensor:
    return -0.5 * u.square().sum(-1)


def begun(dimensions: int, count: int = 1600) -> Tensor:
    return torch.randn(count, 1, dimensions, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("noise", [1.0, 0.1])
def test_a_normal_posterior_has_its_mean_and_covariance(dimensions: int, noise: float) -> None:
    stream = torch.Generator().manual_seed(dimensions)
    surface = torch.randn(4, dimensions, generator=stream, dtype=torch.float64)
    read = 2 * torch.randn(3, 4, generator=stream, dtype=torch.float64)
    precision = torch.eye(dimensions, dtype=torch.float64) + surface.T @ surface / noise**2
    covariance = torch.linalg.inv(precision)
    mean = read @ surface @ covariance / noise**2

    def score(u: Tensor) -> Tensor:
        return -0.5 * (read - u @ surface.T).square().sum(-1) / noise**2

    u = Population(2000)(begun(dimensions, 8000), standard, score)
    assert u.shape == (2000, 3, dimensions)
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, (u - mean).flatten(0, 1).T, upper=False).T.view(u.shape)
    assert white.mean(0).abs().max() < 0.2
    found = torch.einsum("kbi,kbj->bij", white, white) / 2000
    assert (found - torch.eye(dimensions, dtype=torch.float64)).abs().max() < 0.3


def test_both_modes_keep_their_shares() -> None:
    heights, places, width = torch.tensor([0.75, 0.25]).double(), torch.tensor([-1.5, 1.5]).double(), 0.05

    def score(u: Tensor) -> Tensor:
        return (heights.log() - 0.5 * ((u - places) / width).square()).logsumexp(-1)

    u = Population(2000)(begun(1, 8000), standard, lambda u: score(u).expand(-1, 1))[:, 0, 0]
    # The prior is as high at both, so that the likelihood's shares stand.
    assert float((u < 0).double().mean()) == pytest.approx(0.75, abs=0.05)
    for place, mode in zip(places, (u[u < 0], u[u > 0]), strict=True):
        assert float(mode.mean()) == pytest.approx(float(place) / (1 + width**2), abs=0.01)
        assert float(mode.std()) == pytest.approx(width, rel=0.15)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_a_posterior_a_thousandth_as_wide_as_the_prior_is_found(dimensions: int) -> None:
    truth = torch.linspace(-1, 1, dimensions + 4, dtype=torch.float64).unfold(0, dimensions, 1)[:4]

    def score(u: Tensor) -> Tensor:
        return -0.5 * ((u - truth) / 1e-3).square().sum(-1)

    u = Population()(begun(dimensions), standard, score)
    assert ((u.mean(0) - truth) / 1e-3).abs().max() < 0.5
    assert ((u.std(0) / 1e-3).log().abs() < log(1.4)).all()


def test_a_row_has_the_same_particles_alone_and_among_others() -> None:
    truth = torch.tensor([0.1, -2.0, 0.7], dtype=torch.float64)[:, None]
    noise = torch.tensor([1e-3, 1.0, 0.1], dtype=torch.float64)

    def score(rows: list[int]) -> Tensor:
        def told(u: Tensor) -> Tensor:
            return -0.5 * (((u - truth[rows]) / noise[rows, None]).square().sum(-1))

        return Population()(begun(1), standard, told)

    together = score([0, 1, 2])
    for row in range(3):
        assert torch.allclose(score([row])[:, 0], together[:, row], atol=1e-12)
    assert torch.allclose(score([2, 0]), together[:, [2, 0]], atol=1e-12)
    assert torch.equal(score([0, 1, 2]), together)


def test_other_seeds_give_other_particles_and_no_generator_is_touched() -> None:
    def score(u: Tensor) -> Tensor:
        return standard(u - 1)

    before = torch.get_rng_state()
    first, second = (Population(50, seed)(begun(2, 400), standard, score) for seed in (0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.allclose(first, second)


def test_a_likelihood_that_tells_nothing_leaves_the_prior() -> None:
    u = Population(2000)(begun(2, 8000), standard, lambda u: torch.zeros(len(u), 2, dtype=u.dtype))
    law = MultivariateNormal(torch.zeros(2, dtype=u.dtype), torch.eye(2, dtype=u.dtype))
    assert u.mean(0).abs().max() < 0.1
    assert float(-law.log_prob(u).mean()) == pytest.approx(float(law.entropy()), abs=0.1)
