"""Bounds as objectives: which setting equals which, what they report, and what they refuse."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import polyvae as pv
from helpers.models import part, plain, two_level
from polyvae.data import wrap
from polyvae.model.families.flow import InverseAutoregressive
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives import (
    Bound,
    Combined,
    DoublyReparametrised,
    ImportanceWeighted,
    PartiallyImportanceWeighted,
    Renyi,
    StickingTheLanding,
    Thermodynamic,
)

ALL: dict[str, Bound] = {
    "iwae": ImportanceWeighted(4),
    "miwae": ImportanceWeighted(2, 2),
    "ciwae": Combined(4, 0.3),
    "piwae": PartiallyImportanceWeighted(2, 2),
    "dreg": DoublyReparametrised(4),
    "landing": StickingTheLanding(4),
    "renyi": Renyi(4, 0.5),
    "thermodynamic": Thermodynamic(4, 3),
}
MODELS = {"one level": plain, "two levels": two_level, "bottom up": lambda: two_level(bottom_up=True)}


def found(objective: nn.Module, model: pv.VAE, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The loss and its gradient, with the same draws for every objective."""
    torch.manual_seed(5)
    loss = objective(model, {"x": x})["loss"]
    return loss.detach(), list(torch.autograd.grad(loss, list(model.parameters())))


class Sampled(nn.Module):
    """The plain bound at K draws, its divergence estimated."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, model: pv.VAE, batch: pv.Values) -> dict[str, Tensor]:
        return {"loss": -model(batch, self.samples).log_weight.mean()}


EQUAL: dict[str, tuple[nn.Module, nn.Module]] = {
    "one sample of M groups is the plain bound at M draws": (ImportanceWeighted(1, 6), Sampled(6)),
    "one group is the importance-weighted bound": (ImportanceWeighted(6, 1), ImportanceWeighted(6)),
    "a beta of 0 is the importance-weighted bound": (Combined(6, 0.0), ImportanceWeighted(6)),
    "a beta of 1 is the plain bound": (Combined(6, 1.0), pv.Objective(samples=6)),
    "an alpha of 0 is the importance-weighted bound": (Renyi(6, 0.0), ImportanceWeighted(6)),
    "an alpha of 1 is the plain bound": (Renyi(6, 1.0), Sampled(6)),
    "one sample has no alpha": (Renyi(1, 0.3), Renyi(1, 1.0)),
    "one group of draws for both": (PartiallyImportanceWeighted(6, 1), ImportanceWeighted(6)),
    "one sample of DReG sticks the landing": (DoublyReparametrised(1), StickingTheLanding(1)),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", EQUAL)
def test_one_is_the_other_in_value_and_gradient(name: str, model: str) -> None:
    torch.manual_seed(0)
    made, x = MODELS[model]().double(), torch.randn(5, 4).double()
    one, other = (found(each, made, x) for each in EQUAL[name])
    torch.testing.assert_close(one[0], other[0])
    for mine, theirs in zip(one[1], other[1], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_renyi_bound_comes_to_the_plain_one_from_both_sides_and_to_the_extremes() -> None:
    torch.manual_seed(0)
    model, x = plain().double(), torch.randn(5, 4).double()
    limit, gradient = found(Renyi(6, 1.0), model, x)
    for alpha in (1 - 1e-5, 1 + 1e-5):
        near, moved = found(Renyi(6, alpha), model, x)
        torch.testing.assert_close(near, limit, rtol=0, atol=1e-3)
        for one, other in zip(moved, gradient, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)
    torch.manual_seed(5)
    log_w = model({"x": x}, 6).log_weight
    for alpha, extreme in ((-math.inf, log_w.max(0).values), (math.inf, log_w.min(0).values)):
        torch.testing.assert_close(found(Renyi(6, alpha), model, x)[0], -extreme.mean().detach())
        assert found(Renyi(6, 3000.0 * math.copysign(1, alpha)), model, x)[0].item() == pytest.approx(
            -extreme.mean().item(), abs=2e-3
        )


@pytest.mark.parametrize("alpha", [0.9, 0.999, 1 - 1e-6, 1 - 1e-9, 1 + 1e-7, 1.01, 3.0, -20.0])
def test_the_renyi_bound_keeps_its_digits_in_single_precision_however_near_one_alpha_is(alpha: float) -> None:
    torch.manual_seed(0)
    log_w = torch.randn(5, 4) * torch.tensor([0.0, 1.0, 30.0, 1.0]) - 100
    log_w[0, 3] = -math.inf
    draw: Any = SimpleNamespace(log_weight=log_w.requires_grad_(), samples=5)
    value = Renyi(5, alpha).estimate(draw)
    with mpmath.workdps(50):
        power = mpmath.mpf(1 - alpha)
        means = [mpmath.fsum(mpmath.exp(power * w) for w in column) / 5 for column in log_w.T.tolist()[:3]]
        known = torch.tensor([float(mpmath.log(mean) / power) for mean in means])
    torch.testing.assert_close(value[:3], known, rtol=1e-6, atol=0)
    outside = ((log_w[1:, 3].detach().double() * (1 - alpha)).logsumexp(0) - math.log(5)) / (1 - alpha)
    assert value[3].item() == pytest.approx(outside.item() if alpha < 1 else -math.inf, rel=1e-6)
    (gradient,) = torch.autograd.grad(value[:3].sum(), log_w)
    torch.testing.assert_close(gradient[:, :3], ((1 - alpha) * log_w[:, :3]).softmax(0), rtol=1e-4, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(one=st.floats(-4, 4), other=st.floats(-4, 4), samples=st.integers(1, 6))
def test_the_renyi_bound_falls_as_alpha_rises(one: float, other: float, samples: int) -> None:
    torch.manual_seed(0)
    model, x = plain().double(), torch.randn(3, 4).double()
    low, high = sorted((round(one, 3), round(other, 3)))
    assert found(Renyi(samples, low), model, x)[0] <= found(Renyi(samples, high), model, x)[0] + 1e-9


def test_groups_lie_between_the_plain_and_the_importance_weighted_bound() -> None:
    torch.manual_seed(0)
    model, x = plain().double(), torch.randn(40, 4).double()
    losses = [found(ImportanceWeighted(k, 12 // k), model, x)[0].item() for k in (1, 2, 3, 6, 12)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("name", ["iwae", "miwae", "piwae", "dreg", "renyi"])
def test_draws_far_behind_the_best_get_no_gradient_rather_than_a_denormal_one(name: str) -> None:
    torch.manual_seed(0)
    model, x = plain(), 40 * torch.randn(200, 4)
    scores: list[Tensor] = []

    def scored(batch: pv.Values, samples: int) -> pv.Draw:
        draw = model(batch, samples)
        scores.append(draw.heads["x"].log_p)
        return draw

    (gradient,) = torch.autograd.grad(ALL[name](scored, {"x": x})["loss"], scores)
    log_w = scores[0].detach()
    assert ((log_w - log_w.amax(0)) < -87).any()  # exp(-87) is the least normal number
    assert gradient[gradient != 0].abs().min() > 1e-24
    assert (gradient == 0).any()


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", ALL)
def test_every_bound_reports_the_plain_one_and_its_value_is_that_of_its_draws(name: str, rows: int) -> None:
    torch.manual_seed(0)
    model, batch = two_level().double(), {"x": torch.randn(rows, 4).double()}
    torch.manual_seed(3)
    values = ALL[name](model, batch)
    torch.manual_seed(3)
    draw = model(batch, 4)
    assert list(values) == ["loss", "reconstruction", "kl", "bound"]
    torch.testing.assert_close(values["bound"], draw.elbo.mean())
    log_w, iw = draw.log_weight, draw.importance_bound
    share = (torch.tensor([0.0, 0.1, 0.1**0.5]).double()[:, None, None] * log_w).softmax(1)
    widths = torch.tensor([0.1, 0.1**0.5 - 0.1, 1 - 0.1**0.5]).double()
    expected = {
        "iwae": iw,
        "miwae": (log_w[:2].exp().mean(0).log() + log_w[2:].exp().mean(0).log()) / 2,
        "ciwae": 0.3 * draw.elbo + 0.7 * iw,
        "piwae": iw,
        "dreg": iw,
        "landing": log_w.mean(0),
        "renyi": 2 * (log_w / 2).exp().mean(0).log(),
        "thermodynamic": ((share * log_w).sum(1) * widths[:, None]).sum(0),
    }
    torch.testing.assert_close(values["loss"], -expected[name].mean(), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.manual_seed(3)
        assert ALL[name](model, batch)["loss"].item() == pytest.approx(values["loss"].item())


@pytest.mark.parametrize("name", ALL)
def test_trap01_no_bound_depends_on_the_size_of_the_batch(name: str) -> None:
    torch.manual_seed(0)
    model, x = plain().double(), torch.randn(6, 4).double()
    torch.manual_seed(1)
    noise = model({"x": x}, 4)

    def loss(rows: slice) -> Tensor:
        latent = noise.latents["z"]
        made = model.double()
        z = latent.drawn[:, rows].detach()
        draw = made({"x": x[rows]}, 4)
        held = pv.Latent(draw.latents["z"].q, draw.latents["z"].p, z, z)
        head = pv.Observed(noise.heads["x"].p, x[rows], noise.heads["x"].log_p[:, rows], 1.0)
        return ALL[name].estimate(pv.Draw(4, {}, {"z": held}, {"x": head})).mean()

    whole = loss(slice(0, 6))
    torch.testing.assert_close(whole, (loss(slice(0, 3)) + loss(slice(3, 6))) / 2)


def test_trap54_every_bound_refuses_what_it_would_ignore_in_silence() -> None:
    q, p = part("x", [4], 2), part("z", [2], 4)
    weighted = pv.VAE(q, StandardNormal(2), pv.Head(p, weight=2.0))
    second = pv.VAE(q, StandardNormal(2), {"one": pv.Head(p, "x"), "two": pv.Head(part("z", [2], 4), "x")})
    for name, objective in ALL.items():
        with pytest.raises(ValueError, match=f"^{objective.called} has no weights: the head 'x' has 2.0"):
            objective(weighted, {"x": torch.randn(3, 4)})
        with pytest.raises(ValueError, match=f"^{objective.called} holds one head a value: 'two'"):
            objective(second, {"x": torch.randn(3, 4)})
        made = pv.recipes.vae((1, 4, 4), latent=2, network="mlp", widths=[4], objective=objective)
        assert made.objective is objective, name


REFUSED: dict[str, tuple[Any, str]] = {
    "no draws": (lambda: DoublyReparametrised(0), "samples counts draws of the latents, at least 1; got 0"),
    "no groups": (lambda: ImportanceWeighted(2, 0), "groups counts groups of draws, at least 1; got 0"),
    "beta": (lambda: Combined(2, 1.5), "beta is the share of the plain bound, from 0 to 1; got 1.5"),
    "a word": (lambda: Renyi(2, "a"), "alpha is a number, or minus or plus infinity; got 'a'"),  # pyright: ignore
    "alpha": (lambda: Renyi(2, math.nan), "alpha is a number, or minus or plus infinity; got nan"),
    "one draw": (lambda: Thermodynamic(1), "samples counts draws of the latents, at least 2; got 1"),
    "no parts": (lambda: Thermodynamic(5, 0), "partitions counts parts of the interval from 0 to 1, at least 1; got 0"),
    "first": (lambda: Thermodynamic(5, 2, 1.0), "first is where the first part ends, between 0 and 1; got 1.0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_out_of_range_are_refused(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("objective", [DoublyReparametrised(3), PartiallyImportanceWeighted(2, 2)])
def test_a_feature_of_draws_that_a_posterior_reads_is_refused_where_it_would_be_weighed_twice(objective: Bound) -> None:
    q = {"b": part("x", [4], 3), "a": part(("x", "h"), [4, 5], 2)}
    h = pv.Feature(nn.Linear(3, 5), "b")
    model = pv.VAE(q, {"b": StandardNormal(3), "a": part("h", [5], 2)}, part(("a", "b"), [2, 3], 4), {"h": h})
    with pytest.raises(ValueError, match="the posterior of 'a' reads a feature of other latents"):
        objective(model, {"x": torch.randn(3, 4)})
    StickingTheLanding(2)(model, {"x": torch.randn(3, 4)})["loss"].backward()  # weighs all paths alike


@pytest.mark.parametrize("name", ["dreg", "landing", "piwae", "thermodynamic"])
def test_a_compiled_step_is_refused_where_hooks_move_the_gradient(name: str) -> None:
    made = pv.recipes.vae((4,), latent=2, network="mlp", widths=[4], objective=ALL[name])
    with pytest.raises(ValueError, match=f"compile: {type(ALL[name]).__name__} takes or moves gradients on its way"):
        pv.fit(made, wrap(torch.randn(30, 4)), epochs=1, device="cpu", compile=True, progress=False)


@pytest.mark.parametrize("name", ["dreg", "landing"])
def test_a_flow_has_the_expected_gradient_of_its_bound(name: str) -> None:
    """Its law keeps its networks to itself; only log q at the draws is asked for."""
    pytest.importorskip("zuko")
    torch.manual_seed(0)
    model = plain(2, 4, InverseAutoregressive(2, context=6, widths=(8,))).double()
    batch = {"x": torch.randn(1, 4).double()}
    known = {"dreg": ImportanceWeighted(4), "landing": Renyi(4, 1.0)}[name]
    encoder = list(model.posterior.parameters())

    def gradients(objective: Bound) -> Tensor:
        rows = []
        for _ in range(150):
            loss = objective(model, batch)["loss"]
            rows.append(torch.cat([each.flatten() for each in torch.autograd.grad(loss, encoder)]))
        return torch.stack(rows)

    ours, theirs = gradients(ALL[name]), gradients(known)
    error = (ours.var(0) / len(ours) + theirs.var(0) / len(theirs)).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() <= 5 * error + 1e-9).all()


@pytest.mark.parametrize("name", ALL)
def test_a_latent_that_is_given_in_some_rows_moves_no_encoder_there(name: str) -> None:
    torch.manual_seed(0)
    model, x = plain(), torch.randn(4, 4)
    known = torch.tensor([True, False, True, False])
    fixed = {"z": (torch.randn(4, 2), known)}
    raw = []
    model.posterior["z"].net.register_forward_hook(lambda net, inputs, output: raw.append(output))
    ALL[name](lambda batch, samples: model(batch, samples, fixed=fixed), {"x": x})["loss"].backward(inputs=raw)
    moved = raw[0].grad.abs().sum(1) > 0
    assert moved.tolist() == (~known).tolist()
    assert raw[0].grad.isfinite().all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ALL)
def test_every_bound_trains_on_real_pictures(name: str, precision: str) -> None:
    data = pv.data.load("digits", limit=300)
    made = pv.recipes.vae(data, latent=4, network="mlp", widths=[32], objective=ALL[name], seed=0)
    run = pv.fit(made, data, epochs=6, batch_size=30, lr=5e-3, device="cpu", precision=precision, progress=False)
    first, last = run.history[0]["validation_bound"], run.history[-1]["validation_bound"]
    assert last > first + 5
