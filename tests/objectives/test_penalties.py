"""Covariances of codes against NumPy, the size of codes, and how steep a decoder is against its whole Jacobian."""

from __future__ import annotations

import itertools
import math
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import polyvae as pv
from helpers.models import part, plain, two_level
from polyvae.data import wrap
from polyvae.model.distributions.normal import CholeskyNormal
from polyvae.model.draw import Draw
from polyvae.model.families.real import FullNormal, Point
from polyvae.model.networks.layers import Stack
from polyvae.objectives.penalties import CodeSize, Covariance, SpectralNorms, Steepness, check_covariance, covariance
from polyvae.objectives.terms import MMD
from polyvae.training.groups import groups_of
from polyvae.training.optimizer import build
from polyvae.training.settings import Settings


def latent_of(q: Any, name: str = "z") -> pv.Latent:
    z = q.rsample((1,))
    prior = Independent(Normal(torch.zeros(q.event_shape), torch.ones(q.event_shape)), 1)
    return pv.Latent(q, prior, z, z, name=name)


def draw_of(q: Any) -> pv.Draw:
    return pv.Draw(1, {}, {"z": latent_of(q)}, {})


def tril(rows: int, d: int) -> Tensor:
    return torch.randn(rows, d, d).double().tril(-1) + torch.rand(rows, d).double().add(0.2).diag_embed()


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(2, 9), d=st.integers(1, 4), full=st.booleans())
def test_the_covariances_are_numpys(rows: int, d: int, full: bool) -> None:
    loc, scale = torch.randn(rows, d).double(), tril(rows, d)
    if full:
        q, within = CholeskyNormal(loc, scale_tril=scale), scale @ scale.mT
    else:
        deviations = scale.diagonal(dim1=1, dim2=2)
        q, within = Independent(Normal(loc, deviations), 1), deviations.square().diag_embed()
    means = np.cov(loc.numpy().T).reshape(d, d)
    for aggregate, expected in ((False, means), (True, means + within.numpy().mean(0))):
        np.testing.assert_allclose(covariance(latent_of(q), aggregate).numpy(), expected, atol=1e-10)
        diagonal = ((np.diag(expected) - 1) ** 2).sum()
        off = (expected**2).sum() - (np.diag(expected) ** 2).sum()
        assert Covariance("diagonal", aggregate)(draw_of(q)).item() == pytest.approx(diagonal, abs=1e-9)
        assert Covariance("off-diagonal", aggregate)(draw_of(q)).item() == pytest.approx(off, abs=1e-9)


def test_the_covariance_of_a_batch_is_unbiased_and_its_square_too_large_by_its_variance() -> None:
    torch.manual_seed(0)
    loc = torch.randn(4000, 16, 2).double() @ torch.tensor([[1.0, 0.0], [0.6, 0.8]]).double().T
    found = torch.stack([covariance(latent_of(Independent(Normal(each, 1.0), 1)))[0, 1] for each in loc])
    assert abs(found.mean() - 0.6) < 4 * found.std() / math.sqrt(4000)
    assert found.var().item() == pytest.approx((1 + 0.6**2) / 15, rel=0.1)  # of a normal pair, of order 1 / B
    assert found.square().mean().item() == pytest.approx(0.6**2 + (1 + 0.6**2) / 15, rel=0.05)


def test_the_penalty_is_zero_where_the_codes_are_standard_and_its_gradient_pulls_there() -> None:
    z = torch.randn(500, 3).double()
    z = z - z.mean(0)
    white = z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / 499)).T
    for part_of in ("diagonal", "off-diagonal"):
        assert Covariance(part_of)(draw_of(Independent(Normal(white, 1.0), 1))) < 1e-20
    loc = (white @ torch.tensor([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 2.0]]).double().T).requires_grad_()
    for _ in range(300):
        q = Independent(Normal(loc, 1.0), 1)
        cost = Covariance("diagonal")(draw_of(q)) + Covariance("off-diagonal")(draw_of(q))
        loc = (loc - 20 * torch.autograd.grad(cost, loc)[0]).detach().requires_grad_()
    torch.testing.assert_close(
        torch.from_numpy(np.cov(loc.detach().numpy().T)), torch.eye(3).double(), atol=1e-3, rtol=0
    )


def test_every_level_counts_and_batches_of_one_and_points_are_refused() -> None:
    draw = two_level()({"x": torch.randn(6, 4)}, 2)
    whole = sum(covariance(latent).fill_diagonal_(0).square().sum() for latent in draw.latents.values())
    torch.testing.assert_close(Covariance("off-diagonal")(draw), whole)
    with pytest.raises(ValueError, match="the covariance of codes needs a batch of at least 2 examples; got 1"):
        Covariance("diagonal")(plain()({"x": torch.randn(1, 4)}))
    with pytest.raises(ValueError, match="posterior: the covariance of codes is known of normal ones; got a Point"):
        check_covariance(Point()(torch.zeros(2, 3)))
    with pytest.raises(ValueError, match="part is one of diagonal, off-diagonal; got 'of'"):
        Covariance("of")
    check_covariance(FullNormal()(torch.zeros(2, 9)))


@pytest.mark.parametrize("samples", [1, 3])
def test_the_size_of_codes_is_half_their_square_over_all_latents(samples: int) -> None:
    draw = two_level()({"x": torch.randn(5, 4)}, samples)
    expected = sum(latent.z.square().sum(-1) for latent in draw.latents.values()) / 2
    torch.testing.assert_close(CodeSize()(draw), expected)
    assert CodeSize()(draw).shape == (samples, 5)


def conditional(samples: int) -> tuple[pv.VAE, pv.Draw]:
    torch.manual_seed(0)
    model = pv.VAE(part("x", [4], 2), pv.priors.StandardNormal(2), part(("z", "y"), [2, 3], 4)).double()
    return model, model({"x": torch.randn(3, 4).double(), "y": torch.randn(3, 3).double()}, samples)


@pytest.mark.parametrize("samples", [1, 2])
def test_steepness_is_half_the_squared_norm_of_the_jacobian_in_expectation(samples: int) -> None:
    model, draw = conditional(samples)

    def mean(z: Tensor, y: Tensor) -> Tensor:
        return model.decode({"z": z[None], "y": y[None]})["x"].mean[0]

    z, y = draw.latents["z"].z, draw.values["y"]
    exact = torch.zeros(samples, 3).double()
    for k, b in itertools.product(range(samples), range(3)):
        slopes = torch.autograd.functional.jacobian(lambda at, b=b: mean(at, y[b]), z[k, b])
        exact[k, b] = 0.5 * slopes.square().sum()  # pyright: ignore
    found = torch.stack([Steepness()(draw).detach() for _ in range(1500)])
    assert found.shape[1:] == (samples, 3)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - exact).abs() < 4.5 * error).all()
    with torch.inference_mode():
        assert Steepness()(draw).isfinite().all()


def test_steepness_moves_the_decoder_alone() -> None:
    model, draw = conditional(1)
    Steepness()(draw).mean().backward()
    assert all(p.grad is None for p in model.posterior.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.heads.parameters())


def small(name: str, **options: Any) -> pv.Recipe:
    build_one = pv.recipes.named(name)
    return build_one((1, 8, 8), **{"latent": 4, "network": "mlp", "widths": (16,), "seed": 0, **options})


def test_dip_vae_without_its_penalties_is_the_vae_and_its_loss_is_their_weighted_sum() -> None:
    batch = {"x": torch.rand(6, 1, 8, 8)}
    losses = []
    for made in (small("vae"), small("dip_vae", off_diagonal=0.0, diagonal=0.0), small("dip_vae", aggregate=False)):
        torch.manual_seed(1)
        losses.append(made.objective(made.model, batch))
    torch.testing.assert_close(losses[0]["loss"], losses[1]["loss"])
    named = losses[2]
    expected = named["reconstruction"] + named["kl"] + 10 * named["off_diagonal"] + 10 * named["diagonal"]
    torch.testing.assert_close(named["loss"].detach(), expected)


def test_wae_weighs_the_discrepancy_beside_the_squared_error_of_a_point_or_a_law() -> None:
    batch = {"x": torch.rand(6, 1, 8, 8)}
    for posterior in ("point", "diagonal"):
        made = small("wae", weight=7.0, bandwidth=2.0, posterior=posterior)
        torch.manual_seed(1)
        values = made.objective(made.model, batch)
        torch.manual_seed(1)
        draw = made.model(batch)
        squares = (draw.heads["x"].p.mean - batch["x"]).square().sum((1, 2, 3)).mean()
        torch.testing.assert_close(values["reconstruction"], squares + 32 * math.log(math.pi))  # of variance 1/2
        torch.testing.assert_close(values["mmd"], MMD("imq", 2.0)(draw))
        torch.testing.assert_close(values["loss"], values["reconstruction"] + 7 * values["mmd"])
        assert "kl" not in made.objective.terms
        assert made.monitor == ("reconstruction" if posterior == "point" else "loss")
        values["loss"].backward()
        without = [name for name, p in made.model.posterior.named_parameters() if p.grad is None or not p.grad.any()]
        assert not without


def test_the_decay_of_a_regularised_decoder_is_its_own_and_the_rest_keeps_the_runs() -> None:
    made = small("rae", weight=0.25)
    optimizer = build(None, groups_of(made.model), Settings(lr=0.1, weight_decay=0.01))
    decayed = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {decayed[id(p)] for p in made.model.heads.parameters()} == {0.25}
    assert {decayed[id(p)] for p in made.model.posterior.parameters()} == {0.01}
    weight = made.model.heads["x"].likelihood.net.layers[-1].weight
    before = weight.detach().clone()
    for parameter in made.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before * (1 - 0.1 * 0.25))
    with pytest.raises(ValueError, match="weight_decay of an optimiser group is a number of at least 0; got -1"):
        pv.Group(weight_decay=-1)


def test_a_spectral_decoder_stretches_nothing() -> None:
    made = small("rae", penalty="spectral", likelihood="normal")
    net = made.model.heads["x"].likelihood
    with torch.no_grad():
        for each in net.modules():
            if isinstance(each, nn.Linear):
                each.parametrizations.weight.original.mul_(30)  # pyright: ignore
        for _ in range(60):  # the power iteration goes on in training mode
            net({"z": torch.randn(2, 4)})
        net.eval()
        one, other = torch.randn(200, 4), torch.randn(200, 4)
        apart = (net({"z": one}).mean - net({"z": other}).mean).flatten(1).norm(dim=1)
    assert (apart <= 1.001 * (one - other).norm(dim=1)).all()


@pytest.mark.parametrize("network", ["conv", "residual"])
def test_a_spectral_decoder_of_pictures_is_trained_and_loaded(network: str, tmp_path: Path) -> None:
    data = wrap((torch.rand(24, 1, 16, 16) * 255).to(torch.uint8), validation=6, test=0)
    made = pv.recipes.rae(data, penalty="spectral", network=network, widths=[8, 8], latent=2, seed=0)
    run = pv.fit(made, data, tmp_path / "run", epochs=1, progress=False, device="cpu")
    loaded = pv.Run.load(tmp_path / "run")
    x = data.validation.tensors["x"]
    assert torch.allclose(run.reconstruct(x), loaded.reconstruct(x), atol=1e-5)  # in another memory layout
    turned = deepcopy(run.model.heads["x"]).to(memory_format=torch.channels_last)
    assert any(part.channels_last for part in turned.modules() if isinstance(part, Stack))
    z = {"z": torch.randn(3, 2)}
    assert torch.allclose(turned(z).mean, run.model.heads["x"](z).mean, atol=1e-5)


def test_a_gradient_penalty_refuses_a_compiled_step() -> None:
    with pytest.raises(ValueError, match="compile: Steepness takes or moves gradients on its way"):
        pv.fit(small("rae", penalty="gradient"), wrap(torch.rand(30, 1, 8, 8)), epochs=1, device="cpu", compile=True)


BARS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "dip_vae": ({"off_diagonal": 0.0, "diagonal": 0.0}, {"off_diagonal": 30.0, "diagonal": 30.0}, "off_diagonal"),
    "wae": ({"weight": 0.0}, {"weight": 200.0}, "mmd"),
    "rae": ({"penalty": "gradient", "weight": 0.0}, {"penalty": "gradient", "weight": 1.0}, "steepness"),
}


@pytest.mark.parametrize("name", BARS)
def test_a_penalty_does_what_it_asks_for_on_real_pictures(name: str) -> None:
    data = pv.data.load("digits", limit=400)
    without, with_it, term = BARS[name]
    found = []
    for options in (without, with_it):
        made = pv.recipes.named(name)(data, latent=4, network="mlp", widths=[32], seed=0, **options)
        run = pv.fit(made, data, epochs=15, batch_size=40, lr=5e-3, device="cpu", progress=False)
        found.append(run.history[-1][f"validation_{term}"])
    assert found[1] < 0.5 * found[0]


def test_spectral_norms_are_the_largest_singular_values_once_the_iteration_has_settled() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.Conv2d(3, 4, 3), nn.Sequential(nn.ConvTranspose2d(4, 2, 3)), nn.ReLU())
    term, draw = SpectralNorms(net.double()).double(), cast(Draw, None)
    assert not list(term.parameters())  # the layers stay the model's
    weights = [net[0].weight, net[1].weight.flatten(1), net[2][0].weight.transpose(0, 1).flatten(1)]
    exact = sum(torch.linalg.matrix_norm(weight, 2) for weight in weights)
    before = term(draw)
    assert before < exact
    assert term.eval()(draw) == term(draw)  # in evaluation mode nothing moves
    term.train()
    for _ in range(500):
        found = term(draw)
    torch.testing.assert_close(found, exact)
    found.backward()
    slope = net[0].weight.grad
    left, _, right = torch.linalg.svd(net[0].weight)
    torch.testing.assert_close(slope, torch.outer(left[:, 0], right[0]), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="spectral norms are of linear layers and convolutions"):
        SpectralNorms(nn.ReLU())
