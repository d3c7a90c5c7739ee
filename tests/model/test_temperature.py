"""Draws at a temperature: it multiplies the deviation of normal priors, and sharpens codes."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Gamma, Independent, MultivariateNormal, Normal

import polyvae as pv
from helpers.models import Affine
from polyvae.model.distributions.codes import CodePrior
from polyvae.model.laws import tempered


def test_a_temperature_multiplies_the_deviation_of_normal_laws() -> None:
    torch.manual_seed(0)
    factor = torch.randn(3, 3).tril(-1).double() + torch.eye(3).double()
    laws = [
        Normal(torch.tensor([1.0, -2.0]).double(), torch.tensor([0.5, 2.0]).double()),
        Independent(Normal(torch.randn(2, 3).double(), torch.rand(2, 3).double() + 0.1), 1),
        MultivariateNormal(torch.randn(3).double(), scale_tril=factor),
    ]
    for law in laws:
        cold = tempered(law, 0.7)
        assert (cold.batch_shape, cold.event_shape) == (law.batch_shape, law.event_shape)
        torch.testing.assert_close(cold.mean, law.mean)
        torch.testing.assert_close(cold.variance, 0.49 * law.variance)
        assert torch.equal(tempered(law, 0.0).sample(), law.mean)
        assert tempered(law, 1.0) is law
    with pytest.raises(ValueError, match=r"temperature is for priors that are normal or draw codes .*; got a Gamma"):
        tempered(Gamma(1.0, 1.0), 0.5)


def test_every_group_is_drawn_at_the_temperature() -> None:
    torch.manual_seed(0)
    prior = {"a": Affine(0.5, 1.5), "b": Affine(-1.0, 0.6, a=0.8)}
    q = {"a": Affine(0.0, 1.0, x=1.0), "b": Affine(0.0, 1.0, a=1.0)}
    model = pv.VAE(q, {"a": Expanded(prior["a"]), "b": prior["b"]}, Affine(0.0, 1.0, b=1.0))
    found = model.sample_latents(count=200_000, temperature=0.5)
    both = torch.cat([found["a"], found["b"]], 1)
    # b = 0.8 a - 1 + noise, both noises at half their deviation
    mean, spread = torch.tensor([0.5, -0.6]).double(), torch.tensor([[2.25, 1.8], [1.8, 1.44 + 0.36]]).double() / 4
    torch.testing.assert_close(both.mean(0), mean, rtol=0, atol=0.01)
    torch.testing.assert_close(both.T.cov(), spread, rtol=0, atol=0.01)
    still = model.sample_latents(count=3, temperature=0.0)
    torch.testing.assert_close(still["b"], torch.full((3, 1), -0.6).double())
    made = model.generate(count=50_000, temperature=0.0)["x"]  # the likelihood keeps its own
    torch.testing.assert_close(made.sample().std(), torch.tensor(1.0).double(), rtol=0, atol=0.02)


class Expanded(torch.nn.Module):
    """A part that reads nothing as one law for all."""

    def __init__(self, part: Affine) -> None:
        super().__init__()
        self.part = part

    def forward(self, values: pv.Values) -> torch.distributions.Distribution:
        loc = torch.full((1,), self.part.bias).double()
        return Independent(Normal(loc, torch.full_like(loc, self.part.scale)), 1)


def test_codes_of_a_network_are_sharpened_and_scored_as_before() -> None:
    torch.manual_seed(0)
    made = pv.recipes.pixel_cnn((1, 4, 4), channels=4, layers=1, first_kernel_size=3, seed=0)
    (name,) = made.model.prior
    prior = made.model.prior[name]
    law = prior({})
    assert isinstance(law, CodePrior)
    first = made.model.sample_latents(count=2, temperature=0.0)[name]
    assert torch.equal(first[0], first[1])
    assert torch.equal(first, prior.sharpened(0.0)({}).sample((2,)))
    torch.testing.assert_close(tempered(law, 0.5).log_prob(first), law.log_prob(first))
    with pytest.raises(ValueError, match="temperature is at least 0 and finite; got -1"):
        made.model.generate(temperature=-1)
