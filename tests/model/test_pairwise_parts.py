"""A model whose latents, one of each modality, are coupled in pairs: prior, posterior, missing rows, bounds."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

import polyvae as pv
from polyvae.model.distributions import Gibbs, Pairwise
from polyvae.model.families.real import DiagonalNormal, FullNormal
from polyvae.model.posteriors import PairwisePosterior
from polyvae.model.presence import present
from polyvae.model.priors import Coupling, PairwisePrior

SIZES = {"z_a": 2, "z_b": 1, "z_c": 2}
SURE = Gibbs(sweeps=4, burn_in=8, temperatures=48, particles=64)


def modelled(square: bool = True, sizes: dict[str, int] | None = None, seed: int = 0) -> pv.VAE:
    """Values a, b, c of three numbers each, read and written by linear maps; in double precision."""
    torch.manual_seed(seed)
    sizes = SIZES if sizes is None else sizes
    coupling = Coupling(sizes, square, start=0.5)
    with torch.no_grad():
        coupling.factor.add_(0.3 * torch.randn_like(coupling.factor))
        if coupling.raw is not None:
            coupling.raw.copy_(torch.randn_like(coupling.raw) + 1)
    shapes = {name: (size,) for name, size in sizes.items()}
    experts = {n: pv.Conditional(nn.Linear(3, 2 * d), DiagonalNormal(), n[2:]) for n, d in sizes.items()}
    known = {name: present(name[2:]) for name in sizes}
    heads = {
        n[2:]: pv.Head(pv.Conditional(nn.Linear(d, 6), DiagonalNormal(), n), of=n[2:], where=present(n[2:]))
        for n, d in sizes.items()
    }
    posterior = PairwisePosterior(experts, coupling, known, evaluation=SURE)
    return pv.VAE({"z": posterior}, {"z": PairwisePrior(coupling, shapes, 64)}, heads).double()


def batch(rows: int = 4, names: str = "abc", without: str = "") -> dict[str, Tensor]:
    torch.manual_seed(5)
    made = {}
    for name in names:
        there = torch.ones(rows, dtype=torch.bool) if name not in without else torch.zeros(rows, dtype=torch.bool)
        value = torch.randn(rows, 3).double()
        made |= {name: value if name not in without else torch.zeros_like(value), present(name): there}
    return made


def test_a_pass_leaves_one_latent_of_all_modalities_and_heads_read_their_own() -> None:
    model = modelled()
    draw = model(batch(), 3)
    assert list(draw.latents) == ["z"]
    latent = draw.latents["z"]
    assert latent.z.shape == (3, 4, 5)
    torch.testing.assert_close(latent.z, torch.cat([draw.values[n].unflatten(0, (3, 4)) for n in SIZES], -1))
    torch.testing.assert_close(latent.kl, latent.q.log_prob(latent.z) - latent.p.log_prob(latent.z))
    assert {name: value.shape[1:] for name, value in model.centres(batch()).items()} == {
        n: (d,) for n, d in SIZES.items()
    }
    assert model.generate(count=6)["b"].batch_shape == (6,)
    assert set(model.inputs) == {*"abc", *map(present, "abc")}
    assert model.conditions == ()


def test_with_nothing_given_the_posterior_is_the_prior() -> None:
    for square in (False, True):
        model = modelled(square).eval()
        latent = model(batch(without="abc"), 2000).latents["z"]
        torch.testing.assert_close(latent.kl.mean(), torch.tensor(0.0).double(), atol=0.1 if square else 1e-12, rtol=0)
        torch.testing.assert_close(latent.z.mean((0, 1)), torch.zeros(5).double(), atol=0.1, rtol=0)


def test_what_is_missing_is_drawn_from_the_prior_given_the_rest_and_costs_nothing() -> None:
    model = modelled(square=False).eval()
    given = batch(without="c")
    latent = model(given).latents["z"]
    precision = torch.eye(5) - model.prior["z"].coupling().linear.detach()
    covariance = torch.linalg.inv(precision)
    q, p = latent.q, latent.p
    assert isinstance(q, Pairwise)
    normal = MultivariateNormal(q.mean, precision_matrix=precision + (-2 * q.nu2).diag_embed())
    own = MultivariateNormal(normal.mean[:, :3], normal.covariance_matrix[:, :3, :3])
    exact = kl_divergence(own, MultivariateNormal(torch.zeros(3).double(), covariance[:3, :3]))
    torch.manual_seed(0)
    z = q.sample((40_000,))
    torch.testing.assert_close((q.log_prob(z) - p.log_prob(z)).mean(0), exact, atol=0.05, rtol=0)
    slope = covariance[3:, :3] @ torch.linalg.inv(covariance[:3, :3])
    torch.testing.assert_close(normal.mean[:, 3:], normal.mean[:, :3] @ slope.T)


def test_nothing_depends_on_a_value_that_is_missing_nor_trains_its_expert() -> None:
    model, found = modelled(), []
    for value in (0.0, 7.0):
        given = batch(without="b")
        given["b"] = torch.full_like(given["b"], value)
        torch.manual_seed(1)
        twin = copy.deepcopy(model)
        loss = -twin(given, 2).elbo.mean()
        loss.backward()
        found.append(loss.detach())
        for name, weight in twin.named_parameters():
            of_b = ".z_b." in name or "heads.b." in name
            assert of_b == (weight.grad is None or not weight.grad.any()), name
    assert torch.equal(*found)


def test_a_row_does_not_depend_on_what_the_others_lack() -> None:
    model, found = modelled().eval(), []
    for others in (True, False):
        given = batch()
        for name in "bc":
            given[present(name)][1:] = others
        torch.manual_seed(1)
        draw = model(given, 2)
        found.append((draw.latents["z"].z[:, 0], draw.elbo[0]))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, atol=1e-12, rtol=1e-12)


def test_evaluation_repeats_itself_by_the_seed_and_moves_nothing() -> None:
    model = modelled().eval()
    before, found = model.prior["z"].chains.clone(), []
    for twin in (model, copy.deepcopy(model)):  # the first asks twice, and keeps log Z from the first time
        for _ in range(2):
            torch.manual_seed(3)
            found.append((twin(batch(), 2).elbo, twin.sample_latents(count=3)["z_a"]))
    for each in found[1:]:
        assert torch.equal(each[0], found[0][0])
        assert torch.equal(each[1], found[0][1])
    assert torch.equal(model.prior["z"].chains, before)


def test_chains_move_in_training_mode_and_are_saved_with_the_weights() -> None:
    model = modelled()
    before = model.prior["z"].chains.clone()
    model(batch())
    assert not torch.equal(model.prior["z"].chains, before)
    assert "prior.z.chains" in model.state_dict()


def test_persistent_chains_are_draws_of_the_prior() -> None:
    model = modelled()
    prior = model.prior["z"]
    assert isinstance(prior, PairwisePrior)
    with torch.no_grad():
        moments = torch.stack([prior({}).states.square().mean(0) for _ in range(400)])
    draws = Pairwise(prior.coupling().detached(), Gibbs(burn_in=50)).sample((40_000,))
    torch.testing.assert_close(moments.mean(0), draws.square().mean(0), atol=0.01, rtol=0.03)


def test_log_z_of_the_prior_lies_in_the_sandwich_and_follows_the_weights() -> None:
    model = modelled().eval()
    prior = model.prior["z"]
    assert isinstance(prior, PairwisePrior)
    upper, _, lower = prior.sandwich(prior.coupling())
    assert abs(upper - lower) < 0.03
    law = Pairwise(prior.coupling().detached(), Gibbs(temperatures=200, particles=20_000))
    torch.manual_seed(0)
    torch.testing.assert_close(upper, law.log_partition, atol=0.03, rtol=0)
    first = prior({}).log_partition
    with torch.no_grad():
        prior.coupling.factor.add_(torch.randn_like(prior.coupling.factor))
    assert abs(prior({}).log_partition - first) > 0.01
    assert prior({}).log_partition.requires_grad
    assert prior.float()({}).log_prob(torch.zeros(5)).dtype == torch.float32


@pytest.mark.parametrize("square", [False, True])
def test_bounds_are_bounds_and_come_up_to_log_p_by_integration(square: bool) -> None:
    model = modelled(square, {"z_a": 1, "z_b": 1}).eval()
    with torch.no_grad():  # a little is told, so that the posterior is near enough for its weights to be even
        for weight in model.heads.parameters():
            weight.mul_(0.3)
        for expert in model.posterior["z"].experts.values():
            expert.net.bias[1:] += 2
    given = batch(3, "ab")
    line = torch.linspace(-10, 10, 201).double()
    z = torch.cartesian_prod(line, line)
    laws = model.decode({"z_a": z[:, :1], "z_b": z[:, 1:]})
    p = model.prior["z"]({})
    energy = p.energy(z)
    log_prior = energy - energy.logsumexp(0)
    for without in ("", "b"):
        shown = given | {present(name): torch.zeros(3, dtype=torch.bool) for name in without}
        log_px = sum(laws[n].log_prob(given[n].unsqueeze(1)) for n in "ab" if n not in without)
        exact = (log_prior + log_px).logsumexp(1).detach()
        torch.manual_seed(0)
        with torch.no_grad():
            draw = model(shown, 10_000)
        assert (draw.elbo < exact + 0.03).all()
        torch.testing.assert_close(draw.importance_bound, exact, atol=0.05, rtol=0)


def test_training_by_the_plain_bound_finds_the_correlation_of_what_it_sees() -> None:
    torch.manual_seed(0)
    model = modelled(sizes={"z_a": 1, "z_b": 1}).float()
    model.prior["z"].coupling.raw.data.fill_(-5.0)
    shared = torch.randn(512, 1)
    given = {n: 2 * shared @ torch.ones(1, 3) + 0.3 * torch.randn(512, 3) for n in "ab"}
    given |= {present(n): torch.ones(512, dtype=torch.bool) for n in "ab"}
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-model(given).elbo.mean()).backward()
        optimizer.step()
    with torch.no_grad():
        z = model.eval().sample_latents(count=4000)
        alike = torch.corrcoef(torch.cat([z["z_a"], z["z_b"]], 1).T)[0, 1]
        crossed = model(given | {present("b"): torch.zeros(512, dtype=torch.bool)})
        told = torch.corrcoef(torch.stack([crossed.latents["z"].q.mean[:, 1], given["b"][:, 0]]))[0, 1]
    assert abs(alike) > 0.9
    assert abs(told) > 0.9


def test_what_does_not_fit_is_named() -> None:
    coupling = Coupling({"z_a": 2, "z_b": 1})
    expert = pv.Conditional(nn.Linear(3, 4), DiagonalNormal(), "a")
    full = pv.Conditional(nn.Linear(3, 5), FullNormal(), "a")
    with pytest.raises(ValueError, match=r"at least two latents; got \['z_a'\]"):
        Coupling({"z_a": 2})
    with pytest.raises(ValueError, match=r"start is a correlation, .* below 0.99; got 1"):
        Coupling({"z_a": 2, "z_b": 1}, start=1.0)
    with pytest.raises(ValueError, match=r"of sizes \(2, 1\); got"):
        PairwisePrior(coupling, {"z_a": (2,), "z_b": (2,)})
    with pytest.raises(ValueError, match=r"known says of \['z_c'\]"):
        PairwisePosterior({"z_a": expert, "z_b": expert}, coupling, {"z_c": "c"})
    with pytest.raises(ValueError, match="between 2 latents"):
        PairwisePosterior({"z_a": expert}, coupling, {})
    for wrong in (full, pv.Conditional(nn.Linear(3, 2), DiagonalNormal(), "a")):
        posterior = PairwisePosterior({"z_a": wrong, "z_b": expert}, coupling, {})
        with pytest.raises(
            ValueError, match=r"the expert of 'z_a' makes normals with independent values of shape \[2\]"
        ):
            posterior({"a": torch.randn(4, 3)})
    with pytest.raises(ValueError, match="sweeps"):
        Gibbs(sweeps=0)
    assert math.isfinite(float(PairwisePrior(coupling, {"z_a": (2,), "z_b": (1,)}).chains.sum()))
