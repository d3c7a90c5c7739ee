"""Latents that are given, row by row: scored at what they are given and not drawn."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as td
from torch.distributions import Distribution
from torch.nn import functional as F

import polyvae as pv
from helpers.latents import Component, Fixed, OneHot, m2, pair
from polyvae.model.networks import mlp
from polyvae.model.priors.normal import StandardNormal


def test_a_given_latent_is_scored_and_not_drawn() -> None:
    model, x = m2(), torch.randn(5, 4).double()
    y = F.one_hot(torch.tensor([0, 1, 2, 1, 0]), 3).double()
    draw = model({"x": x}, 2, fixed={"y": y})
    assert torch.equal(draw.latents["y"].z, y.expand(2, 5, 3))
    assert draw.latents["y"].log_q.abs().max() == 0
    torch.testing.assert_close(draw.kl, draw.latents["z"].kl + math.log(3))
    torch.testing.assert_close(
        draw.log_weight, draw.log_px - math.log(3) + draw.latents["z"].log_p - draw.latents["z"].log_q
    )


def test_labelled_rows_have_the_bound_at_their_label_and_unlabelled_ones_the_sum_over_all() -> None:
    model, x = m2(), torch.randn(5, 4).double()
    y, known = F.one_hot(torch.tensor([0, 1, 2, 1, 0]), 3).double(), torch.tensor([True, False, True, False, False])
    torch.manual_seed(3)
    draw = model({"x": x}, 4, fixed={"y": (torch.where(known[:, None], y, math.nan), known)})
    log_q = model.posterior["y"]({"x": x}).logits.log_softmax(-1)
    torch.testing.assert_close(draw.log_share.logsumexp(0), torch.full((5,), math.log(12.0)).double())
    # The same noise for every class and draw, by hand from the draws that were made.
    inner = draw.log_px - draw.latents["z"].kl - math.log(3)
    each = inner.view(3, 4, 5).mean(1)
    entropy = -(log_q.exp() * log_q).sum(-1)
    expected = torch.where(known, (y.T * each).sum(0), (log_q.exp().T * each).sum(0) + entropy)
    torch.testing.assert_close(draw.elbo, expected)
    importance = (draw.log_px - math.log(3) + draw.latents["z"].log_p - draw.latents["z"].log_q).view(3, 4, 5)
    importance = importance.logsumexp(1) - math.log(4)
    expected = torch.where(known, (y.T * importance).sum(0), importance.logsumexp(0))
    torch.testing.assert_close(draw.importance_bound, expected)


def test_rows_of_a_drawn_latent_are_given_too() -> None:
    model, x = m2(), torch.randn(4, 4).double()
    z, known = torch.randn(4, 2).double(), torch.tensor([True, True, False, False])
    draw = model({"x": x}, 3, fixed={"z": (z, known)})
    latent = draw.latents["z"]
    assert torch.equal(latent.z[:, :2], z[:2].expand(9, 2, 2))
    assert latent.log_q[:, :2].abs().max() == 0
    torch.testing.assert_close(latent.kl[:, :2], -latent.log_p[:, :2])
    assert (latent.kl[:, 2:] == latent.analytic_kl[:, 2:]).all()
    draw.elbo.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_label_that_is_none_of_the_values_is_not_silently_left_out() -> None:
    model, x = m2(), torch.randn(2, 4).double()
    y, known = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]).double(), torch.tensor([True, True])
    assert model({"x": x}, fixed={"y": (y, known)}).elbo.isnan().tolist() == [True, False]


def test_generation_takes_given_latents() -> None:
    model = m2()
    y = F.one_hot(torch.tensor([0, 2]), 3).double()
    values = model.sample_latents(count=5, fixed={"y": y})
    assert torch.equal(values["y"], y.repeat(5, 1))
    assert values["z"].shape == (10, 2)
    known = torch.tensor([True, False])
    assert torch.equal(model.sample_latents(count=3, fixed={"y": (y, known)})["y"][::2], y[:1].repeat(3, 1))
    assert model.generate(count=5, fixed={"y": y})["x"].batch_shape == (10,)


class SemiSupervised(nn.Module):
    """The bound, at their labels where there are any, and log q(y | x) of these."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.bound, self.weight = pv.Objective(), weight

    def forward(self, model: pv.VAE, batch: pv.Values, step: Any = 0) -> dict[str, Tensor]:
        def labelled(values: pv.Values, samples: int) -> pv.Draw:
            return model(values, samples, fixed={"y": (values["label"], values["known"])})

        found = self.bound(labelled, batch, step)
        logits = model.posterior["y"](batch).logits.log_softmax(-1)
        cost = -(torch.where(batch["known"][:, None], batch["label"], 0.0) * logits).sum(-1).mean()
        return {**found, "loss": found["loss"] + self.weight * cost, "label_cost": cost.detach()}


def test_m2_learns_two_groups_from_four_labels() -> None:
    torch.manual_seed(0)
    label = torch.arange(400) % 2
    x = torch.randn(400, 2) * 0.4 + torch.tensor([[-2.0, 0.0], [2.0, 0.0]])[label]
    known = torch.arange(400) < 4
    values = {"x": x, "label": F.one_hot(label, 2).float(), "known": known}
    split = pv.data.Split(values)
    data = pv.data.Data("groups", split, split, split, pv.Spec((2,), levels=None))
    normal = pv.families.DiagonalNormal()
    q_y = pv.Conditional(mlp([(2,)], (2,), (8,)), OneHot(), "x")
    q_z = pv.Conditional(mlp([(2,), (2,)], (2,), (8,)), normal, ("x", "y"))
    p_x = pv.Conditional(mlp([(1,), (2,)], (4,), (8,)), normal, ("z", "y"))
    model = pv.VAE({"y": q_y, "z": q_z}, {"y": Fixed(torch.zeros(2)), "z": StandardNormal(1)}, p_x, summed="y")
    recipe = pv.Recipe(model, SemiSupervised(50.0))
    run = pv.fit(recipe, data, epochs=20, batch_size=50, lr=1e-2, device="cpu", progress=False)
    found = run.model.posterior["y"]({"x": x}).logits.argmax(-1)
    assert (found == label).float().mean() > 0.95


def test_parts_that_do_not_fit_are_named() -> None:
    normal = StandardNormal(2)
    part = pv.Conditional(mlp([(4,)], (4,), (5,)), pv.families.DiagonalNormal(), "x")
    head = pv.Conditional(mlp([(2,)], (8,), (5,)), pv.families.DiagonalNormal(), "z")
    with pytest.raises(ValueError, match=r"summed holds \['y'\]; it may hold latents with a law of their own, \['z'\]"):
        pv.VAE(part, normal, head, summed="y")
    with pytest.raises(ValueError, match="'z' is to be summed over, but Independent cannot list its values"):
        pv.VAE(part, normal, head, summed="z")({"x": torch.zeros(2, 4)})
    with pytest.raises(ValueError, match=r"fixed holds \['w'\]"):
        pv.VAE(part, normal, head)({"x": torch.zeros(2, 4)}, fixed={"w": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=r"fixed holds \['a'\]"):
        pair("prior").double()({"x": torch.zeros(2, 4).double()}, fixed={"a": torch.zeros(2, 2)})


class Index(nn.Module):
    """A categorical law over integers, an event of no dimensions."""

    def __init__(self, logits: Tensor, given: tuple[str, ...]) -> None:
        super().__init__()
        self.logits, self.given = nn.Parameter(logits), given

    def forward(self, values: pv.Values) -> Distribution:
        logits = self.logits.expand(len(values["x"]), -1) if self.given else self.logits
        return td.Categorical(logits=logits, validate_args=False)


def test_a_latent_of_integers_is_given_by_rows_and_described() -> None:
    class Likelihood(Component):
        def forward(self, values: pv.Values) -> Distribution:
            return td.Independent(td.Normal(self.means[values["y"]], 1.0), 1)

    torch.manual_seed(0)
    prior, head = Index(torch.randn(3), ()), Likelihood(torch.randn(3, 4))
    model, x = pv.VAE({"y": Index(torch.randn(3), ("x",))}, {"y": prior}, {"x": head}, summed="y"), torch.randn(40, 4)
    y, known = torch.randint(3, (40,)), torch.arange(40) < 20
    bound = model({"x": x}, 2, fixed={"y": (y, known)}).importance_bound
    log_p = td.Independent(td.Normal(head.means, 1.0), 1).log_prob(x.unsqueeze(1)) + prior.logits.log_softmax(-1)
    expected = torch.where(known, log_p.gather(1, y[:, None]).squeeze(1), log_p.logsumexp(-1))
    torch.testing.assert_close(bound, expected)
    assert pv.evaluation.describe_codes(model, pv.data.wrap(x).train)["y"].information == pytest.approx(0, abs=1e-6)


def test_given_values_of_another_shape_are_refused() -> None:
    model, x = m2(), torch.randn(4, 4).double()
    for value, known, told in (
        (torch.zeros(4, 1), torch.ones(4).bool(), r"values of shape \[1\]; it has \[2\]"),
        (torch.zeros(1, 2), torch.ones(4).bool(), "a value for each of 4 examples; got 1 values"),
        (torch.zeros(4, 2), torch.ones(3).bool(), r"rows \[3\]"),
    ):
        with pytest.raises(ValueError, match=told):
            model({"x": x}, fixed={"z": (value.double(), known)})
    with pytest.raises(TypeError, match=r"True or False; got torch\.float32"):
        model({"x": x}, fixed={"z": (torch.zeros(4, 2).double(), torch.ones(4))})


def test_what_is_fixed_is_checked_where_it_is_generated_from_too() -> None:
    model = pv.recipes.cvae(pv.Spec((6,), classes=3), latent=2, network="mlp", widths=(4,), seed=0).model
    y, z = torch.eye(3)[[0, 1, 2, 1]], torch.randn(4, 2)
    for held, error, message in (
        ((z[:1], torch.tensor([True])), ValueError, "a value for each of 4 examples; got 1 values"),
        (z[:1], ValueError, "a value for each of 4 examples; got 1 values"),
        ((z[:, :1], torch.ones(4, dtype=torch.bool)), ValueError, r"values of shape \[1\]; it has \[2\]"),
        ((z, torch.ones(4)), TypeError, "True or False; got torch.float32"),
    ):
        with pytest.raises(error, match=message):
            model.generate({"y": y}, 2, fixed={"z": held})
    with pytest.raises(ValueError, match=r"\['z'\] are latents, which are drawn; .* as fixed="):
        model.generate({"y": y, "z": z})
