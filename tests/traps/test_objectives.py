"""Mistakes found in published implementations, each a test that fails on it; the number is the trap's.

Objectives, estimators and networks are here; evaluation, training and what a run leaves behind in files of their own.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

import polyvae as pv
from helpers.networks import layers
from polyvae.data import Split, wrap
from polyvae.evaluation import both_bounds
from polyvae.model.families.pixels import DiscretisedLogistic, DiscretisedLogisticMixture
from polyvae.model.families.real import DiagonalNormal, PixelNormal
from polyvae.model.networks import NETWORKS, mlp
from polyvae.model.priors.mixture import VampPrior
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.recipes import Recipe
from polyvae.training.store import WEIGHTS, read_tensors
from polyvae.training.validation import validate


def small(name: str = "vae", spec: Any = (1, 4, 4), **options: Any) -> Recipe:
    return pv.recipes.named(name)(spec, **{"latent": 2, "network": "mlp", "widths": (6,), "seed": 1, **options})


def fitted(recipe: Recipe, x: Tensor, run: Any = None, **settings: Any) -> pv.Run:
    chosen = {"epochs": 1, "batch_size": 8, "device": "cpu", "progress": False, **settings}
    return pv.fit(recipe, wrap(x, validation=0.25), run, **chosen)


def test_trap01_the_loss_does_not_grow_with_the_batch() -> None:
    x = torch.rand(4, 1, 4, 4)
    for made in (small("ae"), small("vae", objective=pv.Objective({"kl": KL()}))):
        once, thrice = (made.objective(made.model, {"x": batch})["loss"] for batch in (x, torch.cat([x, x, x])))
        torch.testing.assert_close(once, thrice)


def test_trap02_pixels_and_latents_are_both_summed() -> None:
    for side, latent in ((4, 2), (8, 6)):
        made = small("vae", (1, side, side), latent=latent, likelihood="normal")
        for parameter in made.model.parameters():
            nn.init.zeros_(parameter)
        nn.init.ones_(made.model.posterior["z"].net.net.layers[-1].bias[:latent])  # mu = 1, s = 1: 1/2 nat a dimension
        values = made.objective(made.model, {"x": torch.full((5, 1, side, side), 0.5)})
        # every pixel is off by 1/2: (1/2)^2 + log(pi) / 2 nats each
        assert values["reconstruction"].item() == pytest.approx(side * side * (0.25 + 0.5 * math.log(math.pi)))
        assert values["kl"].item() == pytest.approx(latent / 2, rel=1e-4)
        assert values["loss"].item() == pytest.approx(values["reconstruction"].item() + values["kl"].item())


def test_trap03_the_best_epoch_is_chosen_by_the_plain_bound_whatever_the_weights_do(tmp_path) -> None:
    rising = Linear(1.0, 20.0, 30)  # the training loss rises with the weights while the bound improves
    terms = {"reconstruction": pv.Weighted(Reconstruction(), rising), "kl": pv.Weighted(KL(), rising)}
    objective = pv.Objective(terms)
    x = (torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    run = fitted(small("vae", objective=objective), x, tmp_path / "run", epochs=5, batch_size=8, lr=1e-2)
    losses, plain = ([row[f"validation_{name}"] for row in run.history] for name in ("loss", "bound"))
    assert losses.index(min(losses)) != plain.index(max(plain))
    for row in run.history:
        expected = -row["validation_reconstruction"] - row["validation_kl"]
        assert row["validation_bound"] == pytest.approx(expected, rel=1e-5)
    _, metadata = read_tensors(tmp_path / "run" / WEIGHTS)
    assert metadata["epoch"] == plain.index(max(plain)) + 1
    assert metadata["bound"] == max(plain)


def test_trap04_a_cost_is_positive_for_discrete_data_and_of_either_sign_for_densities() -> None:
    x = (torch.rand(8, 1, 4, 4) < 0.5).float()
    made = small()
    values = made.objective(made.model, {"x": x})
    assert values["reconstruction"] > 0
    assert values["loss"] > 0
    assert values["bound"] < 0
    found = both_bounds(made, Split({"x": x}), samples=20)
    assert (found.plain < 0).all()
    assert (found.importance < 0).all()
    sharp = small("sigma_vae", scale=0.01)
    for parameter in sharp.model.parameters():
        nn.init.zeros_(parameter)
    values = sharp.objective(sharp.model, {"x": torch.zeros(8, 1, 4, 4)})
    assert values["reconstruction"].item() == pytest.approx(16 * (math.log(0.01) + 0.5 * math.log(2 * math.pi)))
    assert values["reconstruction"] < 0
    assert values["bound"] > 0


def test_trap05_training_and_evaluation_score_by_one_likelihood_with_its_constants() -> None:
    x = torch.rand(30, 5).double()
    made = pv.recipes.ppca(pv.Spec((5,), levels=None), latent=2)
    made.model.double()
    assert made.solve is not None
    made.solve({"x": x})
    decoder = made.model.heads["x"].likelihood
    covariance = decoder.weight @ decoder.weight.T + decoder.scale**2 * torch.eye(5)
    exact = torch.distributions.MultivariateNormal(decoder.mean, covariance).log_prob(x)
    objective = pv.ImportanceWeighted(3)  # at the exact posterior every bound is the evidence
    assert -objective(made.model, {"x": x})["loss"].item() == pytest.approx(exact.mean().item())
    torch.testing.assert_close(both_bounds(made, Split({"x": x}), samples=3).importance, exact)


def test_trap06_weights_of_training_stay_out_of_what_is_reported() -> None:
    x = torch.rand(10, 4)
    q = pv.Conditional(mlp([(4,)], (4,), ()), DiagonalNormal(), "x")
    likelihood = pv.Conditional(mlp([(2,)], (4,), ()), PixelNormal(1.0), "z")
    prior = StandardNormal(2)
    found, losses = [], []
    for weight, beta in ((1.0, 1.0), (7.0, 30.0)):
        model = pv.VAE(q, prior, pv.Head(likelihood, weight=weight))
        objective = pv.Objective({"reconstruction": Reconstruction(), "kl": pv.Weighted(KL(), beta)})
        found.append(both_bounds(Recipe(model, objective), Split({"x": x}), samples=4))
        torch.manual_seed(0)
        values = objective(model, {"x": x})
        losses.append(values["loss"])
        found.append(values["bound"])
    assert torch.equal(found[0].plain, found[2].plain)
    assert torch.equal(found[0].importance, found[2].importance)
    assert torch.equal(found[1], found[3])
    assert losses[1] > 3 * losses[0]


@pytest.mark.parametrize("family", [DiscretisedLogistic(), DiscretisedLogisticMixture(3)])
def test_trap08_the_probabilities_of_all_256_grey_levels_sum_to_one(family) -> None:
    grid = torch.arange(256).double().div(255)[:, None]
    for raw in (
        torch.zeros(1, family.size(1)),
        torch.randn(1, family.size(1)) * 3,
        torch.full((1, family.size(1)), 5.0),
    ):
        law = family(raw.double().expand(256, -1))
        assert law.log_prob(grid).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_trap09_a_negative_weight_of_the_discrepancy_is_refused() -> None:
    for alpha, scale in ((0.0, 0.5), (-0.5, 1.0), (1.5, 10.0)):
        with pytest.raises(ValueError, match="both must be at least 0"):
            small("mmd_vae", alpha=alpha, scale=scale)
    made = small("mmd_vae")
    assert made.objective.terms["mmd"].weight > 0
    assert made.objective.terms["kl"].weight >= 0


def weights_given(made: Recipe, x: Tensor, samples: int) -> tuple[pv.Draw, Tensor, Tensor]:
    """A draw, its importance-weighted loss and the weight with which each sample's log p(x | z) enters it."""
    draw = made.model({"x": x}, samples)
    loss = pv.ImportanceWeighted(samples)(lambda batch, k: draw, {"x": x})["loss"]
    return draw, loss, -torch.autograd.grad(loss, draw.heads["x"].log_p, retain_graph=True)[0] * len(x)


def test_trap10_the_best_sample_has_the_largest_weight_and_one_sample_is_the_elbo() -> None:
    made, x = small("vamp_prior", components=3), torch.rand(6, 1, 4, 4)
    draw, _, weights = weights_given(made, x, 5)
    latent = draw.latents["z"]
    torch.testing.assert_close(weights, (draw.log_px + latent.log_p - latent.log_q).softmax(0))
    assert torch.equal(weights.argmax(0), draw.log_weight.argmax(0))
    # log q is the density at the draw: of the scale, not of its logarithm
    assert isinstance(latent.q, Independent)
    base = latent.q.base_dist
    eps = (latent.z - base.loc) / base.scale
    by_hand = (-0.5 * eps.square() - base.scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
    torch.testing.assert_close(latent.log_q, by_hand)
    gradients = []
    for objective in (pv.ImportanceWeighted(1), pv.Objective()):
        torch.manual_seed(0)
        loss = objective(made.model, {"x": x})["loss"]
        gradients.append(torch.autograd.grad(loss, list(made.model.parameters())))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_trap10_the_bound_rises_with_the_number_of_samples() -> None:
    made, split = small(), Split({"x": torch.rand(200, 1, 4, 4)})
    with torch.no_grad():  # weights that differ enough for the gain to stand out of the noise
        made.model.heads["x"].likelihood.net.layers[-1].weight.mul_(6)
    found = [both_bounds(made, split, samples=k).importance.mean() for k in (1, 5, 50, 500)]
    assert found == sorted(found)


def test_trap11_the_reported_loss_is_the_logarithm_of_the_mean_weight() -> None:
    draw, loss, weights = weights_given(small(), torch.rand(6, 1, 4, 4), 5)
    bound = (draw.log_weight.exp().mean(0)).log().mean()
    self_normalised = (weights * draw.log_weight).sum(0).mean()
    torch.testing.assert_close(-loss, bound)
    assert (self_normalised - bound).abs() > 1e-3


@settings(max_examples=30, deadline=None)
@given(loc=st.floats(-5, 5), raw=st.floats(-12, 12), d=st.integers(1, 4))
def test_trap12_the_divergence_is_torchs_and_never_negative(loc, raw, d) -> None:
    raws = [torch.full((1, d), number, dtype=torch.float64) for number in (loc, raw)]
    law = DiagonalNormal()(torch.cat(raws, 1))
    assert isinstance(law, Independent)
    z, prior = law.rsample((1,)), StandardNormal(d).double()({})
    kl = pv.Latent(law, prior, z, z).kl
    scale = law.base_dist.scale
    by_hand = 0.5 * (loc**2 + scale**2 - 1 - 2 * scale.log()).sum(-1)
    torch.testing.assert_close(kl[0], by_hand)
    torch.testing.assert_close(kl[0], kl_divergence(Normal(loc, scale), Normal(0.0, 1.0)).sum(-1))
    assert (kl >= 0).all()


def test_trap16_a_vamp_prior_of_one_is_that_posterior_and_of_many_samples_all() -> None:
    torch.manual_seed(0)
    q, z = small().model.posterior["z"], torch.randn(7, 2)
    beyond = torch.full((1, 1, 4, 4), -3.0)  # outside the pictures' range: a hidden squashing would show
    torch.testing.assert_close(VampPrior(q, {"x": beyond})({}).log_prob(z), q({"x": beyond}).log_prob(z))
    linear = pv.Conditional(mlp([(1,)], (2,), ()), DiagonalNormal(), "x")
    with torch.no_grad():
        linear.net.layers[0].weight.copy_(torch.tensor([[1.0], [0.0]]))
        linear.net.layers[0].bias.copy_(torch.tensor([0.0, -6.0]))
    prior = VampPrior(linear, {"x": 10 * torch.arange(8.0)[:, None]})
    for count in (3, 800):  # fewer samples than components must not mean the first components
        drawn = torch.stack([prior({}).sample((count,)) for _ in range(2400 // count)])
        places = (drawn / 10).round().long().flatten().bincount(minlength=8)
        assert len(places) == 8
        assert ((places - 300.0) ** 2 / 300).sum() < 30
    model = pv.VAE(linear, prior, pv.Conditional(nn.Linear(1, 1), PixelNormal(1.0), "z"))
    assert len((model.sample_latents(count=400)["z"] / 10).round().unique()) == 8


def test_trap26_validation_metrics_are_those_of_the_validation_part() -> None:
    data = wrap(torch.zeros(24, 1, 4, 4), validation=torch.ones(16, 1, 4, 4))
    made = small(objective=pv.Objective(samples=2))
    run = pv.fit(made, data, epochs=1, batch_size=8, device="cpu", progress=False, seed=3)
    row = run.history[-1]
    expected = validate(run.model, made.objective, made.observe, data.validation, seed=3)
    assert {f"validation_{name}": value for name, value in expected.items()}.items() <= row.items()
    for name in expected:
        assert row[f"validation_{name}"] != row[f"train_{name}"]
    assert row["validation_reconstruction"] > row["train_reconstruction"]


@pytest.mark.parametrize("network", NETWORKS)
def test_trap30_models_that_are_compared_have_equal_networks(network) -> None:
    def sizes(name: str) -> list[list[tuple[int, ...]]]:
        model = small(name, (1, 8, 8), network=network, widths=(4, 5), likelihood="normal").model
        return [layers(part) for part in (model.posterior["z"].net, model.heads["x"].likelihood.net)]

    expected = sizes("vae")
    bounds = ("iwae", "miwae", "ciwae", "piwae", "dreg", "sticking_the_landing", "renyi", "thermodynamic")
    for name in ("beta_vae", "capacity_vae", *bounds, "vamp_prior", "mixture_prior", "mmd_vae"):
        assert sizes(name) == expected
    code_bigger = sizes("full_covariance")
    assert code_bigger[1] == expected[1]
    assert code_bigger[0][:-1] == expected[0][:-1]


@pytest.mark.parametrize("widths", [(5,), (7, 5), (9, 7, 5)])
def test_trap30_the_decoder_is_the_encoder_mirrored(widths) -> None:
    model = small("ae", (3, 8, 8), widths=widths).model  # a point needs as many numbers as the code has
    encoder, decoder = layers(model.posterior["z"].net), layers(model.heads["x"].likelihood.net)
    assert decoder == [size[::-1] for size in reversed(encoder)]


@pytest.mark.parametrize("network", NETWORKS)
def test_trap35_every_layer_is_in_training_mode_at_every_step(network, tmp_path) -> None:
    made = small("vae", (1, 8, 8), network=network)
    seen: list[set[bool]] = []

    class Watching(pv.Objective):
        def forward(self, model: Any, batch: pv.Values, step: Any = 0) -> dict[str, Tensor]:
            seen.append({module.training for module in (*made.model.modules(), self)})
            made.model.encode(batch)
            made.model.reconstruct(batch)
            return super().forward(model, batch, step)

    watched = Recipe(made.model, Watching(), made.observe)
    x = torch.rand(32, 1, 8, 8)
    fitted(watched, x, tmp_path / "run", epochs=2, max_steps=4)
    fitted(watched, x, tmp_path / "run", epochs=3, resume=True)
    step, other = [{True}], [{False}]  # besides validation, each call of fit tries the recipe once beforehand
    assert seen == [*other, *step * 3, *other, *step, *other, *step * 2, *other, *step * 3, *other]


def test_trap35_validation_and_evaluation_put_modes_back() -> None:
    made, split = small("vae", (1, 8, 8), network="conv"), Split({"x": torch.rand(8, 1, 8, 8)})
    for training in (True, False):
        made.model.train(training)
        validate(made.model, made.objective, made.observe, split, seed=0)
        both_bounds(made, split, samples=2)
        assert {module.training for module in made.model.modules()} == {training}
