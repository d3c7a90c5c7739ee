"""Laws over counts against SciPy, sums by brute force, and their limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy import stats
from torch import Tensor

from polyvae.model.distributions.counts import Counts, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from polyvae.model.laws import log_likelihood

LAWS = {
    "poisson": lambda mean, theta, gate: Poisson(mean.log()),
    "negative binomial": lambda mean, theta, gate: NegativeBinomial(mean.log(), theta.log()),
    "zero-inflated": lambda mean, theta, gate: ZeroInflatedNegativeBinomial(mean.log(), theta.log(), gate),
}
by_name = pytest.mark.parametrize("name", LAWS)
MEANS = (1e-8, 0.01, 0.7, 5.0, 300.0, 1e4, 1e6)
THETAS = (1e-6, 1e-3, 0.3, 2.0, 50.0, 1e4, 1e8)
COUNTS = (0.0, 1.0, 2.0, 7.0, 8.0, 60.0, 9000.0, 1_000_100.0)


def tensor(*values: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def grid(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Every mean with every theta and every count, as the number type holds them."""
    axes = [tensor(*values).to(dtype) for values in (MEANS, THETAS, COUNTS)]
    log_mean, log_theta, x = torch.meshgrid(axes[0].log(), axes[1].log(), axes[2], indexing="ij")
    return log_mean.contiguous(), log_theta.contiguous(), x.contiguous()


def digits(log_p: Any, x: Tensor, *parameters: Tensor) -> Tensor:
    """log p with forty digits, at the counts and the parameters' exponentials that the tensors stand for."""
    mp.dps = 40
    rows = zip(x.flatten(), *(parameter.exp().flatten() for parameter in parameters), strict=True)
    return tensor(*(float(log_p(*(mpf(number.item()) for number in row))) for row in rows)).view(x.shape)


def negative_binomial(x: Any, mean: Any, theta: Any) -> Any:
    gammas = mp.loggamma(x + theta) - mp.loggamma(theta) - mp.loggamma(x + 1)
    return gammas - theta * mp.log1p(mean / theta) + x * (mp.log(mean) - mp.log(theta + mean))


def poisson(x: Any, mean: Any) -> Any:
    return x * mp.log(mean) - mean - mp.loggamma(x + 1)


def relative(found: Tensor, value: Tensor) -> float:
    """The largest error, in units of the larger of 1 and the value."""
    return ((found.double() - value).abs() / value.abs().clamp(min=1)).max().item()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 3e-6), (torch.float64, 1e-11)])
def test_the_negative_binomial_is_right_to_the_last_digits_at_any_size(dtype, bound) -> None:
    """The sum of log-gammas is off by 21 times the value in single precision here."""
    log_mean, log_theta, x = grid(dtype)
    value = digits(negative_binomial, x, log_mean, log_theta)
    assert relative(NegativeBinomial(log_mean, log_theta).log_prob(x), value) < bound


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-11)])
def test_poisson_is_right_to_the_last_digits_at_any_size(dtype, bound) -> None:
    """torch's own is off by a hundredth of a nat at ten thousand in single precision, and by a nat at a million."""
    log_mean, _, x = (part[:, 0] for part in grid(dtype))
    assert relative(Poisson(log_mean).log_prob(x), digits(poisson, x, log_mean)) < bound


@settings(max_examples=60, deadline=None)
@given(st.floats(-6, 9), st.floats(-6, 12), st.integers(0, 20_000))
def test_the_negative_binomial_is_scipys(log_mean, log_theta, x) -> None:
    mean, theta = math.exp(log_mean), math.exp(log_theta)
    value = NegativeBinomial(tensor(log_mean), tensor(log_theta)).log_prob(tensor(x)).item()
    assert value == pytest.approx(stats.nbinom.logpmf(x, theta, theta / (theta + mean)), rel=1e-7, abs=1e-7)


@by_name
@settings(max_examples=30, deadline=None)
@given(mean=st.floats(0.01, 40), theta=st.floats(0.5, 1000), gate=st.floats(-4, 4), single=st.booleans())
def test_probabilities_sum_to_one_and_give_the_moments(name, mean, theta, gate, single) -> None:
    dtype = torch.float32 if single else torch.float64
    law = LAWS[name](*(tensor(value, dtype=dtype) for value in (mean, theta, gate)))
    x = torch.arange(6000, dtype=dtype)
    probability = law.log_prob(x).double().exp()
    tolerance = 1e-4 if single else 1e-9
    assert probability.sum().item() == pytest.approx(1, abs=tolerance)
    centre = (probability * x).sum().item()
    assert law.mean.item() == pytest.approx(centre, rel=tolerance)
    spread = (probability * (x - centre).square()).sum().item()
    assert law.variance.item() == pytest.approx(spread, rel=10 * tolerance)


@by_name
@pytest.mark.parametrize("mean", [0.5, 20.0])
def test_samples_follow_the_probabilities(name, mean) -> None:
    torch.manual_seed(0)
    law = LAWS[name](tensor(mean), tensor(1.5), tensor(-1.0))
    drawn = law.sample((40_000,)).flatten()
    assert law.support.check(drawn).all()
    assert law.support.is_discrete
    observed = torch.bincount(drawn.long(), minlength=400)[:400].double()
    expected = 40_000 * law.log_prob(torch.arange(400.0, dtype=torch.float64)).exp()
    often = expected > 8
    chi = ((observed - expected).square() / expected)[often].sum().item()
    count = int(often.sum())
    assert chi < count + 5 * math.sqrt(2 * count)


@given(x=st.integers(0, 500), mean=st.floats(0.1, 200))
@settings(max_examples=30, deadline=None)
def test_the_negative_binomial_becomes_poisson_as_theta_grows(x, mean) -> None:
    """By ((x - mu)^2 - x) / (2 theta) to first order, and not at all at the largest theta that a family gives."""
    count, log_mean, theta = tensor(x), tensor(mean).log(), 1e8
    gap = NegativeBinomial(log_mean, tensor(theta).log()).log_prob(count) - Poisson(log_mean).log_prob(count)
    assert theta * gap.item() == pytest.approx(((x - mean) ** 2 - x) / 2, rel=1e-2, abs=0.1)
    single = NegativeBinomial(log_mean.float(), tensor(30.0).float()).log_prob(count.float())
    torch.testing.assert_close(single, Poisson(log_mean.float()).log_prob(count.float()), rtol=3e-6, atol=3e-6)


def test_no_inflation_leaves_the_negative_binomial_and_full_inflation_leaves_zero() -> None:
    log_mean, log_theta, x = torch.randn(6), torch.randn(6), torch.arange(6.0)
    plain = NegativeBinomial(log_mean, log_theta).log_prob(x)
    torch.testing.assert_close(
        ZeroInflatedNegativeBinomial(log_mean, log_theta, torch.full((6,), -80.0)).log_prob(x), plain
    )
    full = ZeroInflatedNegativeBinomial(log_mean, log_theta, torch.full((6,), 80.0))
    assert full.log_prob(torch.zeros(6)).abs().max() < 1e-6
    assert (full.log_prob(torch.ones(6)) < -70).all()
    assert not full.sample().any()


@by_name
def test_gradients_are_those_of_finite_differences(name) -> None:
    torch.manual_seed(1)
    parameters = [torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    x = torch.randint(1, 30, (5, 4)).double()
    x[0] = 0
    assert torch.autograd.gradcheck(
        lambda *raw: LAWS[name](raw[0].exp(), raw[1].exp(), raw[2]).log_prob(x), tuple(parameters)
    )


def slopes(x: Any, log_mean: Any, log_theta: Any, gate: Any) -> dict[str, tuple[Any, ...]]:
    """The derivatives of log p by its parameters, in closed form."""
    mean, theta, odds = mp.exp(log_mean), mp.exp(log_theta), mp.exp(-gate)
    by_mean = theta * (x - mean) / (theta + mean)
    digammas = mp.digamma(x + theta) - mp.digamma(theta)
    by_theta = theta * (digammas - mp.log1p(mean / theta) + (mean - x) / (theta + mean))
    empty = mp.exp(-theta * mp.log1p(mean / theta))  # of no count
    share, inflated = 1 / (1 + odds), 1 / (1 + odds * empty)
    kept = 1 if x else 1 - inflated
    zeros = inflated - share if not x else -share
    return {
        "poisson": (x - mean,),
        "negative binomial": (by_mean, by_theta),
        "zero-inflated": (kept * by_mean, kept * by_theta, zeros),
    }


@by_name
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 4e-6), (torch.float64, 1e-10)])
@pytest.mark.parametrize("gate", [-30.0, -3.0, 0.0, 3.0])
def test_gradients_are_right_at_any_size(name, dtype, bound, gate) -> None:
    """In single precision that of log theta was infinite or NaN at theta = e^-30 and mu = e^30, and off by 0.4 at
    e^30 and e^15.
    """
    ends = [-30.0, -15.0, -5.0, 0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0]
    axes = torch.meshgrid(*(tensor(*each, dtype=dtype) for each in (ends, ends, (0, 1, 7, 1000))), indexing="ij")
    log_mean, log_theta, x = (axis.flatten() for axis in axes)
    parameters = [log_mean, log_theta, torch.full_like(x, gate)]
    parameters = [each.requires_grad_() for each in parameters[: {"poisson": 1, "negative binomial": 2}.get(name, 3)]]
    law = {"poisson": Poisson, "negative binomial": NegativeBinomial}.get(name, ZeroInflatedNegativeBinomial)
    found = torch.autograd.grad(law(*parameters).log_prob(x).sum(), parameters)
    mp.dps = 60
    rows = zip(x.tolist(), log_mean.tolist(), log_theta.tolist(), strict=True)
    true = [slopes(mpf(n), mpf(mean), mpf(theta), mpf(gate))[name] for n, mean, theta in rows]
    for gradient, expected in zip(found, zip(*true, strict=True), strict=True):
        assert relative(gradient, tensor(*map(float, expected))) < bound


def test_second_derivatives_are_those_of_finite_differences_and_rows_may_be_mapped() -> None:
    torch.manual_seed(1)
    parameters = [torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    x = torch.randint(0, 30, (5, 4)).double()
    assert torch.autograd.gradgradcheck(lambda mean, theta: NegativeBinomial(mean, theta).log_prob(x), parameters)

    def score(log_mean: Tensor, x: Tensor) -> Tensor:
        return NegativeBinomial(log_mean, parameters[1][0].detach()).log_prob(x).sum()

    mapped = torch.func.vmap(torch.func.grad(score))(parameters[0], x)
    whole = torch.stack([torch.func.grad(score)(row, counts) for row, counts in zip(parameters[0], x, strict=True)])
    torch.testing.assert_close(mapped, whole)


@by_name
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("one", [(3,), (1, 3)])
def test_one_row_for_all_columns_may_be_shared(name, row, one) -> None:
    """A theta per column has no batch dimension, or one of size 1: expanded, unfolded, in the event the law in full."""
    log_mean, log_theta, gate = torch.randn(6, 3), torch.randn(one), torch.randn(6, 3)
    x = torch.poisson(torch.full((2, 3), 3.0))
    written = Counts(LAWS[name](log_mean.exp(), log_theta.exp().expand(6, 3), gate), 1)
    shared = Counts(LAWS[name](log_mean.exp(), log_theta.exp(), gate), 1)
    assert shared.batch_shape == (6,)
    assert shared.event_shape == (3,)
    assert shared.expand((4, 6)).log_prob(torch.zeros(3)).shape == (4, 6)
    scores = log_likelihood(shared, x, 3)
    torch.testing.assert_close(scores, written.log_prob(x.repeat(3, 1)).view(3, 2))
    torch.testing.assert_close(scores[row, 1], written.log_prob(x[1])[2 * row + 1])


def test_moments_agree_with_scipys() -> None:
    mean, theta = 4.0, 2.5
    law: Any = stats.nbinom(theta, theta / (theta + mean))
    mine = NegativeBinomial(tensor(mean).log(), tensor(theta).log())
    np.testing.assert_allclose([mine.mean.item(), mine.variance.item()], [law.mean(), law.var()])
