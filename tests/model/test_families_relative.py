"""Posteriors told beside their prior: the divergence in closed form, and the product of two normals by integration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import polyvae as pv
from polyvae.model.families.relative import Beside


def raws(rows: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return 1.5 * torch.randn(rows, 6, 2).double(), 1.5 * torch.randn(rows, 6, 2).double()


def test_the_residual_divergence_is_free_of_the_prior() -> None:
    own, prior = raws()
    normal, q = pv.families.DiagonalNormal(), pv.families.ResidualNormal()(torch.cat([own, prior], 1))
    told = normal(own).base_dist
    expected = 0.5 * (told.loc.square() + told.scale.square() - 1 - 2 * told.scale.log())
    torch.testing.assert_close(kl_divergence(q, normal(prior)), expected.sum((1, 2)))
    same = pv.families.ResidualNormal()(torch.cat([torch.zeros_like(own), prior], 1))
    torch.testing.assert_close(same.mean, normal(prior).mean)
    torch.testing.assert_close(same.variance, normal(prior).variance)


def test_the_precision_weighted_product_is_that_of_both_densities() -> None:
    own, prior = raws()
    normal, q = pv.families.DiagonalNormal(), pv.families.PrecisionNormal()(torch.cat([own, prior], 1)).base_dist
    grid = torch.linspace(-40, 40, 40_001, dtype=torch.float64)[:, None, None, None]
    seen, before = normal(own).base_dist, normal(prior).base_dist
    logs = seen.log_prob(grid) + before.log_prob(grid)
    weights = logs.softmax(0)
    mean = (weights * grid).sum(0)
    torch.testing.assert_close(q.loc, mean)
    torch.testing.assert_close(q.variance, (weights * (grid - mean).square()).sum(0), rtol=1e-6, atol=1e-10)
    assert (q.scale < torch.minimum(seen.scale, before.scale)).all()


@pytest.mark.parametrize("family", [pv.families.ResidualNormal, pv.families.PrecisionNormal])
def test_relative_families_take_vectors_and_maps_in_single_precision_at_the_least(family: type[pv.Family]) -> None:
    made = family()
    assert made.size(3) == 12
    for rest in ((), (2, 4)):
        law = made(torch.randn(5, 12, *rest, dtype=torch.bfloat16))
        assert (law.batch_shape, law.event_shape) == ((5,), (3, *rest))
        assert law.mean.dtype == torch.float32
    with pytest.raises(ValueError, match="floor"):
        family(floor=2.0)


def test_what_stands_beside_is_not_seen_by_the_network() -> None:
    net, values = torch.nn.Linear(3, 4), torch.randn(2, 3)
    beside = torch.randn(2, 5)
    found = Beside(net)(values, beside)
    torch.testing.assert_close(found, torch.cat([net(values), beside], 1))
    assert isinstance(pv.families.ResidualNormal()(torch.zeros(1, 4)).base_dist, Normal)
