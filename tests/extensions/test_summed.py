"""Discrete latents that are summed over exactly: alone, together, and below a drawn one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch import distributions as td
from torch.distributions import Distribution
from torch.nn import functional as F

import polyvae as pv
from helpers.latents import Component, Fixed, OneHot, m2
from polyvae.completion.completer import Completer
from polyvae.model.networks import mlp
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.terms import KL


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


def test_the_importance_weighted_bound_refuses_a_summed_latent_also_with_labelled_rows() -> None:
    x, y = torch.randn(4, 4).double(), torch.eye(3)[[0, 1, 2, 1]].double()
    known = torch.tensor([True, True, False, False])

    def labelled(batch: pv.Values, samples: int) -> pv.Draw:
        return m2()(batch, samples, fixed={"y": (y, known)})

    with pytest.raises(ValueError, match="sums over 'y' whatever its posterior says"):
        pv.ImportanceWeighted(2)(labelled, {"x": x})
