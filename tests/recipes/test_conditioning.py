"""Recipes that see an observation: identities, densities known in closed form, errors on real digits."""

from __future__ import annotations

from math import expm1, log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import polyvae as pv
from helpers.observing import NAMES, SHAPE, batch, made
from helpers.runs import same, weights
from polyvae.model.families.real import PixelNormal
from polyvae.model.networks.sparse import MultiscaleDecoder
from polyvae.model.vae import VAE
from polyvae.objectives.balance import SoftAdapt
from polyvae.observe.masks import PowerLaw, observation, sparse
from polyvae.recipes import RECIPES, Recipe, rebuild

# What the parts read, and what is reported


@pytest.mark.parametrize("name", NAMES)
def test_what_each_part_is_given(name) -> None:
    model = made(name).model
    sees = name == "arbitrary_conditioning"
    assert model.posterior["z"].given == (("x", "m") if sees else ("x",))
    assert tuple(getattr(model.prior["z"], "given", ())) == (("m",) if sees else ())
    heads = {head: part.likelihood.given for head, part in model.heads.items()}
    two = {"x": ("z",), "x_given_m": ("z", "m")}
    assert heads == (two if "multitask" in name else {"x": ("z", "m")})
    assert all(part.of == "x" for part in model.heads.values())
    assert model.conditions == ("m",)
    assert model.inputs == ("m", "x")


@pytest.mark.parametrize("name", ["multitask", "vq_multitask"])
def test_one_decoder_is_one_head_with_masks_of_random_size(name) -> None:
    recipe = made(name, decoders=1, w1=2.0)
    assert {head: part.likelihood.given for head, part in recipe.model.heads.items()} == {"x": ("z", "m")}
    assert recipe.observe.count == PowerLaw(40.0)
    counts = torch.cat([batch(recipe, 200)["m"][:, 1].flatten(1).sum(1) for _ in range(3)])
    assert counts.min() == 0
    assert counts.unique().numel() > 3
    values = recipe.objective(recipe.model, batch(recipe))
    latent = {"codebook", "commitment"} if name.startswith("vq") else {"kl"}
    assert set(values) == {"loss", "bound", "reconstruction", *latent}
    others = sum(recipe.objective.terms[term].weight * values[term] for term in latent)
    torch.testing.assert_close(values["loss"].detach(), 2 * values["reconstruction"] + others)


@pytest.mark.parametrize("name", ["multitask", "vq_multitask"])
def test_two_decoders_are_weighed_and_reported_as_they_are(name) -> None:
    recipe = made(name, w1=0.5, w2=3.0)
    given = batch(recipe)
    torch.manual_seed(0)
    values = recipe.objective(recipe.model, given)
    torch.manual_seed(0)
    draw = recipe.model(given)
    for head, term in (("x", "reconstruction"), ("x_given_m", "reconstruction_given_m")):
        torch.testing.assert_close(values[term], -draw.heads[head].log_p.mean().detach())
    latent = {"codebook", "commitment"} if name.startswith("vq") else {"kl"}
    assert set(values) == {"loss", "bound", "reconstruction", "reconstruction_given_m", *latent}
    rest = sum(recipe.objective.terms[term].weight * values[term] for term in latent)
    expected = 0.5 * values["reconstruction"] + 3 * values["reconstruction_given_m"] + rest
    torch.testing.assert_close(values["loss"].detach(), expected)
    torch.testing.assert_close(values["bound"], (draw.heads["x"].log_p - draw.latents["z"].kl).mean().detach())


@pytest.mark.parametrize("name", ["multitask", "vq_multitask"])
def test_softadapt_balances_the_two_reconstructions(name) -> None:
    recipe = made(
        name,
        softadapt=True,
        softadapt_variant="loss-weighted",
        softadapt_beta=0.5,
        softadapt_window=3,
        softadapt_frequency=2,
        softadapt_mode="backward",
    )
    balance = recipe.objective.balance
    assert isinstance(balance, SoftAdapt)
    assert balance.names == ("reconstruction", "reconstruction_given_m")
    assert (balance.variant, balance.beta, balance.window) == ("loss-weighted", 0.5, 3)
    assert (balance.frequency, balance.mode) == (2, "backward")
    values = recipe.objective(recipe.model, batch(recipe))
    rest = [term for term in recipe.objective.terms if "reconstruction" not in term]
    latent = sum(recipe.objective.terms[term].weight * values[term] for term in rest)
    expected = (values["reconstruction"] + values["reconstruction_given_m"]) / 2 + latent
    torch.testing.assert_close(values["loss"].detach(), expected)
    assert made(name).objective.balance is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("decoder", ["flat", "multiscale"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (5,)])
def test_every_decoder_trains_completes_and_is_rebuilt(name, decoder, shape) -> None:
    recipe = made(name, shape, decoder=decoder)
    nets = [head.likelihood.net for head in recipe.model.heads.values() if "m" in head.likelihood.given]
    assert isinstance(nets[0], MultiscaleDecoder) == (decoder == "multiscale" and len(shape) == 3)
    given = batch(recipe, 12, shape)
    recipe.objective(recipe.model, given)["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in recipe.model.parameters())
    model = recipe.model.eval()
    for law in model.generate({"m": given["m"]}, 3).values():
        assert law.mean.shape == (36, *shape)
    again = rebuild(recipe.call)
    assert again.observe == recipe.observe
    assert same(weights(again), weights(made(name, shape, decoder=decoder)))


# Bounds


def test_a_decoder_that_ignores_m_has_the_bound_of_one_that_never_saw_it() -> None:
    plain = made("vae", latent=3, widths=(4, 6)).model.double()
    blind = made("semi_conditional").model.double()
    linear, joined = plain.heads["x"].likelihood.net.linear, blind.heads["x"].likelihood.net.linear
    state = {name: value for name, value in plain.state_dict().items() if "likelihood.net.linear" not in name}
    blind.load_state_dict(state, strict=False)
    with torch.no_grad():
        joined.weight.zero_()[:, :3] = linear.weight  # z stands first
        joined.bias.copy_(linear.bias)
    x = torch.rand(6, *SHAPE).double()
    for count in (0, 7, 64):
        given = observation("uniform", count)({"x": x})
        torch.manual_seed(0)
        mine = blind(given, 4)
        torch.manual_seed(0)
        theirs = plain(given, 4)
        torch.testing.assert_close(mine.elbo, theirs.elbo)
        torch.testing.assert_close(mine.importance_bound, theirs.importance_bound)


def linear_gaussian() -> tuple[VAE, Tensor, Tensor, Tensor]:
    """A linear model with weights and posterior set by hand; values x and m, and log p(x | m) of each by hand."""
    torch.manual_seed(0)
    size, latent, noise = 4, 2, 0.5
    options = {"network": "mlp", "widths": (), "latent": latent, "posterior": "full", "decoder": "flat"}
    family = PixelNormal(noise)
    model = RECIPES["arbitrary_conditioning"]((size,), likelihood=family, exponent=1.0, **options).model.double()
    prior = model.prior["z"].net.layers[-1]
    decoder, encoder = model.heads["x"].likelihood.net.layers[-1], model.posterior["z"].net.net.layers[-1]
    nn.init.normal_(prior.weight, std=0.7)
    nn.init.normal_(decoder.weight)
    with torch.no_grad():
        prior.weight[latent:] = 0  # one scale for all m
    a, shift = prior.weight[:latent].detach(), prior.bias[:latent].detach()
    scale = model.prior["z"]({"m": torch.zeros(1, 2 * size).double()}).base_dist.scale[0].detach()
    w, v = decoder.weight[:, :latent].detach(), decoder.weight[:, latent:].detach()
    # The posterior of z, precision P^-1 + W'W / s^2, is linear in x and m: written into the encoder's one layer.
    covariance = torch.linalg.inv(torch.diag(scale**-2) + w.T @ w / noise**2)
    tril = torch.linalg.cholesky(covariance)
    precision = torch.diag(scale**-2)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.weight[:latent, :size] = covariance @ w.T / noise**2
        encoder.weight[:latent, size:] = covariance @ (precision @ a - w.T @ v / noise**2)
        encoder.bias[:latent] = covariance @ (precision @ shift - w.T @ decoder.bias / noise**2)
        # The family adds its floor to a softplus that is 1 - floor at 0.
        encoder.bias[latent : 2 * latent] = (tril.diagonal() - 1e-4).expm1().log() - log(expm1(1 - 1e-4))
        encoder.bias[2 * latent] = tril[1, 0] / tril[1, 1] * sqrt(latent)  # relative to the scale of its row
    x = torch.randn(50, size).double()
    m = sparse(x, torch.rand(50, size) < 0.4)
    mean = (m @ a.T + shift) @ w.T + m @ v.T + decoder.bias.detach()
    exact = MultivariateNormal(mean, w @ torch.diag(scale**2) @ w.T + noise**2 * torch.eye(size).double()).log_prob(x)
    return model, x, m, exact


def test_the_exact_posterior_makes_the_bound_the_exact_conditional_density() -> None:
    model, x, m, exact = linear_gaussian()
    draw = model({"x": x, "m": m}, 7)
    torch.testing.assert_close(draw.log_weight, exact.expand(7, 50), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(draw.importance_bound, exact, rtol=1e-6, atol=1e-6)


def test_any_other_posterior_bounds_the_exact_conditional_density_from_below() -> None:
    model, x, m, exact = linear_gaussian()
    with torch.no_grad():
        model.posterior["z"].net.net.layers[-1].weight.add_(torch.randn(5, 12).double() * 0.05)
    given = {"x": x, "m": m}
    elbo, some, many = (model(given, k) for k in (4000, 20, 4000))
    assert (elbo.elbo < exact + 0.05).all()
    assert (elbo.elbo - exact).mean() < -0.05
    assert some.importance_bound.mean() > elbo.elbo.mean()
    assert (many.importance_bound - exact).abs().mean() < 0.02


def test_trained_on_two_seen_columns_the_bound_nears_the_known_density_and_m_alone_places_the_rest() -> None:
    # x_u = B x_s + L e + 0.3 n given x_s = the first two of five columns, all normal: p(x_u | x_s) is known.
    torch.manual_seed(0)
    noise, rows = 0.3, 4000
    b, spread = torch.randn(3, 2).double(), torch.tensor([[0.8, 0.0], [0.5, 0.6], [-0.4, 0.7]]).double()
    seen = torch.randn(rows, 2).double()
    unseen = seen @ b.T + torch.randn(rows, 2).double() @ spread.T + noise * torch.randn(rows, 3).double()
    covariance = spread @ spread.T + noise**2 * torch.eye(3).double()
    x = torch.cat([seen, unseen], 1)
    options = {"network": "mlp", "widths": (), "latent": 2, "decoder": "flat", "posterior": "full", "seed": 0}
    recipe = RECIPES["arbitrary_conditioning"](
        (5,), likelihood=PixelNormal(noise), mask="points", positions=(0, 1), **options
    )
    model = recipe.model.double()
    given = recipe.observe({"x": x})
    optimiser = torch.optim.Adam(model.parameters(), 0.03)
    for step in range(500):
        if step == 350:
            optimiser.param_groups[0]["lr"] = 0.003
        rows_of = torch.randint(rows, (256,))
        optimiser.zero_grad()
        recipe.objective(model, {name: value[rows_of] for name, value in given.items()})["loss"].backward()
        optimiser.step()
    # Its best value of the columns it is shown is x_s itself, whose density is then that of the noise at 0.
    shown = 2 * torch.distributions.Normal(0.0, noise).log_prob(torch.zeros(())).item()
    exact = MultivariateNormal(seen @ b.T, covariance).log_prob(unseen).mean().item()
    with torch.no_grad():
        bound = model(given, 20).elbo.mean().item() - shown
    assert exact - 0.1 < bound < exact + 0.01
    m = recipe.observe({"x": torch.tensor([[1.0, -0.5, 9, 9, 9]]).double()})["m"]
    with torch.no_grad():
        law = model.generate({"m": m}, 20_000)["x"]
        samples = law.sample()[:, 2:]
    torch.testing.assert_close(samples.mean(0), b @ m[0, :2], atol=0.08, rtol=0)
    torch.testing.assert_close(samples.T.cov(), covariance, atol=0.08, rtol=0)


# Real digits


def errors(recipe: Recipe, x: Tensor, counts: tuple[int, ...], head: str) -> list[float]:
    """The squared error a pixel of a head at the posterior's mean, with so many pixels seen of each picture."""
    found = []
    for count in counts:
        torch.manual_seed(0)
        given = observation("uniform", count)({"x": x})
        with torch.no_grad():
            found.append((recipe.model.reconstruct(given)[head].mean - x).square().mean().item())
    return found


TRAINED: dict[str, dict[str, Any]] = {
    "semi_conditional": {"exponent": 3.0, "decoder": "multiscale"},
    "arbitrary_conditioning": {"exponent": 3.0},
    "multitask": {"exponent": 3.0},
    "vq_multitask": {"exponent": 3.0},
}


@pytest.mark.parametrize("name", TRAINED)
def test_on_real_digits_error_falls_as_points_are_added_and_seeing_beats_not_seeing(name) -> None:
    data = pv.data.load("digits")
    sizes = {"widths": (16, 32), **({"codes": 32, "dim": 4} if name.startswith("vq") else {"latent": 6})}
    recipe = RECIPES[name](data.spec, seed=0, likelihood="normal", **sizes, **TRAINED[name])
    pv.fit(recipe, data, epochs=12, batch_size=64, lr=3e-3, device="cpu", progress=False)
    x = data.validation.batch(torch.arange(len(data.validation)))["x"]
    *_, sees = recipe.model.heads
    found = errors(recipe, x, (12, 24, 48), sees)
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.85 * found[0]
    if "multitask" in name:
        assert max(found) < errors(recipe, x, (12,), "x")[0]
    if name == "arbitrary_conditioning":  # from m alone, z drawn from p(z | m)
        completed = []
        for count in (0, 8, 32):
            torch.manual_seed(0)
            m = observation("uniform", count)({"x": x})["m"]
            with torch.no_grad():
                mean = recipe.model.generate({"m": m}, 20)["x"].mean.unflatten(0, (20, -1)).mean(0)
            completed.append((mean - x).square().mean().item())
        assert completed[0] > 1.2 * completed[1]
        assert completed[1] > 1.6 * completed[2]
