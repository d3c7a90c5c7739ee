"""Coverage, the ranked probability score and calibration, against closed forms, brute force and integrals."""

from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from polyvae.evaluation.calibration import (
    LEVELS,
    calibrate,
    central_band,
    coverage,
    crps,
    fewest,
    mean_where,
    normal_crps,
    quantile,
    varying,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_means_are_taken_over_what_is_scored() -> None:
    values = torch.arange(12.0).view(2, 2, 3)
    where = torch.tensor([[[1, 0, 0]], [[0, 1, 1]]])
    torch.testing.assert_close(mean_where(values, where), torch.tensor([1.5, (7 + 8 + 10 + 11) / 4]))
    torch.testing.assert_close(mean_where(values), torch.tensor([2.5, 8.5]))
    assert mean_where(values, torch.tensor([[[0]], [[1]]])).isnan().tolist() == [True, False]


def test_what_is_not_scored_may_be_no_number() -> None:
    values = torch.tensor([[1.0, torch.nan]])
    torch.testing.assert_close(mean_where(values, torch.tensor([[1, 0]])), torch.tensor([1.0]))


def test_coverage_counts_the_ends_of_a_band() -> None:
    x = torch.tensor([[0.0, 0.5, 1.0, 2.0]])
    assert coverage(x, torch.zeros(4), torch.ones(4)).tolist() == [0.75]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.floats(0, 1))
def test_quantiles_are_those_of_definition_6(count: int, probability: float) -> None:
    draws = normal(count, 3).sort(0).values
    expected = np.quantile(draws.numpy(), probability, axis=0, method="weibull")
    np.testing.assert_allclose(quantile(draws, probability).numpy(), expected, atol=1e-12)


def test_a_band_of_few_draws_covers_a_new_one_as_stated() -> None:
    draws, new = normal(19, 40_000).sort(0).values, normal(1, 40_000, seed=1)
    for level in (0.5, 0.9):
        found = coverage(new, *central_band(draws, level)).item()
        assert abs(found - level) < 4 * sqrt(level * (1 - level) / 40_000)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(0, 1000))
def test_the_score_is_the_double_sum(count: int, seed: int) -> None:
    draws, x = normal(count, 4, 2, seed=seed), normal(4, 2, seed=seed + 1)
    apart = (draws[:, None] - draws[None]).abs().sum((0, 1)) / (2 * count * (count - 1))
    expected = (draws - x).abs().mean(0) - apart
    torch.testing.assert_close(crps(draws, x), expected)
    torch.testing.assert_close(crps(draws.sort(0).values, x, ordered=True), expected)


def test_the_score_of_a_normal_is_the_integral_of_its_definition() -> None:
    for mean, std, x in ((0.0, 1.0, 0.3), (1.0, 0.2, -0.5), (-2.0, 3.0, 4.0)):

        def squared(t: float, mean: float = mean, std: float = std, x: float = x) -> float:
            return (norm.cdf(t, mean, std) - (t >= x)) ** 2

        low, high = min(x, mean - 12 * std), max(x, mean + 12 * std)
        expected = quad(squared, low, x)[0] + quad(squared, x, high)[0]
        found = normal_crps(*(torch.tensor(value, dtype=torch.float64) for value in (x, mean, std)))
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_score_of_a_law_without_spread_is_the_absolute_error() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0])
    torch.testing.assert_close(normal_crps(x, torch.zeros(3), torch.zeros(3)), x.abs())


def test_the_score_of_few_draws_is_unbiased() -> None:
    for count in (2, 5):
        scores = crps(0.5 + 2 * normal(count, 200_000), torch.full((200_000,), 1.7, dtype=torch.float64))
        expected = normal_crps(*(torch.tensor(value, dtype=torch.float64) for value in (1.7, 0.5, 2.0)))
        assert abs(float(scores.mean() - expected)) < 4 * float(scores.std()) / sqrt(200_000)


def test_the_score_is_best_for_the_true_spread() -> None:
    x, mean = normal(100_000), torch.zeros(())
    scores = [normal_crps(x, mean, torch.tensor(s)).mean().item() for s in (0.7, 1.0, 1.4)]
    assert scores[1] == min(scores)


def test_the_score_needs_two_draws() -> None:
    with pytest.raises(ValueError, match="at least two draws; got 1"):
        crps(torch.zeros(1, 3), torch.zeros(3))


def residuals(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Truth, mean and a stated spread that is wrong by another factor in each of two channels."""
    shape = (count, 2, 3, 3)
    mean, std = normal(*shape, seed=seed), 0.5 + normal(*shape, seed=seed + 1).abs()
    wrong = torch.tensor([0.25, 3.0], dtype=torch.float64).view(2, 1, 1)
    return mean + wrong * std * normal(*shape, seed=seed + 2), mean, std


@pytest.mark.parametrize("over", ["channel", "value"])
def test_calibrated_bands_cover_as_stated(over: str) -> None:
    found = calibrate(*residuals(4000, 0), over=over)
    x, mean, std = residuals(4000, 10)
    for level in LEVELS:
        low, high = found.band(mean, std, level)
        within = ((low <= x) & (x <= high)).double().mean((0, 2, 3))
        # Both samples are random: a factor of 4000 scores for each value is off as much as a share of 4000.
        error = 4 * sqrt(level * (1 - level) / (9 * 4000) * 2)
        assert bool(((within - level).abs() < error).all())
    torch.testing.assert_close(
        found.scale.reshape(2, -1).mean(1), torch.tensor([0.25, 3.0], dtype=torch.float64), rtol=0.02, atol=0
    )
    stretched = found.stretched(torch.stack([mean + std, mean - std]), mean)
    torch.testing.assert_close(stretched.std(0, correction=0), found.scale.expand_as(std) * std)


def test_one_factor_covers_all_values_together_but_not_each_channel() -> None:
    found = calibrate(*residuals(2000, 0), over="all")
    x, mean, std = residuals(2000, 10)
    low, high = found.band(mean, std, 0.9)
    assert float(coverage(x, low, high).mean()) == pytest.approx(0.9, abs=0.01)
    within = ((low <= x) & (x <= high)).double().mean((0, 2, 3))
    assert within[0] > 0.99
    assert within[1] < 0.85


def bordered(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values of which every second is 0 always, stated with as much spread as those that vary."""
    x = normal(count, 1, 4, 10, seed=seed)
    x[..., ::2] = 0.0
    mean, std = torch.zeros_like(x), torch.full_like(x, 0.7)
    mean[..., ::2] = 1e-3 * normal(count, 1, 4, 5, seed=seed + 1)
    return x, mean, std


def test_trap52_values_that_never_vary_do_not_narrow_the_bands_of_those_that_do() -> None:
    x, mean, std = bordered(2000, 10)
    shares = {}
    for over in ("all", "value"):
        found = calibrate(*bordered(200, 0), over=over)
        low, high = found.band(mean, std, 0.9)
        shares[over] = [float(coverage(x, low, high, where).mean()) for where in (torch.ones(10), varying(x))]
    assert calibrate(*bordered(200, 0)).factors[0.9].shape == (1, 4, 10)  # per value by default
    whole, alone = shares["all"]
    assert whole == pytest.approx(0.9, abs=0.02)
    assert alone == pytest.approx(0.8, abs=0.03)
    assert shares["value"] == pytest.approx([0.9, 0.9], abs=0.02)


@pytest.mark.parametrize("count", [5, 9, 18, 19, 40])
def test_few_examples_share_the_factor_of_the_values_that_vary(count: int) -> None:
    """Too few for a value's own factor at a level, as a maximum it would cover less than it says."""
    x, mean, std = bordered(4000, 10)
    trials = [calibrate(*bordered(count, 100 + seed)) for seed in range(30)]
    for level in LEVELS:
        held = [part[..., 1::2] for part in bordered(count, 100)]
        whole, largest = calibrate(*held, (level,), over="all"), (held[0] / held[2]).abs().amax(0)
        shared = torch.equal(trials[0].factors[level][..., 1::2], whole.factors[level].maximum(largest))
        assert shared == (count < fewest(level))
        bands = [found.band(mean, std, level) for found in trials]
        within = sum(coverage(x, *band, varying(x)).mean() for band in bands) / len(bands)
        # Between the level and one more than it that ranks of so few examples are apart.
        assert level - 0.02 < within < level + 1 / (count + 1) + 0.02


@pytest.mark.parametrize("count", [2, 5, 9, 15, 18, 19])
def test_the_band_of_a_higher_level_holds_that_of_a_lower_one(count: int) -> None:
    wide = torch.ones(20)
    wide[0] = 10
    within = torch.zeros(len(LEVELS))
    for seed in range(30):
        x = normal(count, 20, seed=seed) * wide
        found = calibrate(x, torch.zeros_like(x), torch.ones_like(x), LEVELS[::-1])
        factors = torch.stack([found.factors[level] for level in LEVELS])
        assert bool((factors.diff(dim=0) >= 0).all())
        new = 10 * normal(400, 1, seed=100 + seed).abs()
        within += (new <= factors[:, 0]).float().mean(0) / 30
    # What so few scores of the value itself can promise, the largest of which is exceeded once in count + 1 times.
    assert bool((within > torch.tensor(LEVELS).clamp(max=count / (count + 1)) - 0.06).all())


def test_factors_of_a_normal_are_its_quantiles() -> None:
    x = normal(200_000, 1)
    found = calibrate(x, torch.zeros_like(x), torch.full_like(x, 0.5))
    for level in LEVELS:
        assert found.factors[level].item() == pytest.approx(2 * norm.ppf((1 + level) / 2), rel=0.02)
    assert found.scale.item() == pytest.approx(2, rel=0.01)


def test_a_calibrated_band_covers_a_new_value_at_least_as_often_as_it_says_even_with_few_held_out() -> None:
    trials, few = 20_000, fewest(0.9)
    assert few == 9
    scores = normal(few, trials)
    found = calibrate(scores, torch.zeros_like(scores), torch.ones_like(scores), (0.9,), over="value")
    low, high = found.band(torch.zeros(trials), torch.ones(trials), 0.9)
    share = coverage(normal(1, trials, seed=1), low, high).item()
    assert abs(share - 0.9) < 4 * sqrt(0.09 / trials)


def test_only_what_is_scored_counts_and_what_never_is_takes_the_factor_of_all() -> None:
    x = torch.tensor([[1.0, 5.0, 9.0], [2.0, 6.0, 9.0], [3.0, 7.0, 9.0]])
    where = torch.tensor([1, 1, 0])
    found = calibrate(x, torch.zeros(3, 3), torch.ones(3, 3), (0.5,), "value", where)
    assert found.factors[0.5].tolist() == [2, 6, 5]
    whole = calibrate(x[:, :2], torch.zeros(3, 2), torch.ones(3, 2), over="all")
    torch.testing.assert_close(found.scale[2], whole.scale)


def test_the_scale_has_the_least_score_whatever_the_law_and_the_stated_spread() -> None:
    x, std = normal(500, 3) ** 3, 0.1 + normal(500, 3, seed=1).abs()
    mean = torch.zeros_like(x)
    for over in ("all", "channel"):
        found = calibrate(x, mean, std, over=over).scale
        scores = {f: normal_crps(x, mean, f * found * std).mean(0) for f in (0.99, 1.0, 1.01)}
        assert all(bool((scores[1.0].mean() < scores[f].mean()).all()) for f in (0.99, 1.01))
        if over == "channel":
            assert all(bool((scores[1.0] < scores[f]).all()) for f in (0.99, 1.01))


def test_a_spread_that_meets_no_error_is_scaled_to_nothing() -> None:
    x = torch.ones(4, 2)
    found = calibrate(x, x, x, over="all")
    assert found.scale.item() < 1e-12
    assert found.factors[0.95].item() == 0


def test_what_cannot_be_calibrated_is_refused() -> None:
    x, one = torch.ones(2, 2), torch.ones(2, 2)
    with pytest.raises(ValueError, match="over is one of all, channel, value; got 'pixel'"):
        calibrate(x, x, one, over="pixel")
    with pytest.raises(ValueError, match="between 0 and 1; got \\[90\\]"):
        calibrate(x, x, one, (0.5, 90))
    with pytest.raises(ValueError, match="no value is scored"):
        calibrate(x, x, one, where=torch.zeros(2, 2))
    with pytest.raises(ValueError, match="zero, or no number"):
        calibrate(x, x + 1, torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"calibrated levels are 0\.5, 0\.9, 0\.95; got 0\.8"):
        calibrate(x, x, one).band(x, one, 0.8)
    with pytest.raises(ValueError, match="lies in \\[0, 1\\]; got 90"):
        quantile(x, 90)


def test_the_score_of_a_normal_value_that_is_cut_off_is_the_integral_and_that_of_cut_draws() -> None:
    mean, std = torch.tensor([-0.3, 0.4, 1.2, 0.5]).double(), torch.tensor([0.5, 0.2, 0.7, 1e-9]).double()
    stream = torch.Generator().manual_seed(0)
    drawn = (mean + std * torch.randn(200_000, 4, generator=stream, dtype=torch.float64)).clamp(0, 1)
    for value in (0.0, 0.25, 0.9, 1.0, 1.5, -0.2):
        x = torch.full((4,), value).double()
        torch.testing.assert_close(normal_crps(x, mean, std, (0.0, 1.0)), crps(drawn, x), atol=3e-3, rtol=0)
        far = normal_crps(x, mean, std, (-1e3, 1e3))
        torch.testing.assert_close(far, normal_crps(x, mean, std), atol=1e-9, rtol=1e-9)
