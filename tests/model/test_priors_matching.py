"""A law that an equation carries a normal to: against known fields, by integration, there and back, and as learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

import polyvae as pv
from polyvae.model.distributions.rectified import RectifiedFlow, with_trace
from polyvae.model.priors.matching import FlowMatching, Scaled, Velocity, matching
from polyvae.model.priors.mixture import FullMixture


class ToNormal(nn.Module):
    """The velocity E[z - e | place at t] of N(0, I) to N(mu, S), for (1 - t) e + t z."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.mean, self.covariance = mean, covariance

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        t = t.expand(len(z))[:, None, None]
        one, s = torch.eye(len(self.mean)).to(z), self.covariance
        whole = (1 - t).square() * one + t.square() * s
        away = (z - t[:, 0] * self.mean)[..., None]
        return self.mean + ((t * s - (1 - t) * one) @ torch.linalg.solve(whole, away))[..., 0]


def normal(d: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a normal that is none of the easy ones."""
    generator = torch.Generator().manual_seed(d)
    root = torch.randn(d, d, generator=generator).double() / d**0.5
    return torch.randn(d, generator=generator).double(), root @ root.T + 0.3 * torch.eye(d).double()


@pytest.mark.parametrize(("solver", "steps", "close"), [("heun", 50, 2e-2), ("rk4", 10, 3e-3), ("rk4", 40, 2e-5)])
def test_with_the_velocity_of_a_normal_it_is_that_normal(solver: str, steps: int, close: float) -> None:
    torch.manual_seed(0)
    mean, covariance = normal(3)
    law = FlowMatching(3, steps, solver, field=ToNormal(mean, covariance)).double()({})
    known = MultivariateNormal(mean, covariance)
    z = known.sample((2, 5))
    torch.testing.assert_close(law.log_prob(z), known.log_prob(z), rtol=0, atol=close)
    drawn = law.sample((4000,))
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.1)
    torch.testing.assert_close(drawn.T.cov(), covariance, rtol=0, atol=0.2)


@pytest.mark.parametrize(("solver", "order"), [("heun", 2), ("rk4", 4)])
def test_the_error_falls_with_the_order_of_the_solver(solver: str, order: int) -> None:
    mean, covariance = normal(2)
    known, z = MultivariateNormal(mean, covariance), torch.randn(30, 2).double()
    field = ToNormal(mean, covariance)
    errors = [
        (RectifiedFlow(field, z, 2, steps, solver).log_prob(z) - known.log_prob(z)).abs().max() for steps in (20, 40)
    ]
    assert (errors[0] / errors[1]).log2().item() == pytest.approx(order, abs=0.8)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_density_of_a_learned_velocity_integrates_to_one(dimensions: int) -> None:
    torch.manual_seed(1)
    prior = Scaled(FlowMatching(dimensions, 15, widths=(8,)), dimensions).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.mul_(1.5)
    prior.scale_to(torch.randn(100, dimensions).double() * 2 + 1)
    axis = torch.linspace(-19, 21, 1001 if dimensions == 1 else 81).double()
    places = torch.cartesian_prod(*[axis] * dimensions).view(-1, dimensions)
    with torch.no_grad():
        whole = prior({}).log_prob(places).exp().sum() * (axis[1] - axis[0]) ** dimensions
    assert whole.item() == pytest.approx(1, abs=2e-3)


def test_there_and_back_is_where_it_began() -> None:
    torch.manual_seed(0)
    law = FlowMatching(5, 40, widths=(32, 32)).double()({})
    z = torch.randn(50, 5).double()
    assert (law.carried(law.carried(z, back=True)) - z).abs().max() < 2**-20  # of the order of one: twenty bits


@settings(max_examples=20, deadline=None)
@given(d=st.integers(1, 6), rows=st.integers(1, 4))
def test_the_trace_is_that_of_the_jacobian(d: int, rows: int) -> None:
    field: Any = FlowMatching(d, widths=(7,)).double().field
    t, z = torch.tensor(0.3).double(), torch.randn(rows, d).double()
    velocity, trace = with_trace(field, t, z)
    torch.testing.assert_close(velocity, field(t, z))
    for n in range(rows):
        jacobian = torch.autograd.functional.jacobian(lambda at: field(t, at[None])[0], z[n])
        torch.testing.assert_close(trace[n], jacobian.trace())


@pytest.mark.parametrize("widths", [(), (9,), (9, 5), (9, 5, 7)])
def test_the_trace_of_a_perceptron_is_that_of_its_products(widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    field = Velocity(6, widths).double()
    t, z = torch.tensor(0.3).double(), torch.randn(8, 6).double().requires_grad_()
    found, known = (with_trace(each, t, z) for each in (field, lambda t, z: field(t, z)))
    torch.testing.assert_close(found, known)
    slopes = [torch.autograd.grad(each[1].sum() + each[0].sum(), z)[0] for each in (found, known)]
    torch.testing.assert_close(*slopes)


def test_of_many_dimensions_the_density_is_exact_too_so_that_importance_weights_of_it_hold() -> None:
    torch.manual_seed(0)
    d = 70
    slope = torch.randn(d, d).double() * 0.5 / d**0.5
    ends = torch.linalg.matrix_exp(slope)
    known = MultivariateNormal(torch.zeros(d).double(), ends @ ends.T)
    z = known.sample((3, 2))
    found = RectifiedFlow(lambda t, z: z @ slope.T, z, d).log_prob(z)
    torch.testing.assert_close(found, known.log_prob(z), rtol=0, atol=1e-4)


def test_the_regression_is_least_at_the_velocity_that_is_known_and_trains_towards_it() -> None:
    torch.manual_seed(0)
    mean, covariance = normal(2)
    z = MultivariateNormal(mean, covariance).sample((4000,))
    best = FlowMatching(2, field=ToNormal(mean, covariance)).double()
    other = FlowMatching(2, field=ToNormal(mean + 0.5, covariance)).double()
    assert matching(best({}), z).mean() + 0.1 < matching(other({}), z).mean()
    prior = FlowMatching(2, widths=(32,)).double()
    matching(prior({}), z[:100]).mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in prior.parameters())


def test_scaled_is_the_law_of_the_scaled_value() -> None:
    torch.manual_seed(0)
    prior, z = Scaled(pv.priors.StandardNormal(3), 3).double(), torch.randn(500, 3).double() * 3 - 1
    prior.scale_to(z)
    expected = Normal(z.mean(0), z.std(0)).log_prob(z).sum(1)
    torch.testing.assert_close(prior({}).log_prob(z), expected)
    prior.scale_to(z[:1].expand(5, 3))  # all alike: no scale of zero
    assert prior({}).log_prob(z[:1]).isfinite().all()


def test_a_full_mixture_is_the_sum_over_its_normals() -> None:
    torch.manual_seed(0)
    prior, z = FullMixture(2, 3).double(), torch.randn(7, 2).double()
    torch.testing.assert_close(prior({}).log_prob(z), Normal(0, 1).log_prob(z).sum(1))
    weights, means = torch.tensor([0.2, 0.5, 0.3]).double(), torch.randn(3, 2).double()
    covariances = torch.stack([normal(2)[1] * (n + 1) for n in range(3)])
    prior.set(weights, means, covariances)
    each = torch.stack([MultivariateNormal(means[n], covariances[n]).log_prob(z) for n in range(3)])
    torch.testing.assert_close(prior({}).log_prob(z), (weights.log()[:, None] + each).logsumexp(0))


def test_what_cannot_be_solved_is_refused() -> None:
    with pytest.raises(ValueError, match="solver is one of heun, rk4; got 'euler'"):
        FlowMatching(2, solver="euler")({})
    for make in (lambda: FlowMatching(0), lambda: FlowMatching(2, 0), lambda: FullMixture(2, 0)):
        with pytest.raises(ValueError, match="is at least 1; got 0"):
            make()
