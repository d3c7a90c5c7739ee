"""Student's t, the continuous Bernoulli and coupled colours beside SciPy, torch, integrals and sums by brute force."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch import distributions as td
from torch.utils._python_dispatch import TorchDispatchMode

from polyvae.model import families
from polyvae.model.distributions import Bernoulli, ContinuousBernoulli, CoupledLogisticMixture, StudentT
from polyvae.model.laws import detached, log_likelihood, value_log_prob

ODDS = torch.tensor([-300.0, -40, -16, -1.01, -0.99, -0.031, -0.029, -1e-6, 0, 1e-3, 0.5, 1.01, 3, 40, 300])


@settings(max_examples=40, deadline=None)
@given(df=st.floats(2.01, 1e6), loc=st.floats(-3, 3), scale=st.floats(0.01, 10), x=st.floats(-1e3, 1e3))
def test_student_t_is_scipys_in_double_and_in_single_precision(df, loc, scale, x) -> None:
    expected = float(stats.t.logpdf(x, df, loc, scale))
    double = StudentT(*(torch.tensor(each, dtype=torch.float64) for each in (df, loc, scale)))
    assert float(double.log_prob(torch.tensor(x, dtype=torch.float64))) == pytest.approx(expected, rel=1e-7, abs=1e-7)
    if abs(x - loc) < 20 * scale:
        single = StudentT(*(torch.tensor(each) for each in (df, loc, scale)))
        assert float(single.log_prob(torch.tensor(x))) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert float(double.variance) == pytest.approx(float(stats.t.var(df, loc, scale)), rel=1e-9)


def test_student_t_draws_follow_it_and_pass_gradients_on() -> None:
    torch.manual_seed(0)
    df = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    law = StudentT(df, torch.full((2,), 0.5, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64))
    x = law.rsample((20_000,))
    for column in x.detach().unbind(1):
        assert stats.kstest(column.numpy(), stats.t(3, 0.5, 2).cdf).pvalue > 0.01
    (gradient,) = torch.autograd.grad(x.abs().mean(), df)
    assert gradient < 0  # lighter tails
    assert law.expand((4, 2)).sample().shape == (4, 2)
    assert not detached(law).log_prob(x.detach()).requires_grad


class LogGammas(TorchDispatchMode):
    """How many values log G is asked of, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.lgamma.default:
            self.counts.append(args[0].numel())
        return func(*args, **(kwargs or {}))


def test_degrees_of_freedom_that_all_values_share_are_worked_out_once() -> None:
    law = families.StudentT("network")(torch.zeros(4, 6, 5, 5))
    for each in (law, detached(law), law.expand((2, 4))):
        with LogGammas() as seen:
            each.log_prob(torch.zeros(4, 3, 5, 5))
        assert seen.counts == [1, 1]


def test_the_degrees_of_freedom_are_learned_from_the_tails() -> None:
    """The gradient at the start, 45 degrees, is towards those of the data."""
    for df, sign in ((4, -1), (1e6, 1)):
        family = families.StudentT(1.0)
        data = torch.from_numpy(stats.t(df).rvs(40_000, random_state=0)).float()[:, None]
        family(torch.zeros_like(data)).log_prob(data).mean().backward()
        assert family.raw_df.grad is not None
        assert float(family.raw_df.grad) * sign > 0
    assert float(family(torch.zeros(1, 1)).base_dist.df.detach()) == pytest.approx((2.01 * 1000) ** 0.5)


def test_many_degrees_of_freedom_are_a_normal() -> None:
    family = families.StudentT(0.7)
    torch.nn.init.constant_(family.raw_df, 5.0)
    x = torch.linspace(-2, 2, 50)[:, None]
    normal = td.Normal(torch.zeros(1), 0.7).log_prob(x).sum(1)
    torch.testing.assert_close(family(torch.zeros(50, 1)).log_prob(x), normal, atol=0.03, rtol=0)


def test_the_continuous_bernoulli_integrates_to_one_at_any_odds() -> None:
    law = ContinuousBernoulli(ODDS.double().unsqueeze(1))
    edges = torch.cat([torch.logspace(-12, 0, 4000, dtype=torch.float64), torch.zeros(1).double()]).sort().values / 2
    x = torch.cat([edges, 1 - edges.flip(0)[1:]])
    density = law.value_log_prob(x.expand(len(ODDS), -1)).exp().T
    torch.testing.assert_close(torch.trapezoid(density, x, dim=0), torch.ones(len(ODDS)).double(), atol=1e-4, rtol=0)
    mean = torch.trapezoid(density * x[:, None], x, dim=0)
    torch.testing.assert_close(mean, law.mean.squeeze(1), atol=1e-4, rtol=0)
    square = torch.trapezoid(density * (x[:, None] - law.mean.T).square(), x, dim=0)
    torch.testing.assert_close(square, law.variance.squeeze(1), atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(odds=st.floats(-12, 12), x=st.floats(0, 1))
def test_the_continuous_bernoulli_is_torchs_where_torchs_is_exact(odds, x) -> None:
    law, other = (
        ContinuousBernoulli(torch.tensor([odds]).double()),
        td.ContinuousBernoulli(logits=torch.tensor(odds).double()),
    )
    value = torch.tensor([x]).double()
    torch.testing.assert_close(law.log_prob(value), other.log_prob(value)[0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(law.mean, other.mean.view(1), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(law.variance, other.variance.view(1), atol=1e-6, rtol=1e-5)


def test_single_precision_and_gradients_hold_at_any_odds_and_at_one_half() -> None:
    odds = ODDS.clone().unsqueeze(1).requires_grad_()
    single, double = ContinuousBernoulli(odds), ContinuousBernoulli(ODDS.double().unsqueeze(1))
    for read in ("mean", "variance"):
        torch.testing.assert_close(getattr(single, read).double(), getattr(double, read), atol=1e-6, rtol=1e-5)
    x = torch.full((15, 1), 0.3)
    torch.testing.assert_close(single.log_prob(x).double(), double.log_prob(x.double()), atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad(single.log_prob(x).sum(), odds)
    torch.testing.assert_close(gradient, x - single.mean, atol=1e-5, rtol=1e-4)  # an exponential family
    (gradient,) = torch.autograd.grad(single.rsample((50,)).sum(), odds)
    assert gradient.isfinite().all()
    assert (gradient[1:-1] > 0).all()


def test_draws_of_the_continuous_bernoulli_follow_it() -> None:
    torch.manual_seed(0)
    law = ContinuousBernoulli(ODDS.unsqueeze(1))
    x = law.sample((40_000,))
    assert law.support.check(x).all()
    torch.testing.assert_close(x.mean(0), law.mean, atol=0.006, rtol=0)
    torch.testing.assert_close(x.var(0), law.variance, atol=1e-5, rtol=0.04)


def test_it_is_the_cross_entropy_of_bits_and_a_normaliser() -> None:
    logits, x = 3 * torch.randn(4, 5).double(), torch.rand(4, 5).double()
    normaliser = (logits.exp().sub(1) / logits).log() - torch.nn.functional.softplus(logits)
    expected = Bernoulli(logits).value_log_prob(x) - normaliser
    torch.testing.assert_close(value_log_prob(ContinuousBernoulli(logits), x), expected)
    wide, values = ContinuousBernoulli(logits), torch.rand(2, 5).double()
    torch.testing.assert_close(log_likelihood(wide, values, 2), wide.log_prob(values.repeat(2, 1)).view(2, 2))


def every(levels: int, channels: int, places: tuple[int, ...] = ()) -> Tensor:
    """All pictures of one place, [levels^C, C, *1s]."""
    grid = torch.arange(levels, dtype=torch.float64) / (levels - 1)
    return torch.cartesian_prod(*[grid] * channels).view(-1, channels, *[1] * len(places))


@pytest.mark.parametrize("places", [(), (1,), (1, 1)])
@pytest.mark.parametrize(("channels", "levels"), [(3, 3), (3, 5), (2, 9), (4, 2)])
def test_trap_8_probabilities_of_all_colours_sum_to_one(channels, levels, places) -> None:
    torch.manual_seed(levels)
    family = families.CoupledLogisticMixture(3, levels)
    law = family(2 * torch.randn(4, family.size(channels), *places, dtype=torch.float64))
    x = every(levels, channels, places)
    probability = law.log_prob(x.unsqueeze(1)).exp()
    torch.testing.assert_close(probability.sum(0), torch.ones(4).double())
    first = (probability.view(len(x), 4, *[1] * len(places)) * x[:, None, 0]).sum(0)
    torch.testing.assert_close(law.mean[:, 0], first)


def test_the_mean_of_a_later_colour_is_near_that_of_all_256_levels() -> None:
    torch.manual_seed(0)
    family = families.CoupledLogisticMixture(3, 256)
    law, x = family(torch.randn(8, family.size(2), dtype=torch.float64)), every(256, 2)
    probability = torch.cat([law.log_prob(part.unsqueeze(1)).exp() for part in x.split(2**14)])
    torch.testing.assert_close(probability.sum(0), torch.ones(8).double())
    torch.testing.assert_close(law.mean, probability.T @ x, atol=0.5 / 255, rtol=0)


def test_with_one_channel_it_is_the_mixture_for_each_value_exactly() -> None:
    coupled, plain = families.CoupledLogisticMixture(4, 16), families.DiscretisedLogisticMixture(4, 16)
    raw, x = torch.randn(3, plain.size(1), 2, 5), torch.randint(16, (3, 1, 2, 5)) / 15
    assert coupled.size(1) == plain.size(1)
    torch.testing.assert_close(coupled(raw).log_prob(x), plain(raw).log_prob(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(coupled(raw).mean, plain(raw).mean)


def test_without_coupling_one_component_is_the_independent_logistic() -> None:
    raw = torch.randn(3, 6, 2, 2, dtype=torch.float64)
    coupled = families.CoupledLogisticMixture(1, 8).double()
    padded = torch.cat([torch.zeros(3, 1, 2, 2), raw, torch.zeros(3, 3, 2, 2)], 1)
    plain = families.DiscretisedLogistic(8)(torch.cat([raw[:, :3] + 0.5, raw[:, 3:]], 1))
    x = torch.randint(8, (3, 3, 2, 2)) / 7.0
    torch.testing.assert_close(coupled(padded).log_prob(x), plain.log_prob(x))


def test_draws_follow_the_probabilities_channel_by_channel() -> None:
    torch.manual_seed(0)
    family = families.CoupledLogisticMixture(2, 3)
    law = family(1.5 * torch.randn(1, family.size(3), 1, dtype=torch.float64))
    assert isinstance(law, CoupledLogisticMixture)
    x = law.sample((60_000,))
    assert law.support.check(x).all()
    index = (x[:, 0, :, 0] * 2).round().long() @ torch.tensor([9, 3, 1])
    expected = 60_000 * law.log_prob(every(3, 3, (1,))).exp()
    chi = ((torch.bincount(index, minlength=27) - expected).square() / expected.clamp(min=1e-9)).sum()
    assert chi < 26 + 5 * (2 * 26) ** 0.5
    assert law.sample((2, 5)).shape == (2, 5, 1, 3, 1)


def test_a_colour_moves_those_behind_it_alone() -> None:
    """Green's law depends on red and on nothing after it; the sums over what follows are those of red and green."""
    torch.manual_seed(0)
    law = families.CoupledLogisticMixture(2, 4)(torch.randn(1, 20, dtype=torch.float64))
    both = law.log_prob(every(4, 3)).exp().view(4, 4, 4)
    red = both.sum((1, 2))
    green = both.sum(2) / red[:, None]
    assert (green[0] - green[3]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="scores of single values need a likelihood of independent values"):
        value_log_prob(law, torch.zeros(1, 3))
