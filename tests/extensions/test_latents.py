"""Latents that are given, row by row; discrete latents summed over exactly; one law of several latents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch import distributions as td
from torch.distributions import Distribution
from torch.nn import functional as F

import polyvae as pv
from polyvae.completion.predictive import Completer
from polyvae.model.networks import mlp
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.terms import KL


class OneHot(pv.Family):
    """One of `classes`, as a one-hot vector; the raw output its logits."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        return td.OneHotCategorical(logits=raw, validate_args=False)


class Fixed(nn.Module):
    """p(y), the same for all."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, values: pv.Values) -> Distribution:
        return td.OneHotCategorical(logits=self.logits, validate_args=False)


class Component(nn.Module):
    """p(x | y) = N(mu_y, 1)."""

    given = ("y",)

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.means = nn.Parameter(means)

    def forward(self, values: pv.Values) -> Distribution:
        return td.Independent(td.Normal(values["y"] @ self.means, 1.0), 1)


class ExactPosterior(nn.Module):
    """p(y | x) of the mixture itself."""

    given = ("x",)

    def __init__(self, prior: Fixed, likelihood: Component) -> None:
        super().__init__()
        self.p, self.likelihood = prior, likelihood

    def forward(self, values: pv.Values) -> Distribution:
        score = -0.5 * (values["x"].unsqueeze(1) - self.likelihood.means).square().sum(-1)
        return td.OneHotCategorical(logits=self.p.logits.log_softmax(-1) + score, validate_args=False)


def mixture(classes: int = 2, width: int = 3, exact: bool = True) -> tuple[pv.VAE, Tensor]:
    torch.manual_seed(0)
    prior, likelihood = Fixed(torch.randn(classes)), Component(torch.randn(classes, width))
    q = ExactPosterior(prior, likelihood) if exact else pv.Conditional(mlp([(width,)], (classes,), (5,)), OneHot(), "x")
    x = torch.randn(7, width)
    return pv.VAE({"y": q}, {"y": prior}, {"x": likelihood}, summed="y").double(), x.double()


def evidence(model: pv.VAE, x: Tensor) -> Tensor:
    means, logits = model.heads["x"].likelihood.means, model.prior["y"].logits
    score = td.Independent(td.Normal(means, 1.0), 1).log_prob(x.unsqueeze(1))
    return (logits.log_softmax(-1) + score).logsumexp(-1)


@settings(max_examples=10, deadline=None)
@given(classes=st.integers(2, 5), samples=st.integers(1, 4))
def test_the_bound_at_the_exact_posterior_of_a_mixture_is_the_evidence(classes: int, samples: int) -> None:
    model, x = mixture(classes)
    draw = model({"x": x}, samples)
    assert draw.samples == samples * classes
    torch.testing.assert_close(draw.elbo, evidence(model, x), atol=1e-8, rtol=0)
    torch.testing.assert_close(draw.importance_bound, evidence(model, x), atol=1e-8, rtol=0)


def test_the_importance_bound_is_the_evidence_whatever_the_posterior_and_the_plain_one_lies_below_by_its_kl() -> None:
    model, x = mixture(3, exact=False)
    draw = model({"x": x})
    torch.testing.assert_close(draw.importance_bound, evidence(model, x), atol=1e-8, rtol=0)
    exact = ExactPosterior(model.prior["y"], model.heads["x"].likelihood)({"x": x})
    gap = td.kl_divergence(model.posterior["y"]({"x": x}), exact)
    torch.testing.assert_close(draw.elbo, evidence(model, x) - gap, atol=1e-8, rtol=0)


def test_objective_and_evaluation_of_a_summed_latent_are_those_bounds() -> None:
    model, x = mixture(3, exact=False)
    values = pv.Objective(samples=2)(model, {"x": x})
    torch.testing.assert_close(-values["loss"], values["bound"], atol=1e-8, rtol=0)
    torch.testing.assert_close(values["bound"], model({"x": x}).elbo.mean(), atol=1e-8, rtol=0)
    with pytest.raises(ValueError, match="sums over 'y' whatever its posterior says"):
        pv.ImportanceWeighted(2)(model, {"x": x})
    data = pv.data.wrap(x.float())
    bounds = pv.evaluation.both_bounds(model.float(), data.train, samples=3)
    expected = evidence(model, data.train.tensors["x"]).double()
    torch.testing.assert_close(bounds.importance, expected, atol=1e-4, rtol=0)
    code = pv.evaluation.describe_codes(model, data.train)["y"]
    probs = model.posterior["y"]({"x": data.train.tensors["x"]}).probs.double()
    exact = (probs * (probs / probs.mean(0)).log()).sum(-1).mean()
    assert code.information == pytest.approx(exact.item(), abs=1e-6)


def m2(classes: int = 3, width: int = 4, latent: int = 2) -> pv.VAE:
    """Semi-supervised M2: q(y | x) q(z | x, y) p(y) p(z) p(x | y, z).

    Kingma, Rezende, Mohamed, Welling: Semi-supervised Learning with Deep Generative Models, 2014.
    """
    torch.manual_seed(1)
    normal = pv.families.DiagonalNormal()
    q_y = pv.Conditional(mlp([(width,)], (classes,), (6,)), OneHot(), "x")
    q_z = pv.Conditional(mlp([(width,), (classes,)], (normal.size(latent),), (6,)), normal, ("x", "y"))
    p_x = pv.Conditional(mlp([(latent,), (classes,)], (normal.size(width),), (6,)), normal, ("z", "y"))
    prior = {"y": Fixed(torch.zeros(classes)), "z": StandardNormal(latent)}
    return pv.VAE({"y": q_y, "z": q_z}, prior, p_x, summed=["y"]).double()


def by_class(model: pv.VAE, x: Tensor, classes: int, seed: int) -> list[pv.Draw]:
    """One pass for each class, the class given."""
    made = []
    for each in range(classes):
        torch.manual_seed(seed)
        y = F.one_hot(torch.full((len(x),), each), classes).double()
        made.append(model({"x": x}, 4, fixed={"y": y}))
    return made


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


def test_discrete_latents_encode_and_reconstruct() -> None:
    model, x = mixture(3, exact=False)
    assert model.reconstruct({"x": x})["x"].mean.shape == x.shape
    torch.testing.assert_close(model.encode({"x": x})["y"].mean.sum(-1), torch.ones(7).double())


def test_two_discrete_latents_are_summed_over_together() -> None:
    class Both(Component):
        given = ("y", "w")

        def forward(self, values: pv.Values) -> Distribution:
            return td.Independent(td.Normal(values["y"] @ self.means + values["w"] @ self.means[:2] ** 2, 1.0), 1)

    torch.manual_seed(0)
    q_y = pv.Conditional(mlp([(3,)], (3,), (5,)), OneHot(), "x")
    q_w = pv.Conditional(mlp([(3,), (3,)], (2,), (5,)), OneHot(), ("x", "y"))
    priors = {"y": Fixed(torch.randn(3)), "w": Fixed(torch.randn(2))}
    model = pv.VAE({"y": q_y, "w": q_w}, priors, Both(torch.randn(3, 3)), summed=("y", "w")).double()
    x = torch.randn(4, 3).double()
    draw = model({"x": x})
    means = model.heads["x"].likelihood.means
    table = means[:, None] + means[None, :2] ** 2  # [y, w, x]
    joint = td.Independent(td.Normal(table, 1.0), 1).log_prob(x[:, None, None])
    joint = joint + priors["y"].logits.log_softmax(-1)[:, None] + priors["w"].logits.log_softmax(-1)
    torch.testing.assert_close(draw.importance_bound, joint.flatten(1).logsumexp(-1), atol=1e-8, rtol=0)
    share_y = q_y({"x": x}).probs
    q_both = torch.stack([q_w({"x": x, "y": F.one_hot(torch.full((4,), c), 3).double()}).probs for c in range(3)], 1)
    q_both = share_y[:, :, None] * q_both
    expected = (q_both * (joint - q_both.log())).flatten(1).sum(-1)
    torch.testing.assert_close(draw.elbo, expected, atol=1e-8, rtol=0)


def test_a_discrete_latent_below_a_drawn_one_is_summed_for_each_draw() -> None:
    """VaDE's order: z is drawn, y summed given z, and z's prior reads y.

    Jiang, Zheng, Tan, Tang, Zhou: Variational Deep Embedding, 2017.
    """
    torch.manual_seed(0)
    normal = pv.families.DiagonalNormal()
    q_z = pv.Conditional(mlp([(3,)], (4,), (5,)), normal, "x")
    q_y = pv.Conditional(mlp([(2,)], (3,), (5,)), OneHot(), "z")
    p_z = pv.Conditional(mlp([(3,)], (4,), (5,)), normal, "y")
    p_x = pv.Conditional(mlp([(2,)], (6,), (5,)), normal, "z")
    prior = {"y": Fixed(torch.randn(3)), "z": p_z}
    model = pv.VAE({"z": q_z, "y": q_y}, prior, p_x, summed="y").double()
    x = torch.randn(5, 3).double()
    torch.manual_seed(4)
    draw = model({"x": x}, 6)
    z = draw.values["z"].view(3, 6, 5, 2)
    assert torch.equal(z[0], z[1])
    z = z[0]
    log_q = q_y({"z": z.flatten(0, 1)}).logits.log_softmax(-1).view(6, 5, 3)
    eye = torch.eye(3).double()
    log_z = torch.stack([p_z({"y": eye[None, c]}).log_prob(z) for c in range(3)], -1)
    inner = (log_q.exp() * (log_z + prior["y"].logits.log_softmax(-1) - log_q)).sum(-1)
    expected = p_x({"z": z.flatten(0, 1)}).log_prob(x.repeat(6, 1)).view(6, 5) + inner - q_z({"x": x}).log_prob(z)
    torch.testing.assert_close(draw.elbo, expected.mean(0))
    draw.elbo.sum().backward()


class Together(nn.Module):
    """One normal law of a and b at once, with a full covariance."""

    def __init__(self, given: tuple[str, ...] = (), size: int = 5) -> None:
        super().__init__()
        self.given, self.shapes = given, {"a": (2,), "b": (3,)}
        self.loc, self.tril = (
            nn.Parameter(torch.randn(size)),
            nn.Parameter(torch.eye(size) + 0.3 * torch.randn(size, size).tril(-1)),
        )

    def forward(self, values: pv.Values) -> Distribution:
        loc = self.loc + values["x"].sum(1, keepdim=True) if self.given else self.loc
        return td.MultivariateNormal(loc, scale_tril=self.tril.tril(), validate_args=False)


def pair(of: str) -> pv.VAE:
    torch.manual_seed(0)
    normal = pv.families.DiagonalNormal()

    def separate(given: str) -> dict[str, nn.Module]:
        return {n: pv.Conditional(mlp([(4,)], (2 * d,), (5,)), normal, given) for n, d in (("a", 2), ("b", 3))}

    p_x = pv.Conditional(mlp([(2,), (3,)], (8,), (5,)), normal, ("a", "b"))
    if of == "prior":
        return pv.VAE(separate("x"), {"both": Together()}, p_x).double()
    return pv.VAE({"both": Together(("x",))}, {"a": StandardNormal(2), "b": StandardNormal(3)}, p_x).double()


@pytest.mark.parametrize("of", ["prior", "posterior"])
def test_one_law_of_several_latents_is_scored_as_one(of: str) -> None:
    model, x = pair(of), torch.randn(4, 4).double()
    draw = model({"x": x}, 3)
    assert list(draw.latents) == ["both"]
    a, b = (draw.values[name].view(3, 4, -1) for name in ("a", "b"))
    if of == "prior":
        log_q = sum(model.posterior[n]({"x": x}).log_prob(z) for n, z in (("a", a), ("b", b)))
        log_p = model.prior["both"]({}).log_prob(torch.cat([a, b], -1))
    else:
        log_q = model.posterior["both"]({"x": x}).log_prob(torch.cat([a, b], -1))
        log_p = sum(model.prior[n]({}).log_prob(z) for n, z in (("a", a), ("b", b)))
    torch.testing.assert_close(draw.kl, log_q - log_p)
    torch.testing.assert_close(draw.log_weight, draw.log_px + log_p - log_q)
    assert model.reconstruct({"x": x})["x"].batch_shape == (4,)
    assert model.generate(count=6)["x"].batch_shape == (6,)


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


def test_one_law_of_several_latents_is_read_in_its_own_order() -> None:
    model, x = pair("prior"), torch.randn(4, 4).double()
    other = pair("prior")
    turned = Together().double()
    turned.shapes = {"b": (3,), "a": (2,)}
    law = model.prior["both"]
    order = [2, 3, 4, 0, 1]  # b first
    covariance = (law.tril.tril() @ law.tril.tril().T)[order][:, order]
    turned.loc.data, turned.tril.data = law.loc.detach()[order], torch.linalg.cholesky(covariance.detach())
    other = pv.VAE(dict(model.posterior.items()), {"both": turned}, model.heads["x"].likelihood).double()
    bounds = []
    for each in (model, other):
        torch.manual_seed(0)
        bounds.append(each({"x": x}, 3).elbo)
    torch.testing.assert_close(*bounds)
    torch.manual_seed(0)
    assert other.sample_latents(count=2)["b"].shape == (2, 3)


@pytest.mark.parametrize("of", ["prior", "posterior"])
def test_a_model_with_one_law_of_several_latents_is_trained_asked_and_evaluated(of: str) -> None:
    torch.manual_seed(0)
    data = pv.data.wrap(torch.randn(120, 4))
    run = pv.fit(pair(of).float(), data, epochs=1, batch_size=20, device="cpu", progress=False)
    report = pv.evaluate(run, data.test, samples=20)
    assert math.isfinite(report["bound"])
    assert run.decode({"a": torch.randn(3, 2), "b": torch.randn(3, 3)}).shape == (3, 4)
    x = torch.randn(3, 4)
    z = run.encode(x)
    assert {name: value.shape for name, value in z.items()} == {"a": (3, 2), "b": (3, 3)}
    torch.testing.assert_close(run.decode(z), run.reconstruct(x))
    assert run.sample(5).shape == (5, 4)


@pytest.mark.parametrize("of", ["prior", "posterior"])
def test_figures_walk_through_one_law_of_several_latents(of: str) -> None:
    model, split = pair(of).float(), pv.data.wrap(torch.randn(60, 4)).test
    strips = pv.figures.traversals(model, split, latent="both", steps=3)
    assert strips.pictures.shape[:2] == (5, 3)
    z = model.centres({"x": split.tensors["x"][:1]})
    place = int(strips.rows[0].split("[")[1].split("]")[0])
    row = torch.cat([z["a"], z["b"]], 1).repeat(3, 1)
    row[:, place] = torch.tensor([-3.0, 0.0, 3.0])
    expected = model.decode({"a": row[:, :2], "b": row[:, 2:]})["x"].mean
    np.testing.assert_allclose(strips.pictures[0], expected.detach().numpy(), atol=1e-6)
    assert pv.figures.traversals(model, split, example=None).pictures.shape[:2] == (5, 11)
    assert pv.figures.interpolations(model, split, pairs=2).pictures.shape[:2] == (2, 9)
    assert pv.figures.latent_map(model, split).points.shape == (len(split), 2)


def test_a_summed_latent_is_trained_by_the_plain_objective_and_evaluated() -> None:
    torch.manual_seed(0)
    data = pv.data.wrap(torch.randn(120, 4))
    run = pv.fit(m2().float(), data, epochs=1, batch_size=20, device="cpu", progress=False)
    report = pv.evaluate(run, data.test, samples=20)
    assert report["importance_bound"] > report["bound"] - 0.5
    with pytest.raises(ValueError, match=r"\['y'\] are summed over, not drawn"):
        list(
            Completer(5, latents="posterior", head="x").predict(
                run.model, {"x": torch.randn(2, 4), "m": torch.zeros(2, 8)}
            )
        )


def test_the_aggregate_prior_below_a_summed_latent_is_not_that_of_equal_classes() -> None:
    model, x = m2().float(), torch.randn(50, 4)
    code = pv.evaluation.describe_codes(model, pv.data.wrap(x).train)
    assert code["z"].prior_moments is not None  # N(0, I), which reads nothing
    normal = pv.families.DiagonalNormal()
    p_z = pv.Conditional(mlp([(3,)], (4,), (5,)), normal, "y")
    given_y = pv.VAE(
        dict(model.posterior.items()), {"y": model.prior["y"], "z": p_z}, model.heads["x"].likelihood, summed="y"
    )
    assert pv.evaluation.describe_codes(given_y, pv.data.wrap(x).train)["z"].prior_moments is None


def test_free_bits_and_codes_of_latents_drawn_before_a_sum() -> None:
    torch.manual_seed(0)
    normal = pv.families.DiagonalNormal()

    def part(shapes: list[tuple[int, ...]], given: Any) -> pv.Conditional:
        return pv.Conditional(mlp(shapes, (4,), (5,)), normal, given)

    q_y = pv.Conditional(mlp([(2,)], (3,), (5,)), OneHot(), "z2")
    q = {"z1": part([(4,)], "x"), "z2": part([(4,), (2,)], ("x", "z1")), "y": q_y}
    p = {"z1": StandardNormal(2), "z2": part([(2,)], "z1"), "y": Fixed(torch.zeros(3))}
    head = pv.Conditional(mlp([(2,), (3,)], (8,), (5,)), normal, ("z2", "y"))
    model, x = pv.VAE(q, p, head, summed="y"), torch.randn(30, 4)
    draw = model({"x": x}, 4)
    free = KL(free_bits=1e-9, latents=("z1", "z2"))(draw)
    plain = KL(latents=("z1", "z2"))(draw)
    torch.testing.assert_close(free, draw.expect(plain).mean())
    code = pv.evaluation.describe_codes(model, pv.data.wrap(x).train)
    assert code["z2"].kl is not None
    assert code["z2"].information is None


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


def test_the_importance_weighted_bound_refuses_a_summed_latent_also_with_labelled_rows() -> None:
    x, y = torch.randn(4, 4).double(), torch.eye(3)[[0, 1, 2, 1]].double()
    known = torch.tensor([True, True, False, False])

    def labelled(batch: pv.Values, samples: int) -> pv.Draw:
        return m2()(batch, samples, fixed={"y": (y, known)})

    with pytest.raises(ValueError, match="sums over 'y' whatever its posterior says"):
        pv.ImportanceWeighted(2)(labelled, {"x": x})


def test_shapes_that_a_law_does_not_fill_are_named() -> None:
    model, x = pair("posterior"), torch.randn(4, 4).double()
    model.posterior["both"].shapes = {"a": (2,), "b": (4,)}
    with pytest.raises(ValueError, match=r"'both' has a law of shape \[5\]; its shapes .* are of a vector of 6 values"):
        model({"x": x})
