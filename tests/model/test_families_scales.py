from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import Normal

from polyvae.model import distributions, families
from polyvae.model.families.named import likelihood


@pytest.mark.parametrize(("family", "torchs"), [(families.PixelNormal, Normal), (families.Laplace, td.Laplace)])
def test_scales_given_learned_and_from_the_network(family, torchs) -> None:
    raw, x = torch.randn(3, 2, 4, dtype=torch.float64), torch.randn(3, 2, 4, dtype=torch.float64)
    fixed = family(0.25)
    assert not list(fixed.parameters())
    torch.testing.assert_close(fixed(raw).log_prob(x), torchs(raw, 0.25).log_prob(x).sum((1, 2)))
    learned = family("learned").double()
    (number,) = learned.parameters()
    reference = torchs(raw, 1e-3 + number.exp())
    torch.testing.assert_close(learned(raw).log_prob(x), reference.log_prob(x).sum((1, 2)))
    learned(raw).log_prob(x).sum().backward()
    assert number.grad is not None
    assert number.grad != 0
    network = family("network")
    both = torch.cat([raw, torch.zeros_like(raw)], 1)
    torch.testing.assert_close(network(both).log_prob(x), torchs(raw, 0.25).log_prob(x).sum((1, 2)))


@pytest.mark.parametrize(("raw_scale", "scale"), [(-1e4, 1 / 256), (0.0, 0.25), (1e4, 16.0)])
def test_network_scales_are_bounded(raw_scale, scale) -> None:
    law = families.PixelNormal("network")(torch.tensor([[0.0, raw_scale]]))
    assert law.base_dist.scale.item() == pytest.approx(scale)


def test_normal_of_variance_a_half_is_the_squared_error_plus_a_constant() -> None:
    raw, x = torch.randn(3, 784), torch.rand(3, 784)
    score = likelihood("normal")(raw).log_prob(x)
    torch.testing.assert_close(-score, (x - raw).square().sum(1) + 392 * math.log(math.pi))


def test_optimal_scale_fits_each_batch_in_training_and_runs_in_evaluation() -> None:
    torch.manual_seed(0)
    family = families.PixelNormal("optimal")
    loc = torch.zeros(64, 50)
    seen = []
    for step in range(3):
        x = 0.2 * (step + 1) * torch.randn(64, 50)
        law = family(loc)
        assert isinstance(law, distributions.OptimalNormal)
        scale = x.square().mean().sqrt()
        seen.append(scale.square())
        torch.testing.assert_close(law.log_prob(x), Normal(loc, scale).log_prob(x).sum(1))
    running = sum(seen) / 3
    family.eval()
    before = {name: value.clone() for name, value in family.state_dict().items()}
    assert len(before) == 2
    x = torch.randn(64, 50)
    torch.testing.assert_close(family(loc).log_prob(x), Normal(loc, running.sqrt()).log_prob(x).sum(1))
    torch.testing.assert_close(dict(family.state_dict()), before)
    torch.testing.assert_close(family(loc).variance, running.expand(64, 50))


def test_optimal_scale_forgets_early_batches() -> None:
    family = families.PixelNormal("optimal")
    loc = torch.zeros(4, 5)
    family(loc).log_prob(torch.full((4, 5), 100.0))
    for _ in range(400):
        family(loc).log_prob(torch.full((4, 5), 0.5))
    assert family.eval()(loc).variance[0, 0].item() == pytest.approx(0.25, rel=1e-3)


def test_optimal_scale_reaches_the_same_minimum_as_a_learned_one() -> None:
    """Profiling the scale out and learning it are one objective at the optimum."""
    torch.manual_seed(0)
    loc, x = torch.zeros(100, 3), 0.4 * torch.randn(100, 3)
    optimal = families.PixelNormal("optimal")(loc).log_prob(x).mean()
    learned = families.PixelNormal("learned")
    optimiser = torch.optim.LBFGS(learned.parameters(), max_iter=50)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -learned(loc).log_prob(x).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.testing.assert_close(-closure().detach(), optimal)
