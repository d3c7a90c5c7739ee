from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily

from polyvae.model.distributions.grey import DiscretisedLogistic, GreyLevels, GridCategorical


def grid(levels: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.arange(levels, dtype=dtype) / (levels - 1)


def logistic(loc: float, scale: float, levels: int, dtype: torch.dtype = torch.float64) -> DiscretisedLogistic:
    return DiscretisedLogistic(torch.tensor(loc, dtype=dtype), torch.tensor(scale, dtype=dtype), levels)


@settings(max_examples=60, deadline=None)
@given(loc=st.floats(-3, 4), log_scale=st.floats(-9, 3), levels=st.sampled_from([2, 3, 16, 256]), single=st.booleans())
def test_discretised_logistic_sums_to_one(loc, log_scale, levels, single) -> None:
    dtype = torch.float32 if single else torch.float64
    law = logistic(loc, 10.0**log_scale if log_scale > -5 else 1e-5, levels, dtype)
    total = law.log_prob(grid(levels, dtype)).double().exp().sum().item()
    assert total == pytest.approx(1, abs=2e-3 if single else 1e-9)


def test_discretised_logistic_is_the_difference_of_its_distribution_function() -> None:
    loc, scale, levels = 0.4, 0.07, 16
    x, half = grid(levels), 0.5 / (levels - 1)
    upper = ((x + half - loc) / scale).sigmoid()
    lower = ((x - half - loc) / scale).sigmoid()
    upper[-1], lower[0] = 1.0, 0.0
    torch.testing.assert_close(logistic(loc, scale, levels).log_prob(x).exp(), upper - lower)


def test_single_precision_keeps_its_digits_far_in_the_tail() -> None:
    """There the difference of two distribution functions is zero in single precision, its logarithm is not."""
    x = grid(256, torch.float32)[[0, 100, 254, 255]]
    single = logistic(-1.0, 0.01, 256, torch.float32).log_prob(x)
    double = logistic(-1.0, 0.01, 256).log_prob(x.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
    assert single.min() < -150


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_discretised_logistic_samples_follow_its_probabilities(levels) -> None:
    torch.manual_seed(0)
    law = logistic(0.3, 0.2, levels)
    x = law.sample((50_000,))
    assert GreyLevels(levels).check(x).all()
    counts = torch.bincount((x * (levels - 1)).round().long(), minlength=levels).double()
    expected = 50_000 * law.log_prob(grid(levels)).exp()
    chi = ((counts - expected).square() / expected).sum().item()
    assert chi < levels - 1 + 5 * (2 * (levels - 1)) ** 0.5


@settings(max_examples=40, deadline=None)
@given(loc=st.floats(-1, 2), scale=st.floats(1e-4, 3), levels=st.sampled_from([2, 16, 32, 33, 256]))
def test_discretised_logistic_mean(loc, scale, levels) -> None:
    law, x = logistic(loc, scale, levels), grid(levels)
    true = (law.log_prob(x).exp() * x).sum().item()
    step = 1 / (levels - 1)
    bound = 1e-9 if levels <= 32 else step * (0.02 if scale > step else 0.5)
    assert abs(law.mean.item() - true) <= bound


def test_discretised_logistic_broadcasts_and_expands() -> None:
    law = DiscretisedLogistic(torch.rand(3, 1, 4), torch.rand(5, 4) + 0.1, 8)
    assert law.batch_shape == (3, 5, 4)
    assert law.sample((2,)).shape == (2, 3, 5, 4)
    assert law.expand((6, 3, 5, 4)).log_prob(grid(8, torch.float32)[3]).shape == (6, 3, 5, 4)


def test_a_mixture_sums_to_one_and_its_mean_is_the_weighted_mean() -> None:
    logits, loc = torch.randn(4, 3, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64)
    parts = DiscretisedLogistic(loc, 0.05 + torch.rand(4, 3, dtype=torch.float64) / 5, 16)
    law = MixtureSameFamily(Categorical(logits=logits), parts, validate_args=False)
    every = grid(16).unsqueeze(-1).expand(16, 4)
    probability = law.log_prob(every).exp()
    torch.testing.assert_close(probability.sum(0), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(law.mean, (probability * every).sum(0))
    assert law.support.is_discrete
    assert law.expand((2, 4)).sample((3,)).shape == (3, 2, 4)


def test_grid_categorical_is_torchs_on_the_grid() -> None:
    logits = 4 * torch.randn(2, 3, 7, dtype=torch.float64)
    law, reference = GridCategorical(logits), Categorical(logits=logits)
    index = torch.randint(7, (5, 2, 3))
    torch.testing.assert_close(law.log_prob(index.double() / 6), reference.log_prob(index))
    torch.testing.assert_close(law.expand((5, 2, 3)).log_prob(index.double() / 6), reference.log_prob(index))
    torch.testing.assert_close(law.mean, (reference.probs * grid(7)).sum(-1))
    wide = GridCategorical(logits.expand(4, 2, 3, 7))
    torch.testing.assert_close(wide.log_prob(index[0].double() / 6)[2], reference.log_prob(index[0]))


def test_grid_categorical_reads_bytes_scaled_to_one() -> None:
    """x / 255 in single precision must find its own level again."""
    logits = torch.randn(256)
    x = torch.arange(256, dtype=torch.uint8).float() / 255
    torch.testing.assert_close(GridCategorical(logits).log_prob(x), logits.log_softmax(0))


def test_grid_categorical_samples_follow_its_probabilities() -> None:
    torch.manual_seed(0)
    law = GridCategorical(torch.randn(2, 5, dtype=torch.float64))
    x = law.sample((20_000,))
    assert x.shape == (20_000, 2)
    assert law.support.check(x).all()
    assert law.sample().shape == (2,)
    for row in range(2):
        shares = torch.bincount((x[:, row] * 4).round().long(), minlength=5) / 20_000
        torch.testing.assert_close(shares.double(), law.probs[row], atol=0.015, rtol=0)


def test_the_grid_knows_its_values() -> None:
    assert GreyLevels(4).check(torch.tensor([0, 1 / 3, 2 / 3, 1])).all()
    assert not GreyLevels(4).check(torch.tensor([0.5, -1 / 3, 4 / 3])).any()
    assert GreyLevels(4).is_discrete
