"""The conditioned normal law against scipy's densities, the formula by blocks and its own draws, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from torch import Tensor

from helpers.completing import random
from polyvae.completion import normal
from polyvae.completion.normal import ConditionedNormal, best_ridge

SIZE = 5
MIXING = random(SIZE, SIZE, seed=3).double()
MEAN, COVARIANCE = torch.arange(SIZE).double(), MIXING @ MIXING.T + 0.1 * torch.eye(SIZE)
LAW = ConditionedNormal.of(MEAN, COVARIANCE)
BITS = st.lists(st.booleans(), min_size=SIZE, max_size=SIZE)


def examples(count: int, seed: int = 0) -> Tensor:
    return MEAN + random(count, SIZE, seed=seed).double() @ torch.linalg.cholesky(COVARIANCE).T


def density(x: Tensor, mean: Tensor, covariance: Any) -> Any:
    return multivariate_normal(mean.numpy(), covariance.numpy()).logpdf(x)


def by_blocks(x: Tensor, seen: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of all values of one example given its readings, by the formula."""
    inside = COVARIANCE[seen][:, seen] + noise[seen].diag()
    slopes = torch.linalg.solve(inside, COVARIANCE[seen]).T
    return MEAN + slopes @ (x - MEAN)[seen], COVARIANCE - slopes @ COVARIANCE[seen]


@settings(max_examples=30, deadline=None)
@given(st.lists(BITS, min_size=1, max_size=4), st.sampled_from([0.0, 0.3, [0.1, 0.2, 0.3, 0.0, 0.5]]))
def test_moments_are_those_of_the_formula_by_blocks(masks: list[list[bool]], noise: float | list[float]) -> None:
    seen, law = torch.tensor(masks), LAW.measured(torch.tensor(noise))
    x = examples(len(seen))
    mean, std = law.complete(torch.where(seen, x, torch.nan), seen)
    for row, some in enumerate(seen):
        expected, spread = by_blocks(x[row], some, law.noise.expand(SIZE))
        torch.testing.assert_close(mean[row], expected)
        torch.testing.assert_close(std[row], spread.diagonal().clamp(min=0).sqrt(), atol=1e-6, rtol=1e-6)
        exact = some & (law.noise == 0)
        assert torch.equal(mean[row][exact], x[row][exact])
        assert torch.equal(std[row][exact], torch.zeros(int(exact.sum())).double())


@settings(max_examples=20, deadline=None)
@given(BITS)
def test_densities_of_seen_and_unseen_are_scipys_and_multiply_to_that_of_all(mask: list[bool]) -> None:
    seen, x = torch.tensor(mask).expand(3, SIZE), examples(3)
    joint = torch.tensor(density(x, MEAN, COVARIANCE))
    marginal = torch.zeros(3).double()
    if any(mask):
        block = COVARIANCE[mask][:, mask]
        found = density(x[:, mask], MEAN[mask], block)
        marginal = torch.from_numpy(np.atleast_1d(found))
    torch.testing.assert_close(LAW.log_seen(x, seen), marginal)
    torch.testing.assert_close(LAW.log_unseen(x, seen) + LAW.log_seen(x, seen), joint)
    for row in range(3):
        mean, spread = by_blocks(x[row], seen[row], torch.zeros(SIZE).double())
        rest = ~seen[row]
        expected = 0.0
        if bool(rest.any()):
            expected = density(x[row, rest], mean[rest], spread[rest][:, rest])
        assert float(LAW.log_unseen(x, seen)[row]) == pytest.approx(float(expected))


def test_noise_of_readings_is_in_the_density_of_what_is_read_and_not_of_what_is_not() -> None:
    x, seen, law = examples(2), torch.tensor([[1, 1, 0, 0, 1]]), LAW.measured(0.4)
    mean, spread = by_blocks(x[0], seen[0].bool(), torch.full((SIZE,), 0.4).double())
    expected = density(x[0, 2:4], mean[2:4], spread[2:4, 2:4])
    assert float(law.log_unseen(x, seen)[0]) == pytest.approx(float(expected))
    block = [0, 1, 4]
    read = COVARIANCE[block][:, block] + 0.4 * torch.eye(3)
    expected = density(x[0, block], MEAN[block], read)
    assert float(law.log_seen(x, seen)[0]) == pytest.approx(float(expected))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_joint_draws_have_the_conditional_mean_and_covariance(noise: float) -> None:
    x, seen, law = examples(1), torch.tensor([[1, 0, 0, 1, 0]]), LAW.ridged(0.1).measured(noise)
    whole = ConditionedNormal.of(MEAN, COVARIANCE + law.diagonal.diag(), noise)
    drawn = law.draw(x.expand(40000, SIZE), seen, 1)[0]
    mean, std = whole.complete(x, seen)
    torch.testing.assert_close(law.complete(x, seen), (mean, std))
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.std(0), std[0], atol=0.04, rtol=0)
    inside = (COVARIANCE + law.diagonal.diag())[[0, 3]]
    solved = torch.linalg.solve(inside[:, [0, 3]] + noise * torch.eye(2), inside)
    spread = COVARIANCE + law.diagonal.diag() - inside.T @ solved
    torch.testing.assert_close(drawn.T.cov(), spread, atol=0.15, rtol=0)
    torch.testing.assert_close(law.draw(x, seen, 3, seed=1), law.draw(x, seen, 3, seed=1))


def test_without_a_matrix_of_all_values_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, x = random(6, 2, 3, 4), random(4, 2, 3, 4, seed=1)
    seen = (random(4, 1, 3, 4, seed=2) > 0.5).double()
    law = ConditionedNormal.fit(pictures, ridge=0.1)
    assert law.root.shape == (6, 24)
    found = law.complete(x, seen), law.log_unseen(x, seen)
    torch.testing.assert_close(
        ConditionedNormal.of(law.mean, law.covariance + law.diagonal.diag()).covariance,
        law.covariance + law.diagonal.diag(),
    )
    monkeypatch.setattr(normal, "WHOLE", 8)
    other = ConditionedNormal.fit(pictures, ridge=0.1)
    torch.testing.assert_close((other.complete(x, seen), other.log_unseen(x, seen)), found)
    assert "covariance" not in other.__dict__


def test_a_fit_is_the_examples_moments_and_one_mask_for_all_is_each_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    x = examples(50)
    law = ConditionedNormal.fit(x, ridge=0.2)
    torch.testing.assert_close(law.mean, x.mean(0))
    torch.testing.assert_close(law.covariance, x.T.cov(correction=0))
    torch.testing.assert_close(law.diagonal, 0.2 * x.var(0, correction=0))
    seen = torch.tensor([[1, 0, 1, 0, 0]])
    each = [law.complete(row, seen)[0] for row in x.split(1)]
    torch.testing.assert_close(law.complete(x, seen)[0], torch.cat(each))
    monkeypatch.setattr(normal, "PIECE", 30)
    several = torch.eye(SIZE).repeat(1, 1)
    whole = law.complete(x[:SIZE], several)
    torch.testing.assert_close(
        whole[1],
        torch.cat([law.complete(row, mask)[1] for row, mask in zip(x[:SIZE].split(1), several.split(1), strict=True)]),
    )


def test_the_ridge_is_the_one_that_scores_best_on_held_out_examples() -> None:
    x = random(300, 20, seed=5).double() @ random(20, 40, seed=6).double() + random(300, 40, seed=7)
    seen = torch.zeros(1, 40)
    seen[:, ::2] = 1
    few, many = (ConditionedNormal.fit(x[:count]) for count in (15, 200))
    errors = {}
    for ridge in normal.RIDGES:
        mean, _ = few.ridged(ridge).complete(x[200:], seen)
        errors[ridge] = float((mean - x[200:]).square().mean())
    chosen = float(best_ridge(few, x[200:], seen).diagonal[0])
    assert chosen > float(best_ridge(many, x[200:], seen).diagonal[0])
    mean, _ = best_ridge(few, x[200:], seen).complete(x[200:], seen)
    assert float((mean - x[200:]).square().mean()) < 1.1 * min(errors.values())
    assert float(best_ridge(few, x[200:], torch.ones(1, 40)).diagonal[0]) == float(
        few.ridged(normal.RIDGES[0]).diagonal[0]
    )


def test_what_is_no_law_or_no_reading_is_refused() -> None:
    x, seen = examples(2), torch.ones(1, SIZE)
    for wrong, message in (
        (lambda: ConditionedNormal.of(MEAN, -COVARIANCE), "leading 1 rows and columns are not"),
        (lambda: ConditionedNormal.fit(x[:1]), "at least two examples; got 1"),
        (lambda: ConditionedNormal.fit(x * torch.nan), "holds NaN"),
        (lambda: LAW.ridged(-1.0), "at least 0; got -1"),
        (lambda: LAW.measured(-0.5), "at least 0, or one for each value; got -0.5"),
        (lambda: LAW.measured(torch.ones(3)), "5 values; got 3 variances"),
        (lambda: LAW.complete(x[:, :4], seen), r"shape \[5\]; got \[4\]"),
        (lambda: LAW.complete(x * torch.nan, seen), "finite number"),
        (lambda: LAW.log_unseen(torch.where(seen == 1, torch.nan, x), torch.zeros(1, SIZE)), "finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
