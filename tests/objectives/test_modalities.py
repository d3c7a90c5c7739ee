"""Terms and bounds of several modalities beside integrals, sums by hand and one another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import polyvae as pv
from helpers.modalities import NAMES, batch, experts, observed
from polyvae.model.draw import Draw
from polyvae.model.families.real import FixedNormal
from polyvae.model.parts import Head
from polyvae.model.posteriors.experts import Experts, Subsets, each, every
from polyvae.model.presence import present
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import VAE, Conditional
from polyvae.objectives.bounds import ImportanceWeighted
from polyvae.objectives.gradients import DoublyReparametrised
from polyvae.objectives.modalities import ComponentKL, ExpertKL, SubsetBounds
from polyvae.objectives.objective import Objective

TWO = NAMES[:2]
VALUES = observed(batch(TWO, rows=4), TWO)


def model(subsets: Subsets | None = None, weights: tuple[float, float] = (1.0, 1.0), prior: bool = False) -> VAE:
    """z of one dimension, linear experts, linear normal heads: everything can be integrated."""
    q = Experts(experts(TWO, dimensions=1), subsets, prior)
    torch.manual_seed(3)
    heads = {}
    for n, name in enumerate(TWO):
        p = Conditional(nn.Linear(1, 3 + n), FixedNormal(0.64), "z")
        heads[name] = Head(p, of=name, weight=weights[n], where=present(name))
    return VAE(q, StandardNormal(1), heads).double()


def scores(made: VAE, z: Tensor, weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """sum_m w_m log p(x_m | z) + log p(z) at points z [N], of each row [N, B]."""
    found = Normal(0.0, 1.0).log_prob(z)[:, None].expand(-1, 4)
    for n, name in enumerate(TWO):
        law = made.decode({"z": z[:, None]})[name]
        x, there = VALUES[name], VALUES[present(name)]
        found = found + weights[n] * there * law.base_dist.log_prob(x[:, None]).sum(-1).T
    return found


GRID = torch.linspace(-14, 14, 8001, dtype=torch.float64)
STEP = GRID[1] - GRID[0]


def experts_at(made: VAE) -> Tensor:
    """log q(z | x_m) at the grid, [N, B, 2]."""
    part = made.posterior["z"]
    assert isinstance(part, Experts)
    laws, _ = part.laws(VALUES)
    return type(laws)(laws.loc[..., 0], laws.scale[..., 0]).log_prob(GRID[:, None, None])


def test_the_bound_of_a_mixture_of_experts_is_the_integral_under_each_with_the_density_of_all() -> None:
    made = model(each(TWO))
    with torch.no_grad():
        joint = scores(made, GRID)
        single, mixed = experts_at(made), made.encode(VALUES)["z"].log_prob(GRID[:, None, None].expand(-1, 4, 1))
        wanted = ((single[:, 0].exp() * (joint - mixed)[:, :1]).sum(0) * STEP).mean()  # row 0 has both
        torch.manual_seed(0)
        draw = made({name: value[:1] for name, value in VALUES.items()}, 400_000)
        values = (draw.log_px - draw.kl)[:, 0]
        error = 5 * float(values.std()) / 400_000**0.5
        torch.testing.assert_close(draw.elbo.mean(), wanted, atol=error, rtol=0)
        whole = (joint.exp().sum(0) * STEP).log()
        torch.testing.assert_close(draw.importance_bound[0], whole[0], atol=0.02, rtol=0)
        assert float(draw.elbo[0]) < float(whole[0])


def test_each_group_of_the_importance_weighted_bound_is_one_experts() -> None:
    made, values = model(each(TWO)), {name: value[:1] for name, value in VALUES.items()}
    torch.manual_seed(0)
    draw = made(values, 6)
    halves = draw.log_weight.unflatten(0, (2, 3)).logsumexp(1) - torch.tensor(3.0).log()
    torch.manual_seed(0)
    found = ImportanceWeighted(3, groups=2)(made, values)["loss"]
    torch.testing.assert_close(found, -halves.mean())
    part = made.posterior["z"]
    assert isinstance(part, Experts)
    laws, _ = part.laws(values)
    (gradient,) = torch.autograd.grad(draw.latents["z"].drawn[:3].sum(), laws.loc, allow_unused=True)
    assert gradient is None  # of other laws than those drawn from: asked again, they are new
    components = draw.latents["z"].q.component_distribution.base_dist  # pyright: ignore
    (gradient,) = torch.autograd.grad(draw.latents["z"].drawn[:3].sum(), components.loc)
    torch.testing.assert_close(gradient[0, :, 0], torch.tensor([3.0, 0.0]).double())


def test_trap_6_the_weights_of_modalities_train_and_enter_no_bound() -> None:
    plain, heavy = model(each(TWO)), model(each(TWO), weights=(5.0, 0.5))
    found = []
    for made, weighted in ((plain, False), (heavy, True)):
        torch.manual_seed(0)
        found.append(ImportanceWeighted(4, 2, weighted)(made, VALUES))
    torch.testing.assert_close(found[0]["bound"], found[1]["bound"])
    assert not torch.isclose(found[0]["loss"], found[1]["loss"])
    torch.manual_seed(0)
    draw = heavy(VALUES, 8)
    latent = draw.latents["z"]
    weights = 5 * draw.heads["a"].log_p + 0.5 * draw.heads["b"].log_p + latent.log_p - latent.log_q
    wanted = (weights.unflatten(0, (2, 4)).logsumexp(1) - torch.tensor(4.0).log()).mean()
    torch.testing.assert_close(found[1]["loss"], -wanted)
    with pytest.raises(ValueError, match="weighted=True"):
        ImportanceWeighted(4, 2)(heavy, VALUES)


def gradients(made: VAE, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(made.parameters()))])


def test_the_doubly_reparametrised_bound_of_groups_has_the_value_of_the_plain_one_and_its_gradient_where_k_is_one() -> (
    None
):
    made = model(each(TWO))
    torch.manual_seed(0)
    plain = ImportanceWeighted(3, 2)(made, VALUES)["loss"]
    torch.manual_seed(0)
    torch.testing.assert_close(DoublyReparametrised(3, 2)(made, VALUES)["loss"], plain)
    many = {name: value.repeat_interleave(60_000, 0) for name, value in VALUES.items()}
    found = []
    for bound in (ImportanceWeighted(1, 2), DoublyReparametrised(1, 2)):
        torch.manual_seed(1)
        found.append(gradients(made, bound(made, many)["loss"]))
    torch.testing.assert_close(*found, atol=0.06, rtol=0.02)


def test_the_weighted_gradient_of_the_decoder_is_exact_in_both_bounds() -> None:
    made = model(each(TWO), weights=(3.0, 1.0))
    heads = list(made.heads.parameters())
    found = []
    for bound in (ImportanceWeighted(4, 2, True), DoublyReparametrised(4, 2, True)):
        torch.manual_seed(1)
        loss = bound(made, VALUES)["loss"]
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, heads)]))
    torch.testing.assert_close(*found)


def test_the_divergences_from_experts_and_of_components_are_sums_of_closed_forms() -> None:
    made = model(prior=True)
    draw: Draw = made.infer(VALUES, 3)
    q = draw.latents["z"].q
    part = made.posterior["z"]
    assert isinstance(part, Experts)
    laws, there = part.laws(VALUES)
    wanted = torch.zeros(4).double()
    for m in range(2):
        own = Normal(laws.loc[:, m, 0], laws.scale[:, m, 0])
        wanted = wanted + there[:, m] * kl_divergence(Normal(q.mean[:, 0], q.variance.sqrt()[:, 0]), own)
    torch.testing.assert_close(ExpertKL()(draw), wanted.expand(3, 4))
    assert float(ExpertKL()(draw)[0, 3].detach()) == 0  # the row of no modality
    with pytest.raises(ValueError, match="ExpertKL needs experts"):
        ExpertKL()(model(each(TWO)).infer(VALUES))

    mixed = model(every(TWO))
    draw = mixed.infer(VALUES, 2)
    law, grid = draw.latents["z"].q, GRID[:, None, None].expand(-1, 4, 1)
    with torch.no_grad():
        density = law.log_prob(grid)
        exact = (density.exp() * (density - Normal(0.0, 1.0).log_prob(GRID)[:, None])).sum(0) * STEP
        found = ComponentKL()(draw)[0]
    assert bool((found >= exact - 1e-9).all())
    torch.testing.assert_close(found[1:], exact[1:])  # rows of one modality or none: all components are alike
    assert float(found[0]) > float(exact[0]) + 1e-4


def test_bounds_of_subsets_are_those_of_models_that_were_given_these_modalities_alone() -> None:
    made = model(prior=True)
    plain = Objective()
    torch.manual_seed(0)
    found = SubsetBounds(plain, TWO)(made, VALUES)
    torch.manual_seed(0)
    wanted = plain(made, VALUES)
    torch.testing.assert_close(found["bound"], wanted["bound"])
    total = wanted["loss"]
    for name in TWO:
        other = next(each for each in TWO if each != name)
        total = total + plain(made, {**VALUES, present(other): torch.zeros(4, dtype=torch.bool)})["loss"]
    torch.testing.assert_close(found["loss"], total)
    torch.manual_seed(0)
    more = SubsetBounds(plain, TWO, drawn=2)(made, VALUES)
    assert float(more["loss"].detach()) > float(found["loss"].detach())
    with pytest.raises(ValueError, match="drawn"):
        SubsetBounds(plain, TWO, -1)


def test_a_bound_of_subsets_never_exceeds_log_p_of_the_subset() -> None:
    made = model(prior=True)
    only = {**VALUES, present("b"): torch.zeros(4, dtype=torch.bool)}
    with torch.no_grad():
        joint = Normal(0.0, 1.0).log_prob(GRID)[:, None].expand(-1, 4)
        law = made.decode({"z": GRID[:, None]})["a"]
        joint = joint + VALUES[present("a")] * law.base_dist.log_prob(VALUES["a"][:, None]).sum(-1).T  # pyright: ignore
        whole = (joint.exp().sum(0) * STEP).log()
        torch.manual_seed(0)
        draw = made(only, 20_000)
    assert bool((draw.elbo <= whole + 0.02).all())
    torch.testing.assert_close(draw.importance_bound, whole, atol=0.03, rtol=0)


@pytest.mark.parametrize("name", ["mvae", "mmvae", "mopoe", "jmvae", "mvtcae", "mmvae_plus", "dmvae"])
def test_every_recipe_of_modalities_trains_all_that_it_has_and_bounds_rows_of_every_pattern(name) -> None:
    from helpers.modalities import spec

    made = pv.recipes.named(name)(spec(), latent=2, seed=0)
    values = made.observe(batch())
    values = {key: value.float() if value.is_floating_point() else value for key, value in values.items()}
    torch.manual_seed(0)
    found = made.objective(made.model, values)
    found["loss"].backward()
    assert all(bool(value.isfinite()) for value in found.values())
    untrained = [key for key, value in made.model.named_parameters() if value.grad is None or not value.grad.any()]
    assert not untrained
    empty = {key: value[7:] for key, value in values.items()}
    draw = made.model(empty, 200)
    assert float(draw.elbo.detach().abs().max()) < 1e-5  # of a row without modalities log p is 0
