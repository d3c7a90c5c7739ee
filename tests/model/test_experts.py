"""Experts of several modalities: products and mixtures beside closed forms, brute force and one another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, Laplace, Normal

from helpers.modalities import NAMES, batch, experts, joined, observed
from polyvae.model.distributions.experts import Joined, Strata, product
from polyvae.model.posteriors.experts import Experts, each, every
from polyvae.model.posteriors.private import SharedAndPrivate
from polyvae.model.presence import present

VALUES = observed(batch())
THERE = torch.stack([VALUES[present(name)] for name in NAMES], 1)


def laws() -> list[Normal]:
    return [expert(VALUES).base_dist for expert in experts().values()]


def grid(law: object, points: int = 4001, reach: float = 12.0) -> tuple[Tensor, Tensor]:
    z = torch.linspace(-reach, reach, points, dtype=torch.float64)
    return z, z[1] - z[0]


@pytest.mark.parametrize("subsets", [None, each(NAMES), every(NAMES)])
@pytest.mark.parametrize("prior", [False, True])
def test_without_modalities_the_posterior_is_the_prior(subsets, prior) -> None:
    law, row = joined(subsets=subsets, prior=prior)(VALUES), 7
    assert not THERE[row].any()
    z = torch.randn(5, 8, 2, dtype=torch.float64)
    torch.testing.assert_close(law.log_prob(z)[:, row], Normal(0.0, 1.0).log_prob(z[:, row]).sum(-1))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 10_000))
def test_a_product_is_proportional_to_the_product_of_its_densities(count, size, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    loc = torch.randn(2, count, size, generator=generator, dtype=torch.float64)
    scale = torch.rand(2, count, size, generator=generator, dtype=torch.float64) + 0.3
    there = torch.rand(2, count, generator=generator) < 0.6
    z = torch.randn(2, 6, size, generator=generator, dtype=torch.float64)
    for prior in (False, True):
        law = product(loc, scale, there, prior)
        found = Normal(law.loc.unsqueeze(1), law.scale.unsqueeze(1)).log_prob(z).sum(-1)
        single = Normal(loc.unsqueeze(1), scale.unsqueeze(1)).log_prob(z.unsqueeze(2)).sum(-1)
        wanted = torch.where(there.unsqueeze(1), single, 0.0).sum(2)
        alone = prior | ~there.any(1)
        wanted = wanted + torch.where(torch.as_tensor(alone), 1.0, 0.0).view(-1, 1) * Normal(0.0, 1.0).log_prob(z).sum(
            -1
        )
        gap = found - wanted
        torch.testing.assert_close(gap, gap[:, :1].expand_as(gap))  # the same constant at every z


def test_one_expert_of_a_product_is_its_posterior_times_the_prior_and_two_equal_views_add_their_precision() -> None:
    loc, scale = torch.tensor([[[0.7], [0.7]]]).double(), torch.tensor([[[0.5], [0.5]]]).double()
    one = product(loc, scale, torch.tensor([[True, False]]), True)
    torch.testing.assert_close(one.scale.square().reciprocal(), torch.full((1, 1), 5.0).double())
    torch.testing.assert_close(one.loc, torch.full((1, 1), 0.7 * 4 / 5).double())
    two = product(loc, scale, torch.tensor([[True, True]]), True)
    torch.testing.assert_close(two.scale.square().reciprocal(), torch.full((1, 1), 9.0).double())


def test_a_mixture_is_the_mean_of_the_experts_that_are_there_and_of_one_that_expert() -> None:
    law = joined(subsets=each(NAMES))(VALUES)
    assert isinstance(law, Strata)
    z = torch.randn(3, 8, 2, dtype=torch.float64)
    densities = torch.stack([one.log_prob(z).sum(-1).exp() for one in laws()], -1)
    wanted = (densities * THERE).sum(-1) / THERE.sum(1)
    rows = THERE.any(1)
    torch.testing.assert_close(law.log_prob(z).exp()[:, rows], wanted[:, rows])
    single = THERE.sum(1) == 1
    assert single.sum() == 3
    for row in single.nonzero()[:, 0].tolist():
        only = laws()[int(THERE[row].to(torch.int64).argmax())]
        torch.testing.assert_close(law.log_prob(z)[:, row], only.log_prob(z).sum(-1)[:, row])


def test_mopoe_is_the_mean_over_the_subsets_of_what_is_there_and_with_subsets_of_one_it_is_mmvae() -> None:
    z = torch.randn(3, 8, 2, dtype=torch.float64)
    law, alone = joined(subsets=every(NAMES))(VALUES), joined(subsets=each(NAMES))(VALUES)
    for row in range(7):
        held = [one for one, there in zip(laws(), THERE[row], strict=True) if there]
        subsets = every([str(n) for n in range(len(held))])
        parts = []
        for subset in subsets:
            chosen = [held[int(n)] for n in subset]
            precision = sum(one.scale[row] ** -2 for one in chosen)
            loc = sum(one.loc[row] * one.scale[row] ** -2 for one in chosen) / precision
            parts.append(Normal(loc, precision**-0.5).log_prob(z[:, row]).sum(-1).exp())
        torch.testing.assert_close(law.log_prob(z)[:, row].exp(), torch.stack(parts).mean(0))
    through = Experts(experts(), [("a",), ("b",), ("c",)]).double()
    through.single = False  # by products of one each
    torch.testing.assert_close(through(VALUES).log_prob(z), alone.log_prob(z))


def test_what_is_missing_may_be_anything_and_rows_do_not_depend_on_one_another() -> None:
    for subsets in (None, each(NAMES), every(NAMES)):
        part, z = joined(subsets=subsets), torch.randn(8, 2, dtype=torch.float64)
        whole = part(VALUES).log_prob(z)
        other = {name: value.clone() for name, value in VALUES.items()}
        for name in NAMES:
            other[name][~VALUES[present(name)]] = 1e6
        torch.testing.assert_close(part(other).log_prob(z), whole)
        rows = {name: value[2:5] for name, value in VALUES.items()}
        torch.testing.assert_close(part(rows).log_prob(z[2:5]), whole[2:5])


def test_trap_20_draws_of_a_mixture_are_stratified_in_order_and_carry_the_gradient_of_every_expert() -> None:
    law = joined(subsets=each(NAMES))(VALUES)
    torch.manual_seed(0)
    z, components = law.rsample((6,)), law.component_distribution.base_dist
    nearest = [laws()[n // 2] for n in range(6)]  # two of each, the first expert's first
    row = 0
    assert THERE[row].all()
    (gradient,) = torch.autograd.grad(z[:, row].sum(), components.loc)
    torch.testing.assert_close(gradient[row], torch.full((3, 2), 2.0).double())
    far = [((z[n, row] - one.loc[row]) / one.scale[row]).detach().abs() for n, one in enumerate(nearest)]
    assert float(torch.stack(far).max()) < 6
    torch.manual_seed(1)
    single = Strata(
        torch.tensor([[0.25, 0.75]]).expand(40_000, 2), Normal(torch.tensor([[0.0], [9.0]]).expand(40_000, 2, 1), 1.0)
    )
    assert float((single.sample((1,)) > 4.5).float().mean()) == pytest.approx(0.75, abs=0.01)


def test_the_gradient_of_an_expectation_under_strata_is_that_of_the_integral() -> None:
    loc = torch.tensor([[[-1.0], [1.5]]], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([[[0.6], [1.2]]], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    law = Strata(weights, Normal(loc, scale))

    def value(z: Tensor) -> Tensor:
        return z.sin() * z + law.log_prob(z)[..., None]

    z, step = grid(law)
    integral = (law.log_prob(z[:, None, None])[:, 0].exp() * value(z[:, None, None])[:, 0, 0]).sum() * step
    wanted = torch.autograd.grad(integral, (loc, scale), retain_graph=True)
    torch.manual_seed(0)
    found = torch.autograd.grad(value(law.rsample((400_000,))).mean(), (loc, scale))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=0.02, rtol=0)


def test_a_product_of_laplace_laws_is_refused_and_a_mixture_of_them_is_theirs() -> None:
    with pytest.raises(ValueError, match="a product of experts is one of normals"):
        Experts(experts(law="laplace")).double()(VALUES)
    law = Experts(experts(law="laplace"), each(NAMES)).double()(VALUES)
    assert isinstance(law, Strata)
    z = torch.randn(8, 2, dtype=torch.float64)
    single = [expert(VALUES).base_dist for expert in experts(law="laplace").values()]
    assert all(isinstance(one, Laplace) for one in single)
    densities = torch.stack([one.log_prob(z).sum(-1).exp() for one in single], -1)
    torch.testing.assert_close(law.log_prob(z).exp()[:7], ((densities * THERE).sum(-1) / THERE.sum(1))[:7])
    torch.testing.assert_close(law.log_prob(z)[7], Laplace(0.0, 1.0).log_prob(z[7]).sum().double())


def test_subsets_of_no_modality_or_of_an_unknown_one_are_refused() -> None:
    for subsets in ([], [()], [("a", "d")]):
        with pytest.raises(ValueError, match="subsets hold some of the modalities"):
            Experts(experts(), subsets)


def test_a_joint_law_stands_in_rows_that_have_all_and_their_product_elsewhere() -> None:
    own = experts()
    joint = Experts(own, joint=own["a"])(VALUES)
    plain = Experts(own)(VALUES)
    assert isinstance(joint, Joined)
    whole = THERE.all(1)
    torch.testing.assert_close(joint.mean[whole], own["a"](VALUES).mean[whole])
    torch.testing.assert_close(joint.mean[~whole], plain.mean[~whole])
    assert isinstance(joint.experts, Independent)


def test_private_latents_are_a_mixture_of_experts_that_know_nothing_of_one_another() -> None:
    part = SharedAndPrivate(experts(dimensions=5), shared=3, private=2).double()
    with torch.no_grad():
        part.raw_scales.add_(torch.randn_like(part.raw_scales))
    law, z = part(VALUES), torch.randn(8, 9, dtype=torch.float64)
    assert part.shapes == {"z": (3,), "w_a": (2,), "w_b": (2,), "w_c": (2,)}
    spread = torch.nn.functional.softplus(part.raw_scales + torch.tensor(1 - 1e-4).double().expm1().log()) + 1e-4
    single = [expert(VALUES).base_dist for expert in part.mixture.experts.values()]
    for row in range(7):
        parts = []
        for m in THERE[row].nonzero()[:, 0].tolist():
            own = Normal(single[m].loc[row], single[m].scale[row])
            score = own.log_prob(torch.cat([z[row, :3], z[row, 3 + 2 * m : 5 + 2 * m]])).sum()
            for n in range(3):
                if n != m:
                    scale = spread[n] if THERE[row, n] else torch.ones(2).double()
                    score = score + Normal(0.0, scale).log_prob(z[row, 3 + 2 * n : 5 + 2 * n]).sum()
            parts.append(score)
        torch.testing.assert_close(
            law.log_prob(z)[row], torch.stack(parts).logsumexp(0) - torch.tensor(len(parts)).log()
        )
    torch.testing.assert_close(law.log_prob(z)[7], Normal(0.0, 1.0).log_prob(z[7]).sum())
