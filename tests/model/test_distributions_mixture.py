"""Draws of mixtures: as even as their weights allow, and each of them of the mixture's law."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

import polyvae as pv
from polyvae.model.distributions.mixture import mixture, systematic


def law(logits: Tensor) -> torch.distributions.Distribution:
    """Components so far apart that a draw tells its own."""
    places = torch.arange(logits.shape[-1]).float().expand(logits.shape)[..., None] * 100
    return mixture(logits, Independent(Normal(places, torch.ones_like(places)), 1))


def counts(z: Tensor, components: int) -> Tensor:
    return (z[..., 0] / 100).round().long().flatten().bincount(minlength=components)


@settings(max_examples=30, deadline=None)
@given(weights=st.lists(st.integers(0, 9), min_size=1, max_size=7).filter(any), count=st.integers(0, 40))
def test_trap20_components_are_drawn_as_evenly_as_their_weights_allow(weights: list[int], count: int) -> None:
    p = torch.tensor(weights).double() / sum(weights)
    found = counts(law(p.log().float()).sample((count,)), len(weights))
    assert found.sum() == count
    for number, share in zip(found.tolist(), (p * count).tolist(), strict=True):
        assert math.floor(share - 1e-4) <= number <= math.ceil(share + 1e-4)


def test_a_single_draw_and_each_of_several_follow_the_mixture() -> None:
    torch.manual_seed(0)
    weights = torch.tensor([0.1, 0.6, 0.0, 0.3])
    many = torch.stack([law(weights.log()).sample((3,)) for _ in range(1500)])
    alone = torch.stack([law(weights.log()).sample() for _ in range(1500)])
    for found in (*many.unbind(1), alone):  # every place of the three, and one alone
        number = counts(found, 4)
        assert number[2] == 0
        kept = weights > 0
        chi = ((number - 1500 * weights)[kept].square() / (1500 * weights[kept])).sum()
        assert chi < 20  # two degrees of freedom: exceeded once in 22,000


def test_the_order_of_the_draws_tells_nothing_of_their_components() -> None:
    torch.manual_seed(0)
    chosen = torch.cat([systematic(torch.full((1, 4), 0.25), 8) for _ in range(2000)], 1)  # [8, 2000]
    assert (chosen.T.sort(1).values == torch.arange(4).repeat_interleave(2)).all()
    same = (chosen[0] == chosen[1]).double().mean().item()
    assert same == pytest.approx(1 / 7, abs=0.04)  # of the seven others one is of its component


def test_draws_of_one_component_are_independent_and_of_its_law() -> None:
    torch.manual_seed(0)
    components = MultivariateNormal(torch.zeros(3, 2), torch.tensor([[1.0, 0.8], [0.8, 1.0]]).expand(3, 2, 2))
    z = mixture(torch.zeros(3), components).sample((6000,))
    torch.testing.assert_close(z.T.cov(), torch.tensor([[1.0, 0.8], [0.8, 1.0]]), rtol=0, atol=0.08)
    assert len(z.unique(dim=0)) == 6000


def test_shapes_are_those_of_any_law_and_rows_of_a_batch_are_drawn_apart() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[0.0, -math.inf, -math.inf], [-math.inf, 0.0, 0.0]])
    made = law(logits)
    for shape in ((), (4,), (2, 3), (0,)):
        assert made.sample(shape).shape == (*shape, 2, 1)
    z = made.sample((10,))
    assert counts(z[:, 0], 3).tolist() == [10, 0, 0]
    assert counts(z[:, 1], 3).tolist() == [0, 5, 5]
    assert made.expand((4, 2)).sample((3,)).shape == (3, 4, 2, 1)


@pytest.mark.parametrize("prior", ["mixture", "vamp", "exemplar"])
def test_latents_of_a_model_are_spread_over_the_components_of_its_prior(prior: str) -> None:
    torch.manual_seed(0)
    made = pv.recipes.vae((3,), latent=2, prior=prior, components=5, network="mlp", widths=(4,), seed=0)
    model, seen = made.model.eval(), []
    inner = type(model.prior["z"]({}).component_distribution.base_dist).sample

    def watched(self: Normal, shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        seen.append(shape)
        return inner(self, shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Normal, "sample", watched)
        z = model.sample_latents(count=20)["z"]
        model.generate(count=7)
    assert z.shape == (20, 2)
    assert [shape[0] for shape in seen] == [4, 2]  # four draws of each of five for twenty, two at most for seven
