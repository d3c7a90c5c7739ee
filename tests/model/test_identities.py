from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.model.networks import mlp
from polyvae.model.priors.mixture import Mixture, VampPrior
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.bounds import ImportanceWeighted
from polyvae.objectives.objective import Objective
from polyvae.recipes import Recipe

PICTURES = pv.Spec((1, 4, 4), classes=2)


def pictures(count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, 4, 4, generator=generator).double()


def small(name: str, spec: pv.Spec = PICTURES, **options: Any) -> Recipe:
    made = pv.recipes.named(name)(spec, latent=2, network="mlp", widths=(6,), seed=1, **options)
    made.model.double()
    return made


def draw_of(made: Recipe, batch: dict[str, Tensor], samples: int = 1, seed: int = 0) -> pv.Draw:
    torch.manual_seed(seed)
    return made.model({name: value.double() for name, value in made.observe(batch).items()}, samples)


def loss_of(made: Recipe, batch: dict[str, Tensor], objective: Any = None, step: int = 0) -> Tensor:
    torch.manual_seed(0)
    return (objective or made.objective)(made.model, made.observe(batch), step)["loss"]


def gradient(made: Recipe, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(made.model.parameters()))])


@pytest.mark.parametrize("name", ["vamp_prior", "mixture_prior"])
def test_one_sample_of_the_importance_bound_is_the_elbo_where_the_divergence_is_sampled(name) -> None:
    made, batch = small(name, components=3), {"x": pictures()}
    draw = draw_of(made, batch)
    torch.testing.assert_close(draw.importance_bound, draw.elbo)
    losses = [loss_of(made, batch, objective) for objective in (Objective(), ImportanceWeighted(1))]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*[gradient(made, loss) for loss in losses])


@pytest.mark.parametrize("name", ["vae", "full_covariance", "two_level"])
def test_one_sample_of_the_importance_bound_is_the_elbo_in_expectation(name) -> None:
    draw = draw_of(small(name), {"x": pictures()}, 40_000)
    difference = draw.log_weight - (draw.log_px - draw.kl)
    assert difference.std(0).min() > 0.01  # the divergence is in closed form on one side only
    assert (difference.mean(0).abs() < 4 * difference.std(0) / 200).all()


def test_the_bound_rises_with_the_number_of_samples() -> None:
    draw = draw_of(small("vae"), {"x": pictures()}, 64 * 500)
    weights = draw.log_weight.view(500, 64, -1)
    bounds = [weights[:, :k].logsumexp(1) - math.log(k) for k in (1, 2, 4, 16, 64)]
    for lower, higher in itertools.pairwise(bounds):
        gain = (higher - lower).mean(1)
        assert gain.mean() > 3 * gain.std() / math.sqrt(500)
    # and at the model itself, K draws at a time
    found = torch.stack(
        [draw_of(small("vae"), {"x": pictures()}, 64, seed).importance_bound.mean() for seed in range(30)]
    )
    assert (found.mean() - bounds[-1].mean()).abs() < 4 * found.std() / math.sqrt(30)


@pytest.mark.parametrize(
    ("likelihood", "levels"), [("logistic", 3), ("categorical", 3), ("logistic-mixture", 3), ("bernoulli", 2)]
)
def test_the_probabilities_of_all_pictures_sum_to_one_through_a_whole_model(likelihood, levels) -> None:
    made = small("vae", pv.Spec((1, 2, 2), levels=levels), likelihood=likelihood)
    grid = torch.linspace(0, 1, levels).double()
    x = torch.cartesian_prod(*[grid] * 4).view(-1, 1, 2, 2)
    # every z alone, and the marginal over z, which the importance bound reaches as K grows
    z = torch.randn(5, 2).double()
    for row in range(5):
        law = made.model.decode({"z": z[row : row + 1].expand(len(x), 2)})["x"]
        assert law.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-9)
    total = draw_of(made, {"x": x}, 4000).importance_bound.exp().sum().item()
    assert total == pytest.approx(1, abs=0.02)


def test_closed_form_and_sampled_divergence_agree_for_every_pair() -> None:
    torch.manual_seed(0)
    for posterior, prior in itertools.product(("diagonal", "full"), ("standard", "conditional", "full")):
        kind: Any = prior
        if prior == "full":
            family = pv.families.FullNormal()
            kind = pv.Conditional(mlp([(2,)], (family.size(2),), ()), family, "y")
        made = small("vae", posterior=posterior, prior=kind, condition=True)
        draw = draw_of(made, {"x": pictures(2), "y": torch.tensor([0, 1])}, 30_000)
        latent = draw.latents["z"]
        assert latent.analytic, (posterior, prior)
        sampled = latent.log_q - latent.log_p
        assert (latent.kl >= 0).all()
        assert ((sampled.mean(0) - latent.kl[0]).abs() < 4.5 * sampled.std(0) / math.sqrt(30_000)).all(), (
            posterior,
            prior,
        )


def test_a_full_covariance_with_a_diagonal_factor_is_the_diagonal_family() -> None:
    diagonal, full = small("vae", likelihood="bernoulli"), small("full_covariance", likelihood="bernoulli")
    source, target = diagonal.model.state_dict(), full.model.state_dict()
    for name, tensor in target.items():
        given = source[name]
        target[name] = given if given.shape == tensor.shape else torch.zeros_like(tensor)
        target[name][: len(given)] = given
    full.model.load_state_dict(target)
    batch = {"x": pictures()}
    pair = [draw_of(made, batch, 3) for made in (diagonal, full)]
    torch.testing.assert_close(pair[1].kl, pair[0].kl)
    torch.testing.assert_close(pair[1].log_px, pair[0].log_px)
    torch.testing.assert_close(pair[1].log_weight, pair[0].log_weight)
    for (name, p), q in zip(diagonal.model.named_parameters(), full.model.parameters(), strict=True):
        one = torch.autograd.grad(loss_of(diagonal, batch), p)[0]
        other = torch.autograd.grad(loss_of(full, batch), q)[0]
        torch.testing.assert_close(other[: len(one)], one, msg=name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("beta_vae", {"beta": 1.0}),
        ("beta_vae", {"beta": 1.0, "free_bits": 1e-12}),
        ("mmd_vae", {"alpha": 0.0, "scale": 1.0}),
        ("sigma_vae", {"scale": math.sqrt(0.5)}),
        ("iwae", {"samples": 1}),
    ],
)
def test_variants_at_their_neutral_setting_are_the_vae(name, options) -> None:
    likelihood = "normal" if name == "sigma_vae" else "bernoulli"
    batch = {"x": pictures()}
    plain = small("vae", likelihood=likelihood)
    other = small(name, **options, **({} if name == "sigma_vae" else {"likelihood": likelihood}))
    if name == "iwae":  # in expectation only: its divergence is sampled
        draw = draw_of(other, batch, 20_000)
        assert (draw.log_weight.mean() - draw.elbo.mean()).abs() < 5 * draw.log_weight.mean(1).std() / math.sqrt(20_000)
        return
    torch.testing.assert_close(loss_of(other, batch), loss_of(plain, batch))
    torch.testing.assert_close(gradient(other, loss_of(other, batch)), gradient(plain, loss_of(plain, batch)))


def test_the_normal_of_variance_one_half_costs_the_squared_error() -> None:
    made, batch = small("vae", likelihood="normal"), {"x": pictures()}
    draw = draw_of(made, batch)
    error = (draw.heads["x"].p.mean - batch["x"]).square().sum((1, 2, 3))
    torch.testing.assert_close(-draw.log_px[0], error + 8 * math.log(math.pi))


def test_a_condition_that_never_changes_is_no_condition() -> None:
    made, y = small("cvae"), torch.zeros(6, dtype=torch.int64)
    plain = small("vae")
    weights = made.model.state_dict()
    plain_weights = {}
    for name, tensor in plain.model.state_dict().items():
        given = weights[name]
        if given.shape != tensor.shape:  # the columns that read y only ever add their first one to the bias
            plain_weights[name.replace("weight", "bias")] = weights[name.replace("weight", "bias")] + given[:, -2]
            given = given[:, :-2]
        plain_weights.setdefault(name, given)
    plain.model.load_state_dict(plain_weights)
    draws = [draw_of(made, {"x": pictures(), "y": y}, 3), draw_of(plain, {"x": pictures()}, 3)]
    torch.testing.assert_close(draws[0].elbo, draws[1].elbo)
    torch.testing.assert_close(draws[0].log_weight, draws[1].log_weight)


def test_priors_of_one_standard_component_are_the_standard_normal() -> None:
    one = Mixture(2, 1)
    with torch.no_grad():
        one.loc.zero_()
        one.raw_scale.fill_(math.log(math.expm1(1 - 1e-4)))
    q = small("vae").model.posterior["z"]
    for parameter in q.parameters():
        torch.nn.init.zeros_(parameter)
    vamp = VampPrior(q, {"x": torch.randn(1, 1, 4, 4).double()})  # a posterior that is N(0, I) everywhere
    plain, batch = small("vae", prior=StandardNormal(2)), {"x": pictures()}
    expected = draw_of(plain, batch, 3)
    for prior in (one, vamp):
        draw = draw_of(small("vae", prior=prior), batch, 3)
        torch.testing.assert_close(draw.log_weight, expected.log_weight, rtol=1e-6, atol=1e-6)


def test_a_two_level_model_whose_top_is_ignored_is_the_vae() -> None:
    two, batch = small("two_level", top=3, likelihood="bernoulli"), {"x": pictures()}
    with torch.no_grad():
        for parameter in two.model.prior["z1"].parameters():  # p(z1 | z2) = N(0, I)
            parameter.zero_()
        for parameter in two.model.posterior["z2"].parameters():  # q(z2 | x) = p(z2)
            parameter.zero_()
        two.model.posterior["z1"].net.net.layers[0].weight[:, 16:] = 0
        two.model.heads["x"].likelihood.net.layers[0].weight[:, 2:] = 0
    plain = small("vae", likelihood="bernoulli")
    for part in ("posterior.z", "heads.x.likelihood"):
        source = two.model.get_submodule("posterior.z1" if part == "posterior.z" else part).state_dict()
        target = plain.model.get_submodule(part)
        target.load_state_dict({n: source[n][..., : t.shape[-1]] for n, t in target.state_dict().items()})
    difference = draw_of(two, batch, 20_000).elbo - draw_of(plain, batch, 20_000).elbo
    assert difference.abs().max() < 0.1
    torch.testing.assert_close(draw_of(two, batch).kl, draw_of(plain, batch).kl)


@pytest.mark.parametrize(
    "name", ["vae", "beta_vae", "capacity_vae", "ae", "vamp_prior", "cvae", "two_level", "sigma_vae"]
)
def test_splitting_a_batch_leaves_the_mean_loss_as_it_is(name, monkeypatch) -> None:
    made = small(name)
    x, y = pictures(8), torch.arange(8) % 2
    noise: list[Tensor] = []
    monkeypatch.setattr(
        "torch.distributions.normal._standard_normal", lambda shape, dtype, device: noise.pop(0).reshape(shape)
    )

    def loss(rows: slice) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        sizes = (8, 2) if name == "two_level" else (2,)
        noise[:] = [torch.randn(8, size, generator=generator).double()[rows] for size in sizes]
        return made.objective(made.model, made.observe({"x": x[rows], "y": y[rows]}), 10**6)["loss"]

    whole, halves = loss(slice(0, 8)), [loss(slice(0, 4)), loss(slice(4, 8))]
    torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2)
