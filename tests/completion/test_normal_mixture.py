"""The conditioned mixture: with one component the normal law, with several scikit-learn's, and its conditional."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from helpers.completing import random
from polyvae.completion.normal import ConditionedNormal
from polyvae.completion.normal_mixture import ConditionedMixture, best_mixture

SIZE = 4
WEIGHTS = torch.tensor([0.5, 0.3, 0.2]).double()
MEANS = 2 * random(3, SIZE, seed=1).double()
COVARIANCES = torch.stack([each @ each.T + 0.2 * torch.eye(SIZE) for each in random(3, SIZE, SIZE, seed=2).double()])
JOINT = MixtureSameFamily(Categorical(WEIGHTS), MultivariateNormal(MEANS, COVARIANCES))
PARTS = tuple(ConditionedNormal.of(*each) for each in zip(MEANS, COVARIANCES, strict=True))
LAW = ConditionedMixture(WEIGHTS.log(), PARTS)


def marginal(some: Tensor) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(WEIGHTS), MultivariateNormal(MEANS[:, some], COVARIANCES[:, some][:, :, some]))


def clustered(count: int, seed: int = 0) -> Tensor:
    """Rows of three clusters far apart."""
    centres = 6 * random(3, SIZE, seed=9).double()
    return centres[torch.arange(count) % 3] + random(count, SIZE, seed=seed).double()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=SIZE, max_size=SIZE))
def test_densities_given_what_is_seen_are_ratios_of_marginal_densities(mask: list[bool]) -> None:
    x, some = 2 * random(3, SIZE).double(), torch.tensor(mask)
    seen = some.expand(3, SIZE)
    joint = JOINT.log_prob(x)
    known = marginal(some).log_prob(x[:, some]) if any(mask) else torch.zeros(3).double()
    torch.testing.assert_close(LAW.log_seen(x, seen), known)
    torch.testing.assert_close(LAW.log_unseen(x, seen) + known, joint)
    values = LAW.log_values(torch.where(seen, x, x), seen)
    for column in range(SIZE):
        if mask[column]:
            assert bool(values[:, column].isnan().all())
            continue
        more = some.clone()
        more[column] = True
        torch.testing.assert_close(values[:, column], marginal(more).log_prob(x[:, more]) - known)


def test_moments_are_those_of_the_density_by_a_sum_over_a_fine_grid() -> None:
    x, seen = random(2, SIZE).double(), torch.tensor([[1, 1, 0, 1]])
    line = torch.linspace(-25, 25, 5001).double()
    for row, (mean, std) in enumerate(zip(*LAW.complete(x, seen), strict=True)):
        rows = x[row].repeat(len(line), 1)
        rows[:, 2] = line
        density = JOINT.log_prob(rows).softmax(0)
        expected = float((density * line).sum())
        assert float(mean[2]) == pytest.approx(expected)
        assert float(std[2]) == pytest.approx(float((density * (line - expected).square()).sum().sqrt()))
        assert torch.equal(mean[[0, 1, 3]], x[row, [0, 1, 3]])
        assert float(std[[0, 1, 3]].sum()) == 0


def test_draws_are_of_the_conditional_mixture_jointly() -> None:
    x, seen = random(1, SIZE).double(), torch.tensor([[0, 1, 0, 0]])
    drawn = LAW.draw(x.expand(4000, SIZE), seen, 10).flatten(0, 1)
    mean, std = LAW.complete(x, seen)
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.std(0), std[0], atol=0.06, rtol=0)
    # E[x_0 x_2 | y] = sum_k r_k (cov_k + mean_k mean_k')
    shares, products = LAW.log_shares(x, seen).exp()[0], 0.0
    for share, part in zip(shares, PARTS, strict=True):
        ((_, found),) = part.given(torch.where(seen == 1, x, 0.0), seen.bool())
        spread = part.covariance - found.slopes[0].T @ found.slopes[0]
        products += float(share * (spread[0, 2] + found.mean[0, 0, 0] * found.mean[0, 0, 2]))
    assert float((drawn[:, 0] * drawn[:, 2]).mean()) == pytest.approx(products, abs=0.15)


def test_one_component_of_whole_rows_is_the_normal_law() -> None:
    x, seen = random(60, SIZE).double() @ random(SIZE, SIZE, seed=4).double(), random(9, SIZE, seed=5) > 0
    mixture, law = ConditionedMixture.fit(x, 1, 0.1), ConditionedNormal.fit(x, 0.1)
    for name in ("complete", "log_seen", "log_unseen"):
        torch.testing.assert_close(getattr(mixture, name)(x[:9], seen), getattr(law, name)(x[:9], seen))
    mean, std = law.complete(x[:9], seen)
    expected = Normal(mean, torch.where(seen, 1.0, std)).log_prob(x[:9]).masked_fill(seen, torch.nan)
    torch.testing.assert_close(mixture.log_values(x[:9], seen), expected, equal_nan=True)


def test_several_components_of_whole_rows_are_those_of_scikit_learn() -> None:
    x = clustered(240)
    found = ConditionedMixture.fit(x, 3, 0.0)
    other = GaussianMixture(3, tol=1e-8, max_iter=500, reg_covar=0.0, random_state=0).fit(x.numpy())
    whole = torch.ones_like(x)
    assert float(found.log_seen(x, whole).mean()) == pytest.approx(other.score(x.numpy()), abs=1e-4)
    assert found.log_weights.exp().sort().values.tolist() == pytest.approx(
        np.sort(np.asarray(other.weights_)).tolist(), abs=1e-3
    )


def test_rows_with_gaps_have_a_likelihood_that_em_brings_to_its_stationary_point() -> None:
    """At the end the gradient, by autograd of the plain density of what is seen, is as good as zero."""
    x = clustered(150)
    seen = random(150, SIZE, seed=3) > -0.4
    found = ConditionedMixture.fit(torch.where(seen, x, torch.nan), 2, 0.0, seen, rounds=500)
    means = torch.stack([part.mean for part in found.parts]).requires_grad_()
    covariances = torch.stack([part.covariance for part in found.parts])
    weights = found.log_weights.clone().requires_grad_()
    score = torch.zeros(()).double()
    for row, some in zip(x, seen, strict=True):
        if bool(some.any()):
            parts = MultivariateNormal(means[:, some], covariances[:, some][:, :, some])
            score = score + (weights.log_softmax(0) + parts.log_prob(row[some])).logsumexp(0) / len(x)
    assert float(found.log_seen(x, seen).mean()) == pytest.approx(float(score.detach()))
    slopes, best = torch.autograd.grad(score, (means, weights)), float(score.detach())
    assert max(float(slope.abs().max()) for slope in slopes) < 5e-3
    away = ConditionedMixture(
        weights.detach(),
        tuple(ConditionedNormal.of(*each) for each in zip(means.detach() + 0.2, covariances, strict=True)),
    )
    assert float(away.log_seen(x, seen).mean()) < best


def test_the_components_are_as_many_as_held_out_rows_ask_for() -> None:
    assert len(best_mixture(clustered(300), clustered(90, seed=1)).parts) == 3
    assert len(best_mixture(random(300, SIZE).double(), random(90, SIZE, seed=1).double()).parts) == 1


def test_what_has_no_mixture_is_refused() -> None:
    x = clustered(5)
    for wrong, message in (
        (lambda: ConditionedMixture.fit(x, 0), "count counts components, at least 1; got 0"),
        (lambda: ConditionedMixture.fit(x, 6), "a mixture of 6 is fitted to as many rows"),
        (lambda: ConditionedMixture.fit(x, 1, -1.0), "at least 0; got -1"),
        (lambda: ConditionedMixture.fit(x, 1, seen=torch.eye(5, SIZE)), "column 0 has fewer than two values"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
    constant = torch.cat([x, torch.ones(5, 1)], 1)
    assert bool(
        ConditionedMixture.fit(constant, 1, 1e-3).log_seen(constant, torch.ones_like(constant)).isfinite().all()
    )
