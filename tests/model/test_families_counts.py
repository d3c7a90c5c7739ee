"""Families over counts: what they read of a network, and what they learn by themselves."""

from __future__ import annotations

from math import log1p

import pytest
import torch

from polyvae.model import families
from polyvae.model.distributions import counts as count_laws
from polyvae.model.families.columns import by_kind
from polyvae.model.spec import Column, Spec

by_name = pytest.mark.parametrize("name", families.COUNTS)


@by_name
@pytest.mark.parametrize("extreme", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_gradients_are_finite_at_extremes_and_lead_back(name, extreme) -> None:
    family = families.COUNTS[name]()
    raw = torch.full((3, family.size(4)), extreme, requires_grad=True)
    for x in (torch.zeros(3, 4), torch.ones(3, 4), torch.full((3, 4), 1e6)):
        score = family(raw).log_prob(x)
        gradients = torch.autograd.grad(score.sum(), [raw, *family.parameters()])
        assert score.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients)
    if extreme < -1:  # what was counted draws a vanished mean up again
        assert (gradients[0][:, :4] > 0).all()


def test_a_dispersion_per_column_is_learned_one_for_each_feature() -> None:
    family = families.NegativeBinomial()
    assert list(family.parameters()) == []
    assert family.size(5) == 5
    assert [tuple(p.shape) for p in family.parameters()] == [(5,)]
    law = family(torch.zeros(2, 5, 3, 3))
    torch.testing.assert_close(law.variance, torch.full((2, 5, 3, 3), 2.0))  # mu + mu^2 / theta, both 1
    with pytest.raises(ValueError, match="a dispersion for 5 columns; asked for 6"):
        family.size(6)
    with pytest.raises(ValueError, match=r"ask the family for size\(features\) first"):
        families.NegativeBinomial()(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="dispersion is one of column, network; got 'gene'"):
        families.ZeroInflatedNegativeBinomial("gene")


def test_the_network_says_mean_zeros_and_dispersion_in_that_order() -> None:
    raw = torch.tensor([[1.0, 2.0, -80.0, 0.0, 30.0, 30.0]])
    law = families.ZeroInflatedNegativeBinomial("network")
    assert law.size(2) == 6
    torch.testing.assert_close(law(raw).mean, torch.tensor([[1.0, 2.0]]).exp() * torch.tensor([[1.0, 0.5]]))
    column = families.ZeroInflatedNegativeBinomial()
    assert column.size(2) == 4
    torch.testing.assert_close(column(raw[:, :4]).mean, law(raw).mean)
    assert (law(raw).variance[:, 0] < 1.001 * raw[:, 0].exp()).all()  # Poisson's, at such a dispersion


@by_name
def test_a_start_is_the_mean_where_the_network_says_nothing(name) -> None:
    family = families.COUNTS[name](start=[7.0, 0.1])
    raw = torch.zeros(3, family.size(2), 4)
    share = 0.5 if name.startswith("zero-inflated") else 1.0
    torch.testing.assert_close(family(raw).mean, share * torch.tensor([7.0, 0.1])[:, None].expand(3, 2, 4))
    for bad in ([], [1.0, 0.0], [-1.0]):
        with pytest.raises(ValueError, match="start holds one mean for each feature, each above 0"):
            type(family)(start=bad)


@pytest.mark.parametrize("dispersion", ["", "-network"])
def test_a_law_starts_as_wide_as_its_column(dispersion: str) -> None:
    start, spread = torch.tensor([5000.0, 7.0]), torch.tensor([0.03, 1.5])
    family = families.COUNTS["negative-binomial" + dispersion](start=start.tolist(), spread=spread.tolist())
    raw = torch.zeros(3, family.size(2), 4)
    law = family(raw)
    expected = start + (start * spread).square()
    torch.testing.assert_close(law.variance, expected[:, None].expand(3, 2, 4))
    law = family(raw.index_fill(1, torch.tensor([0, 1]), 2.0))
    torch.testing.assert_close(law.mean, (start * (2 * spread).exp())[:, None].expand(3, 2, 4))
    with pytest.raises(ValueError, match="spread holds one deviation for each feature, each above 0"):
        families.Poisson(spread=[0.0])


def test_large_counts_are_learned_in_hundreds_of_steps() -> None:
    """Known to a percent they took thousands: theta had to grow from 1 to 10,000."""
    stream = torch.Generator().manual_seed(0)
    x = torch.poisson(5000 * (0.01 * torch.randn(400, 2, generator=stream)).exp(), generator=stream)
    logs = x.log1p()
    columns = [
        Column("counts", centre=c, scale=s) for c, s in zip(logs.mean(0).tolist(), logs.std(0).tolist(), strict=True)
    ]
    family = by_kind(Spec((2,), columns=tuple(columns)))
    raw = torch.nn.Parameter(torch.zeros(1, family.size(2)))
    optimizer = torch.optim.Adam([raw, *family.parameters()], lr=1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        (-family(raw).log_prob(x).mean()).backward()
        optimizer.step()
    best = count_laws.NegativeBinomial(torch.tensor(5000.0).log(), torch.tensor(1e4).log()).log_prob(x).sum(1).mean()
    assert family(raw).log_prob(x).mean().item() == pytest.approx(best.item(), abs=0.05)


@pytest.mark.parametrize(("mean", "scale"), [(0.01, 0.08), (0.3, 0.4), (1.0, 0.6)])
def test_of_small_counts_the_network_says_the_logarithm_itself(mean: float, scale: float) -> None:
    """log(1 + x) of a gene in one cell of a hundred hardly varies; log mu does."""
    family = by_kind(Spec((1,), columns=(Column("counts", centre=log1p(mean), scale=scale),)))
    assert float(family.link.spread) == 1  # pyright: ignore
