"""A code over a channel of given noise: the law of the posterior, its rate, and the recipes that it lies between."""

from __future__ import annotations

from math import log

import pytest
import torch

import polyvae as pv
from polyvae.model.families import FixedNormal
from polyvae.study.shapes.measure import capacity_bits

SPEC = pv.Spec((1, 8, 8))
SMALL = {"network": "mlp", "widths": [16], "latent": 4, "seed": 0}


def test_a_fixed_normal_is_the_network_s_output_under_the_given_variance() -> None:
    raw = torch.randn(5, 3, dtype=torch.float64)
    law = FixedNormal(0.4)(raw)
    z = torch.randn(5, 3, dtype=torch.float64)
    exact = -0.5 * ((z - raw).square() / 0.4 + log(2 * torch.pi * 0.4)).sum(1)
    assert torch.allclose(law.log_prob(z), exact)
    assert torch.equal(law.mean, raw)
    assert FixedNormal(0.4).size(3) == 3
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="variance is a positive number"):
            FixedNormal(wrong)


def test_it_is_a_wasserstein_autoencoder_whose_posterior_has_a_fixed_variance() -> None:
    x = {"x": torch.rand(12, 1, 8, 8)}
    ours = pv.recipes.bir_vae(SPEC, noise=3.0, weight=7.0, **SMALL)
    theirs = pv.recipes.wae(SPEC, weight=7.0, kernel="rbf", posterior=FixedNormal(0.75), likelihood="normal", **SMALL)
    losses = []
    for made in (ours, theirs):
        torch.manual_seed(1)
        losses.append(made.objective(made.model, x)["loss"])
    assert torch.equal(*losses)
    assert ours.monitor == "loss"


def test_without_noise_it_is_the_autoencoder_of_a_point() -> None:
    x = {"x": torch.rand(12, 1, 8, 8)}
    point, channel = (
        build(SPEC, weight=0.0, **more, **SMALL)
        for build, more in ((pv.recipes.wae, {}), (pv.recipes.bir_vae, {"noise": 1e-10}))
    )
    channel.model.load_state_dict(point.model.state_dict())
    found = [made.objective(made.model, x)["reconstruction"] for made in (point, channel)]
    assert torch.allclose(*found, rtol=1e-4)


@pytest.mark.parametrize("noise", [0.2, 5.0])
def test_codes_that_fill_the_prior_tell_the_capacity_of_the_channel(noise: float) -> None:
    """Of f(x) ~ N(0, I / (1 + v)) the mean KL to the prior is d / 2 log(1 + 1 / v), and so is the information."""
    dimensions, share = 3, noise / (1 + noise)
    code = (1 - share) ** 0.5 * torch.randn(200_000, dimensions, dtype=torch.float64)
    q = FixedNormal(share)(code)
    p = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(3), torch.ones(3)), 1)
    rate = torch.distributions.kl_divergence(q, p).mean()
    assert float(rate) / log(2) == pytest.approx(capacity_bits(noise, dimensions), rel=0.02)
    assert capacity_bits(1.0, 2) == pytest.approx(1.0)
