"""Priors of maps and of one dimension after the other: densities by integration, identities, causality, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

import polyvae as pv
from polyvae.model.distributions.one_by_one import UNIT
from polyvae.model.laws import centre
from polyvae.model.priors.autoregressive import AutoregressivePrior
from polyvae.model.priors.flow import FLOWS, FlowPrior
from polyvae.model.priors.mixture import Mixture

PRIORS = {
    "nsf": lambda d: FlowPrior(d, "nsf", 2, (8,)),
    "maf": lambda d: FlowPrior(d, "maf", 2, (8,)),
    "autoregressive": lambda d: AutoregressivePrior(d, 3, (8,)),
}


def wild(prior: nn.Module, by: float = 0.5) -> nn.Module:
    """The prior in double precision with weights moved, so that it is nothing simple."""
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return prior.double()


def total(prior: nn.Module, dimensions: int, reach: float = 12.0, steps: int = 301) -> float:
    """The integral of the density over a grid."""
    axis = torch.linspace(-reach, reach, steps).double()
    places = torch.cartesian_prod(*[axis] * dimensions).view(-1, dimensions)
    with torch.no_grad():
        density = prior({}).log_prob(places).exp()
    return (density.sum() * (2 * reach / (steps - 1)) ** dimensions).item()


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_density_integrates_to_one(name: str, dimensions: int) -> None:
    torch.manual_seed(3)
    prior = wild(PRIORS[name](dimensions), 0.2)
    assert prior({}).event_shape == (dimensions,)
    assert prior({}).batch_shape == ()
    assert total(prior, dimensions, steps=401 if dimensions > 1 else 20_001) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_draws_follow_the_density(name: str) -> None:
    torch.manual_seed(3)
    prior = wild(PRIORS[name](2), 0.2)
    law = prior({})
    z = law.sample((20_000,))
    assert z.shape == (20_000, 2)
    assert not z.requires_grad
    # the mean of exp(-|z|^2 / 2) over draws, and by the density
    axis = torch.linspace(-12, 12, 401).double()
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        expected = ((-0.5 * grid.square().sum(1)).exp() * law.log_prob(grid).exp()).sum() * 0.06**2
    found = (-0.5 * z.square().sum(1)).exp()
    assert found.mean().item() == pytest.approx(expected.item(), abs=5 * found.std().item() / 20_000**0.5)


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(sorted(PRIORS)), d=st.integers(1, 5), shape=st.lists(st.integers(1, 3), max_size=2))
def test_any_number_of_values_is_scored_and_drawn(name: str, d: int, shape: list[int]) -> None:
    prior = PRIORS[name](d)
    z = prior({}).sample(tuple(shape))
    assert z.shape == (*shape, d)
    found = prior({}).log_prob(z)
    assert found.shape == tuple(shape)
    torch.testing.assert_close(found.flatten(), prior({}).log_prob(z.reshape(-1, d)))


@pytest.mark.parametrize("name", PRIORS)
def test_every_number_is_learned_and_the_centre_is_the_same_at_every_call(name: str) -> None:
    torch.manual_seed(0)
    prior = PRIORS[name](3)
    prior({}).log_prob(torch.randn(40, 3)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in prior.parameters())
    first = centre(prior({}))
    assert first.shape == (3,)
    assert torch.equal(first, centre(prior({})))


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_tells_log_p_of_its_own_draws_and_is_the_standard_normal_where_its_maps_do_nothing(name: str) -> None:
    torch.manual_seed(0)
    prior = wild(FlowPrior(3, name, 2, (8,)), 0.3)
    z, log_p = prior({}).rsample_and_log_prob((7,))
    torch.testing.assert_close(prior({}).log_prob(z), log_p, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.zero_()
    z = torch.randn(9, 3).double()
    expected = Normal(0, 1).log_prob(z).sum(-1)
    torch.testing.assert_close(prior({}).log_prob(z), expected)


def test_one_component_and_no_weights_are_the_standard_normal() -> None:
    prior = AutoregressivePrior(4, 1).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.zero_()
        prior.first[2] = prior.rest[-1].bias.view(3, 3, 1)[:, 2] = math.log(math.exp(1 - 1e-4) - 1)
    z = torch.randn(9, 4).double()
    torch.testing.assert_close(prior({}).log_prob(z), Normal(0, 1).log_prob(z).sum(-1))


def test_in_one_dimension_it_is_the_mixture_of_the_same_numbers() -> None:
    torch.manual_seed(0)
    plain, prior = Mixture(1, 5).double(), AutoregressivePrior(1, 5).double()
    with torch.no_grad():
        plain.logits.copy_(torch.randn(5))
        plain.raw_scale.copy_(torch.randn(5, 1))
        prior.first.copy_(torch.stack([plain.logits, plain.loc[:, 0], plain.raw_scale[:, 0]]))
    z = torch.randn(9, 1).double()
    torch.testing.assert_close(prior({}).log_prob(z), plain({}).log_prob(z))
    assert torch.full((), UNIT).exp().log1p().item() == pytest.approx(1)


def test_a_dimension_is_told_by_those_before_it_alone_and_by_all_of_them() -> None:
    torch.manual_seed(0)
    prior = wild(AutoregressivePrior(5, 2, (32, 32)))
    z = torch.randn(1, 5).double()
    jacobian = torch.autograd.functional.jacobian(lambda z: prior.raw(z)[0].flatten(1), z)[:, :, 0]
    moved: Tensor = (jacobian != 0).any(1)  # [of, by]
    assert torch.equal(moved, torch.ones(5, 5).tril(-1).bool())


@pytest.mark.parametrize("prior", ["flow", "autoregressive", "exemplar"])
def test_a_learned_prior_stands_on_top_of_two_levels_and_is_sampled_at_any_k(prior: str) -> None:
    made = pv.recipes.two_level((6,), latent=2, top=3, prior=prior, components=4, network="mlp", widths=(5,), seed=0)
    x = torch.randn(5, 6)
    draw = made.model({"x": x}, 4)
    assert draw.latents["z2"].analytic_kl is None
    assert draw.kl.shape == (4, 5)
    top = draw.latents["z2"]
    if prior != "exemplar":  # which leaves out what x is
        torch.testing.assert_close(top.kl, top.log_q - made.model.prior["z2"]({}).log_prob(top.z))
    assert made.model({"x": x[:1]}, 1).importance_bound.isfinite().all()
    assert made.model.generate(count=3, fixed={"z2": torch.zeros(1, 3)})["x"].mean.shape == (3, 6)


@pytest.mark.parametrize("name", ["nsf", "autoregressive"])
def test_it_learns_what_a_normal_cannot_be(name: str) -> None:
    torch.manual_seed(0)
    z = torch.cat([torch.randn(200, 2) * 0.3 - 1.5, torch.randn(200, 2) * 0.3 + 1.5])
    prior = PRIORS[name](2)
    optimizer = torch.optim.Adam(prior.parameters(), 2e-2)
    for _ in range(100):
        optimizer.zero_grad()
        (-prior({}).log_prob(z).mean()).backward()
        optimizer.step()
    normal = MultivariateNormal(z.mean(0), z.T.cov()).log_prob(z).mean()
    assert prior({}).log_prob(z).mean() > normal + 0.5


@pytest.mark.parametrize("name", ["flow_prior", "autoregressive_prior", "exemplar_prior"])
def test_it_trains_on_real_digits_with_every_kind_of_posterior(name: str) -> None:
    options = {"components": 20} if name == "exemplar_prior" else {"network": "mlp"}
    made = pv.recipes.named(name)(pv.Spec((1, 8, 8)), latent=4, widths=(32,), posterior="full", seed=0, **options)
    data = pv.data.load("digits", limit=400)
    bounds = [row["validation_bound"] for row in pv.fit(made, data, epochs=6, lr=5e-3, progress=False).history]
    assert max(bounds) > bounds[0] + 5


def test_what_no_flow_is_of_is_refused() -> None:
    with pytest.raises(ValueError, match="flow is one of nsf, maf; got 'glow'"):
        FlowPrior(2, "glow")
    for make in (lambda: FlowPrior(0), lambda: FlowPrior(2, transforms=0), lambda: AutoregressivePrior(2, 0)):
        with pytest.raises(ValueError, match="is at least 1; got 0"):
            make()
