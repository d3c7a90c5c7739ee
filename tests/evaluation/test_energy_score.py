"""The energy score of joint draws: brute force, the case of one value, and what scores of single values do not see."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyvae.evaluation import crps, energy_score


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(2, 7), st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_it_is_the_double_sum_over_the_values_that_are_scored(
    count: int, rows: int, shape: list[int], seed: int
) -> None:
    draws, x = numbers(count, rows, *shape, seed=seed), numbers(rows, *shape, seed=seed + 1)
    where = numbers(rows, *shape, seed=seed + 2) > -0.5
    found = energy_score(draws, x, where)
    for row in range(rows):
        if not where[row].any():
            assert found[row].isnan()
            continue
        each = draws[:, row][:, where[row]]
        near = sum(float((one - x[row][where[row]]).square().sum().sqrt()) for one in each) / count
        pairs = sum(float((one - other).square().sum().sqrt()) for one in each for other in each)
        assert float(found[row]) == pytest.approx(near - pairs / (2 * count * (count - 1)), abs=1e-9)


def test_of_one_value_it_is_the_ranked_probability_score() -> None:
    draws, x = 1e3 + numbers(50, 20, 1), 1e3 + numbers(20, 1, seed=1)
    torch.testing.assert_close(energy_score(draws, x), crps(draws, x)[:, 0])
    torch.testing.assert_close(
        energy_score(draws.float(), x.float()).float(), crps(draws, x)[:, 0].float(), atol=1e-3, rtol=0
    )


def test_it_is_unbiased_in_the_number_of_draws() -> None:
    x = numbers(4000, 2, seed=1)
    few, more = (energy_score(numbers(count, 4000, 2, seed=count), x) for count in (2, 8))
    assert abs(float(few.mean() - more.mean())) < 4 * float(few.std()) / sqrt(4000)


def test_draws_whose_values_belong_together_score_better_than_the_same_ones_shuffled() -> None:
    level = numbers(200, 300, 1)
    draws, x = (level + 0.1 * numbers(200, 300, 9, seed=2)), numbers(300, 1, seed=3) + 0.1 * numbers(300, 9, seed=4)
    apart = torch.stack([draws[:, :, place][torch.randperm(200)] for place in range(9)], 2)
    torch.testing.assert_close(crps(apart, x).mean(), crps(draws, x).mean())
    assert energy_score(draws, x).mean() < energy_score(apart, x).mean() - 0.05


def test_one_draw_has_no_score() -> None:
    with pytest.raises(ValueError, match="at least two draws; got 1"):
        energy_score(numbers(1, 3, 2), numbers(3, 2))
