"""Low rank plus diagonal, mixtures of normals and named flows as posteriors: densities, identities, gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, LowRankMultivariateNormal, MultivariateNormal, Normal, kl_divergence

import polyvae as pv
from helpers.contract import PICTURES, check_draws, check_training, examples, make
from polyvae.data import Split
from polyvae.evaluation.codes import moments, mutual_information
from polyvae.model import families
from polyvae.model.distributions import CholeskyNormal, LowRankNormal, NormalMixture
from polyvae.model.laws import centre, detached
from polyvae.objectives.terms import marginals


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def low_rank(rows: int, size: int, rank: int) -> LowRankNormal:
    return LowRankNormal(rand(rows, size), rand(rows, size, rank), 0.2 + torch.rand(rows, size, dtype=torch.float64))


def mixture(rows: int, size: int, components: int) -> NormalMixture:
    family = families.MixtureNormal(components)
    law = family(rand(rows, family.size(size)).requires_grad_())
    assert isinstance(law, NormalMixture)
    return law


def diagonal(size: int) -> Independent:
    return Independent(Normal(rand(size), 0.3 + torch.rand(size, dtype=torch.float64)), 1)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 3), size=st.integers(1, 5), rank=st.integers(1, 6))
def test_low_rank_is_the_dense_normal_in_draws_scores_and_divergences(rows: int, size: int, rank: int) -> None:
    law = low_rank(rows, size, rank)
    dense = MultivariateNormal(law.mean, law.covariance_matrix)
    z, log_q = law.rsample_and_log_prob((4,))
    torch.testing.assert_close(log_q, dense.log_prob(z))
    torch.testing.assert_close(law.log_prob(z), log_q)
    torch.testing.assert_close(law.log_det, dense.covariance_matrix.logdet())
    torch.testing.assert_close(law.variance, dense.variance)
    for q in (diagonal(size), Independent(Normal(torch.zeros(size).double(), torch.ones(size).double()), 1)):
        expected = kl_divergence(dense, MultivariateNormal(q.mean, q.variance.diag_embed()))
        torch.testing.assert_close(kl_divergence(law, q), expected)


def test_low_rank_draws_have_its_moments_and_torch_agrees_with_its_density() -> None:
    torch.manual_seed(0)
    law = low_rank(1, 3, 2)
    z = law.rsample((100_000,))[:, 0]
    torch.testing.assert_close(z.T.cov(), law.covariance_matrix[0], atol=0.06, rtol=0)
    torch.testing.assert_close(z.mean(0), law.mean[0], atol=0.03, rtol=0)
    theirs = LowRankMultivariateNormal(law.loc, law.factor, law.scale.square())
    torch.testing.assert_close(law.log_prob(z), theirs.log_prob(z))


def test_without_a_factor_it_is_diagonal_and_of_full_rank_the_cholesky_normal() -> None:
    family = families.LowRankNormal(3)
    raw = rand(4, family.size(3))
    raw[:, 6:] = 0
    ours, plain = family(raw), families.DiagonalNormal()(raw[:, :6])
    states = []
    for law in (ours, plain):
        torch.manual_seed(0)
        states.append(law.rsample((2,)))
    assert torch.equal(*states)
    torch.testing.assert_close(ours.log_prob(states[0]), plain.log_prob(states[0]))
    full = low_rank(2, 3, 3)
    tril = torch.linalg.cholesky(full.covariance_matrix)
    same = CholeskyNormal(full.mean, scale_tril=tril, validate_args=False)
    torch.testing.assert_close(full.log_prob(states[0][:, :2]), same.log_prob(states[0][:, :2]))
    q = diagonal(3)
    torch.testing.assert_close(kl_divergence(full, q), kl_divergence(same, q))


def test_single_precision_keeps_the_density_of_a_thin_law_where_torch_loses_nats() -> None:
    torch.manual_seed(0)
    parts = torch.zeros(1, 20), torch.randn(1, 20, 3), torch.full((1, 20), 1e-3)
    z, log_q = LowRankNormal(*parts).rsample_and_log_prob((200,))
    exact = LowRankNormal(*(part.double() for part in parts)).log_prob(z.double())
    assert (log_q - exact).abs().max() < 0.05
    theirs = LowRankMultivariateNormal(parts[0], parts[1], parts[2].square()).log_prob(z)
    assert (theirs - exact).abs().max() > 1


def test_a_mixture_of_one_is_the_diagonal_normal_to_the_last_bits_network_included() -> None:
    found = []
    for options in ({"posterior": "diagonal"}, {"posterior": families.MixtureNormal(1)}):
        made = pv.recipes.vae((6,), latent=3, network="mlp", widths=(5,), seed=0, **options)
        torch.manual_seed(1)
        loss = made.objective(made.model, {"x": torch.ones(4, 6)})["loss"]
        loss.backward()
        found.append([loss.detach(), *(parameter.grad for parameter in made.model.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 3), size=st.integers(1, 4), components=st.integers(2, 4))
def test_a_mixture_scores_as_the_sum_of_its_normals(rows: int, size: int, components: int) -> None:
    law = mixture(rows, size, components)
    z = law.rsample((3,))
    normal, weight = law.component_distribution.base_dist, law.mixture_distribution.probs
    each = Normal(normal.loc, normal.scale).log_prob(z.unsqueeze(-2)).sum(-1)
    torch.testing.assert_close(law.log_prob(z), (weight.log() + each).logsumexp(-1))
    assert z.shape == (3, rows, size)


def stratified(law: NormalMixture, f: object, draws: int) -> Tensor:
    """sum_k w_k E_k f, whose gradient is known to be right."""
    each = law.component_distribution.rsample(torch.Size((draws,)))
    return (law.mixture_distribution.probs * f(each).mean(0)).sum()  # pyright: ignore


@pytest.mark.parametrize("size", [1, 3])
def test_trap20_draws_of_a_mixture_have_unbiased_gradients_also_to_the_weights(size: int) -> None:
    torch.manual_seed(3)
    family = families.MixtureNormal(3)
    raw = rand(1, family.size(size)).requires_grad_()

    def f(z: Tensor) -> Tensor:
        return 3 * (z.sum(-1) + z[..., 0] * z[..., -1]).sin() + z.square().sum(-1)

    groups, count = [], 4_000
    for _ in range(40):
        (ours,) = torch.autograd.grad(f(family(raw).rsample((count,))).mean(), raw)
        (known,) = torch.autograd.grad(stratified(family(raw), f, count), raw)
        groups.append(torch.cat([ours - known, ours]))
    gap, ours = torch.stack(groups).unbind(1)
    assert (gap.mean(0).abs() < 4.5 * gap.std(0) / 40**0.5).all()
    assert ours.mean(0)[-2:].abs().min() > 0.05, "the weights have a gradient"


def test_the_mean_of_a_mixture_has_the_gradient_of_the_closed_form_in_each_dimension() -> None:
    torch.manual_seed(0)
    family = families.MixtureNormal(2)
    raw = (0.5 * rand(1, family.size(2))).requires_grad_()
    (ours,) = torch.autograd.grad(family(raw).rsample((200_000,)).mean(0).sum(), raw)
    (known,) = torch.autograd.grad(family(raw).mean.sum(), raw)
    torch.testing.assert_close(ours, known, atol=0.01, rtol=0)


def test_what_evaluation_makes_of_the_laws() -> None:
    torch.manual_seed(0)
    for law in (low_rank(3, 2, 1), mixture(3, 2, 3)):
        with torch.no_grad():
            z = law.sample(torch.Size((50_000,)))
        torch.testing.assert_close(centre(law), z.mean(0), atol=0.05, rtol=0)
        known = moments(law)
        assert known is not None
        torch.testing.assert_close(known[1].detach(), z.flatten(0, 1).T.cov(), atol=0.08, rtol=0)
        assert 0 <= mutual_information([law], z[0]) <= 1.1 + 0.7
        axis = marginals(law)
        assert axis is not None
        torch.testing.assert_close(axis.variance, z.var(0), atol=0.1, rtol=0)
        assert not detached(law).log_prob(z[:1]).requires_grad


NAMES = ["low-rank", "mixture", "iaf"]


@pytest.mark.parametrize("posterior", NAMES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("two_level", {}),
        ("cvae", {}),
        ("iwae", {}),
        ("mixture_prior", {"components": 3}),
        ("vamp_prior", {"components": 3}),
        ("mmd_vae", {}),
        ("arbitrary_conditioning", {"mask": "grid", "count": 4}),
    ],
)
def test_each_posterior_goes_with_old_parts(name: str, options: dict[str, object], posterior: str) -> None:
    check_training(make(name, posterior=posterior, **options), PICTURES)
    check_draws(make(name, posterior=posterior, **options), PICTURES)


def test_a_posterior_may_be_made_for_the_dimensions_of_each_latent() -> None:
    seen = []

    def flow(dimensions: int) -> pv.Family:
        seen.append(dimensions)
        return families.InverseAutoregressive(dimensions, context=5)

    made = pv.recipes.two_level((6,), latent=3, top=2, posterior=flow, network="mlp", widths=(4,))
    assert seen == [2, 3]
    assert made.call is None
    assert made.model({"x": torch.rand(4, 6)}, 2).elbo.shape == (4,)
    with pytest.raises(ValueError, match="posterior is a name or a family; got 'x'"):
        pv.recipes.vae((6,), posterior=lambda dimensions: "x")


@pytest.mark.parametrize("name", ["low_rank", "mixture_posterior", "iaf"])
def test_a_run_of_each_is_evaluated_and_encoded(name: str) -> None:
    made = make(name)
    split = Split(examples(PICTURES))
    report = pv.evaluate(made, split, samples=50)
    assert report["importance_bound"] > report["bound"]
    assert report["latents"]["z"]["information"] is not None
    assert report["latents"]["z"]["kl_source"] == ("analytic" if name == "low_rank" else "sampled")
