"""The search for kernels: its likelihood is that of a normal law, its slope that of differences, its end another's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from polyvae.model.kernels import NOISES, Spectrum, _by_lengths, judged, kernel, searched, squares


def draws(rows: int, inputs: int, targets: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    v = torch.randn(rows, inputs, generator=stream, dtype=torch.float64)
    y = torch.stack([(v @ torch.randn(inputs, generator=stream, dtype=v.dtype)).sin() for _ in range(targets)], 1)
    return v, y + 0.1 * torch.randn(y.shape, generator=stream, dtype=v.dtype)


def test_squares_are_those_of_each_pair() -> None:
    v, w = draws(7, 3, 1)[0], draws(5, 3, 1, seed=1)[0]
    assert torch.allclose(squares(v, w), torch.cdist(v, w).square())
    assert squares(v, v).min() >= 0


@pytest.mark.parametrize("shape", [0.5, 2.0])
def test_a_kernel_is_the_rational_quadratic_one(shape: float) -> None:
    square = torch.linspace(0, 30, 50, dtype=torch.float64)
    assert torch.allclose(kernel(square, shape), (1 + square / (2 * shape)) ** -shape)


def test_of_a_large_shape_it_is_the_squared_exponential() -> None:
    square = torch.linspace(0, 30, 50, dtype=torch.float64)
    assert torch.allclose(kernel(square, 1e8), (-square / 2).exp(), rtol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", [0.5, 2.0, 1e8])
def test_the_cost_is_minus_the_likelihood_of_a_normal_law_at_its_best_amplitude(shape: float, shared: bool) -> None:
    v, y = draws(20, 2, 3)
    lengths = torch.tensor([1.5, 0.7], dtype=v.dtype)
    found, _ = judged(Spectrum.of(v, shape, lengths), y, shared)
    h = kernel(squares(v / lengths, v / lengths), shape)

    def cost(target: Tensor, noise: float) -> float:
        covariance = (h + noise * torch.eye(20)).numpy()
        amplitude = target.numpy() @ np.linalg.solve(covariance, target.numpy()) / 20
        law: Any = multivariate_normal  # whose stub wants whole numbers of a covariance
        return -float(law.logpdf(target.numpy(), cov=amplitude * covariance))

    dropped = 0.5 * 20 * (np.log(2 * np.pi) + 1)
    told = [cost(y[:, j], float(found.noise[j])) - dropped for j in range(3)]
    assert found.cost == pytest.approx(sum(told), rel=1e-6)
    every = np.array([[cost(y[:, j], noise) - dropped for noise in NOISES if noise > 1e-9] for j in range(3)])
    best = every.sum(0).min() if shared else every.min(1).sum()
    assert found.cost == pytest.approx(best, rel=1e-6)
    assert not shared or len(found.noise.unique()) == 1


def test_its_slope_is_that_of_finite_differences() -> None:
    v, y = draws(15, 2, 2)
    y = y + 0.5 * torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)

    def cost(logarithm: Tensor, noise: Tensor) -> Tensor:
        scaled = v / logarithm.exp()
        total = torch.zeros((), dtype=v.dtype)
        for target, each in zip(y.T, noise, strict=True):
            covariance = kernel(torch.cdist(scaled, scaled).square(), 2.0) + each * torch.eye(15, dtype=v.dtype)
            amplitude = target @ torch.linalg.solve(covariance, target) / 15
            total = total + 7.5 * amplitude.log() + 0.5 * torch.logdet(covariance)
        return total

    raw = torch.tensor([0.3, -0.2], dtype=v.dtype)
    found, slope = judged(Spectrum.of(v, 2.0, raw.exp()), y, False)
    slopes = _by_lengths(slope, v / raw.exp(), 2.0)
    for step, told in zip(1e-5 * torch.eye(2, dtype=v.dtype), slopes, strict=True):
        expected = (cost(raw + step, found.noise) - cost(raw - step, found.noise)) / 2e-5
        assert float(told) == pytest.approx(float(expected), rel=1e-5)


def test_the_search_ends_near_the_optimum_that_scikit_learn_finds() -> None:
    gaussian_process = pytest.importorskip("sklearn.gaussian_process")
    kernels = gaussian_process.kernels
    v, y = draws(60, 1, 1)
    (found,) = searched(v, [y - y.mean(0)], torch.ones(1, dtype=v.dtype), True)
    prior = kernels.ConstantKernel() * kernels.RBF() + kernels.WhiteKernel(0.01)
    other = gaussian_process.GaussianProcessRegressor(prior, alpha=0, n_restarts_optimizer=1, random_state=0)
    other.fit(v.numpy(), (y - y.mean(0)).numpy()[:, 0])
    expected = -other.log_marginal_likelihood_value_ - 30 * (np.log(2 * np.pi) + 1)
    assert found.cost < expected + 0.5
    assert float(found.lengths) == pytest.approx(other.kernel_.k1.k2.length_scale, rel=0.5)


def test_each_input_has_a_length_where_that_is_worth_it() -> None:
    v, _ = draws(40, 3, 1)
    y = (2 * v[:, :1]).sin()
    (found,) = searched(v, [y - y.mean(0)], torch.ones(3, dtype=v.dtype), True)
    assert (found.lengths[1:] > 10 * found.lengths[0]).all()
    alike = v.square().sum(1, keepdim=True)
    (found,) = searched(v, [alike - alike.mean(0)], torch.ones(3, dtype=v.dtype), True)
    assert len(found.lengths.unique()) == 1


def test_lengths_in_a_common_unit_where_inputs_have_one() -> None:
    v, _ = draws(60, 2, 1)
    units = torch.tensor([1.0, 0.05], dtype=v.dtype)
    y = (2 * v[:, :1] * units[:1]).sin() + (2 * v[:, 1:] * units[1:]).sin()
    (found,) = searched(v, [y - y.mean(0)], units, True)
    raw = found.lengths * units
    assert found.lengths[1] > 5 * found.lengths[0]
    assert float(raw.max() / raw.min()) < 4


def test_groups_searched_together_are_those_searched_alone() -> None:
    v, y = draws(30, 2, 4)
    together = searched(v, [y[:, :1], y[:, 1:]], torch.ones(2, dtype=v.dtype), False)
    for found, some in zip(together, [y[:, :1], y[:, 1:]], strict=True):
        (alone,) = searched(v, [some], torch.ones(2, dtype=v.dtype), False)
        assert torch.equal(found.lengths, alone.lengths)
        assert torch.equal(found.noise, alone.noise)
        assert (found.shape, found.cost) == (alone.shape, alone.cost)
