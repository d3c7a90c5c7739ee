"""Coordinates of skewed columns: a density there is one here, and a mean there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, yeojohnson

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from imputation_columns import Coordinates, systems

SKEWED = np.random.default_rng(0).lognormal(size=(400, 3))
SKEWED[:, 1] *= np.random.default_rng(1).random(400) > 0.1  # a column with zeros
SKEWED[:, 2] -= SKEWED[:, 2].mean()  # and one with values below zero
ROWS = (SKEWED - SKEWED.mean(0)) / SKEWED.std(0)
ZERO = -SKEWED.mean(0) / SKEWED.std(0)


def of_one(power: float, unit: float = 0.3) -> Coordinates:
    return Coordinates(*(np.array([value]) for value in (-0.7, unit, power, 0.4, 1.3)))


@given(st.integers(0, 200).map(lambda hundredths: hundredths / 100), st.floats(0.05, 3), st.floats(-4, 4))
def test_the_way_back_is_the_inverse_and_the_slope_is_the_derivative(power: float, unit: float, place: float) -> None:
    """Of all of the line, whatever the power."""
    coordinates, x = of_one(power, unit), np.array([place])
    np.testing.assert_allclose(coordinates.back(coordinates.of(x)), x, rtol=1e-6, atol=1e-6)
    slope = np.exp(coordinates.log_slope(x))
    step = 1e-4 * unit
    measured = (coordinates.of(x + step) - coordinates.of(x - step)) / (2 * step)
    np.testing.assert_allclose(slope, measured, rtol=1e-3)


@pytest.mark.parametrize("power", [0.0, 0.4, 1.0, 1.7, 2.0])
def test_a_density_there_is_one_here_whose_mean_is_the_one_that_is_told(power: float) -> None:
    """Two normals there, integrated here over all of the line."""
    coordinates = of_one(power)
    shares, mean, std = (np.array([each]).T for each in ([0.3, 0.7], [-0.5, 0.9], [0.4, 0.6]))

    def density(x: float) -> float:
        at = np.array([x])
        there = (shares * norm.pdf(coordinates.of(at), mean, std)).sum(0)
        return (there * np.exp(coordinates.log_slope(at))).item()

    low, high = (coordinates.back(np.array([end])).item() for end in (-8.0, 8.0))
    kink = -0.7
    total, centre = (
        sum(quad(found, *ends, limit=500, epsabs=1e-9)[0] for ends in ((low, kink), (kink, 2.0), (2.0, high)))
        for found in (density, lambda x: x * density(x))
    )
    assert total == pytest.approx(1, abs=1e-6)
    told = coordinates.expected(shares, mean, std).item()
    assert told == pytest.approx(centre, abs=1e-3)
    if power != 1:
        assert abs(coordinates.back((shares * mean).sum(0)).item() - centre) > 0.02  # the inverse of the mean


def test_the_mean_of_a_logarithm_is_that_of_a_log_normal() -> None:
    """E[x] = exp(mu + sigma^2 / 2) - unit, where next to nothing lies below zero."""
    coordinates = Coordinates(*(np.array([value]) for value in (0.0, 0.01, 0.0, 0.0, 1.0)))
    mean, std = np.array([[6.0]]), np.array([[0.7]])
    told = coordinates.expected(np.ones((1, 1)), mean, std)
    np.testing.assert_allclose(told, 0.01 * (np.exp(mean + std**2 / 2) - 1)[0], rtol=1e-9)


def test_powers_are_those_of_scipy() -> None:
    np.testing.assert_allclose(
        Coordinates(*(np.array([value]) for value in (0.0, 1.0, 0.3, 0.0, 1.0))).of(ROWS[:, :1])[:, 0],
        np.asarray(yeojohnson(ROWS[:, 0], lmbda=0.3)),
    )


def test_systems_leave_what_is_as_it_is_and_take_skewed_columns_nearer_to_a_normal_law() -> None:
    found = systems(np.where(np.random.default_rng(2).random(ROWS.shape) < 0.3, np.nan, ROWS), ZERO)
    np.testing.assert_allclose(found["as it is"].of(ROWS), ROWS, rtol=1e-12)
    plain, logs, powers = (found[name].log_likelihood(ROWS) for name in ("as it is", "logarithms", "Yeo-Johnson"))
    assert logs[0] > powers[0] > plain[0] + 0.3  # a log-normal column
    assert logs[1] > plain[1]  # zeros stand in the way of no logarithm
    assert logs[2] == pytest.approx(plain[2], abs=0.05)  # with values below zero it is left alone
    assert powers[2] > plain[2] + 0.3


def test_a_table_below_zero_has_no_logarithms() -> None:
    assert "logarithms" not in systems(ROWS[:, 2:], np.zeros(1))


def test_a_column_that_is_zero_wherever_it_is_seen_has_no_logarithm() -> None:
    rows = np.concatenate([np.abs(ROWS[:, :1]), np.zeros((len(ROWS), 1))], 1)
    bent = systems(rows, np.zeros(2))["logarithms"]
    assert np.isfinite(bent.of(rows)).all()
    assert np.isfinite(bent.log_likelihood(rows)).all()
