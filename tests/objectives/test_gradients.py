"""Estimators of a bound's gradient: what they are in expectation, without chance, and where they have no noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv
from helpers.quadrature import Linear, batch_of, expected_gradients
from polyvae.model.draw import Draw, Latent, Observed
from polyvae.model.priors.mixture import mixture
from polyvae.objectives import (
    Bound,
    DoublyReparametrised,
    ImportanceWeighted,
    PartiallyImportanceWeighted,
    Renyi,
    StickingTheLanding,
    Thermodynamic,
)

X = 0.7


def one_level() -> pv.VAE:
    return pv.VAE(Linear(0.2, 0.8, "eps", x=0.5), Linear(0.1, 1.1), Linear(-0.3, 0.6, z=0.9))


class AtInputs(nn.Module):
    """A VampPrior of two inputs: the encoder generates too."""

    def __init__(self, q: Linear) -> None:
        super().__init__()
        self.q, self.inputs = q, nn.Parameter(torch.tensor([[1.0], [-2.0]]).double())

    def forward(self, values: pv.Values) -> Distribution:
        return mixture(torch.zeros(2).double(), self.q.law({"x": self.inputs}))


def shared() -> pv.VAE:
    q = Linear(0.2, 0.8, "eps", x=0.5)
    return pv.VAE(q, AtInputs(q), Linear(-0.3, 0.6, z=0.9))


def top_first() -> pv.VAE:
    q = {"b": Linear(0.1, 0.8, "eps b", x=0.4), "a": Linear(-0.2, 0.6, "eps a", x=0.3, b=0.5)}
    return pv.VAE(q, {"b": Linear(0.0, 1.0), "a": Linear(0.1, 0.9, b=0.7)}, Linear(0.2, 0.7, a=0.8, b=-0.3))


def bottom_up() -> pv.VAE:
    q = {"a": Linear(-0.2, 0.6, "eps a", x=0.3), "b": Linear(0.1, 0.8, "eps b", x=0.4, a=0.6)}
    return pv.VAE(q, {"b": Linear(0.0, 1.0), "a": Linear(0.1, 0.9, b=0.7)}, Linear(0.2, 0.7, a=0.8, b=-0.3))


def three_levels() -> pv.VAE:
    q = {
        "c": Linear(0.1, 0.8, "eps c", x=0.4),
        "b": Linear(-0.2, 0.6, "eps b", x=0.3, c=0.7),
        "a": Linear(0.2, 0.5, "eps a", x=0.2, b=0.9, c=-0.4),
    }
    p = {"c": Linear(0.0, 1.0), "b": Linear(0.1, 0.9, c=0.7), "a": Linear(0.1, 0.8, b=0.5)}
    return pv.VAE(q, p, Linear(0.2, 0.7, a=0.8, b=-0.3))


MODELS = {"one level": one_level, "shared": shared, "top first": top_first, "bottom up": bottom_up}


def noise_of(model: pv.VAE) -> list[str]:
    return [part.noise for part in model.posterior.values() if isinstance(part, Linear) and part.noise]


def check_equal(model: pv.VAE, one: Bound, other: Bound, samples: int, tolerance: float) -> None:
    """Both have the same expected gradient at every parameter."""
    names = noise_of(model)
    batch, shares = batch_of(X, names, samples, {1: 60, 2: 36, 3: 12, 4: 16, 6: 7}[len(names) * samples])
    found, known = (expected_gradients(each, model, batch, shares) for each in (one, other))
    assert any(gradient.abs().max() > 0.01 for gradient in known.values())
    for name, gradient in known.items():
        torch.testing.assert_close(
            found[name], gradient, atol=tolerance, rtol=0, msg=lambda said, n=name: f"{n}: {said}"
        )


@pytest.mark.parametrize("name", MODELS)
def test_sticking_the_landing_has_the_plain_bounds_expected_gradient(name: str) -> None:
    check_equal(MODELS[name](), StickingTheLanding(), Renyi(1, alpha=1.0), 1, 1e-8)


def test_below_three_levels_of_draws_both_still_have_the_gradients_that_are_expected() -> None:
    check_equal(three_levels(), StickingTheLanding(), Renyi(1, alpha=1.0), 1, 1e-8)
    check_equal(three_levels(), DoublyReparametrised(2), ImportanceWeighted(2), 2, 2e-2)


@pytest.mark.parametrize("name", MODELS)
def test_dreg_has_the_importance_weighted_bounds_expected_gradient(name: str) -> None:
    check_equal(MODELS[name](), DoublyReparametrised(2), ImportanceWeighted(2), 2, 2e-4)


@pytest.mark.parametrize("name", MODELS)
def test_one_part_of_the_thermodynamic_bound_has_the_plain_bounds_expected_gradient(name: str) -> None:
    check_equal(MODELS[name](), Thermodynamic(2, partitions=1), Renyi(2, alpha=1.0), 2, 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_piwae_trains_the_encoder_by_groups_and_what_generates_by_all_draws(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    batch = {"x": torch.randn(7, 1).double(), **{each: torch.randn(7, 6).double() for each in noise_of(model)}}
    shares = torch.full((7,), 1 / 7).double()
    found, groups, all_draws = (
        expected_gradients(each, model, batch, shares)
        for each in (PartiallyImportanceWeighted(3, 2), ImportanceWeighted(3, 2), ImportanceWeighted(6))
    )
    for key, gradient in found.items():
        if key.startswith("posterior") and name != "shared":
            torch.testing.assert_close(gradient, groups[key], rtol=1e-9, atol=1e-12)
        elif not key.startswith("posterior"):
            torch.testing.assert_close(gradient, all_draws[key], rtol=1e-9, atol=1e-12)
    values = [each(model, batch)["loss"] for each in (PartiallyImportanceWeighted(3, 2), ImportanceWeighted(6))]
    torch.testing.assert_close(*values)


def test_a_group_far_behind_the_best_still_trains_its_encoder() -> None:
    torch.manual_seed(0)
    model = pv.VAE(Linear(0.2, 0.8, "eps", x=0.5), Linear(0.1, 1.1), Linear(-0.3, 0.002, z=0.9)).float()
    batch = {"x": torch.randn(9, 1), "eps": torch.randn(9, 4)}
    shares = torch.full((9,), 1 / 9)
    assert (model({k: v.double() for k, v in batch.items()}, 4).log_weight.softmax(0).float() == 0).any()
    found = expected_gradients(PartiallyImportanceWeighted(2, 2), model, batch, shares)
    known = expected_gradients(ImportanceWeighted(2, 2), model, batch, shares)
    for name in ("posterior.z.bias", "posterior.z.log_scale", "posterior.z.weights.x"):
        torch.testing.assert_close(found[name], known[name], rtol=1e-4, atol=1e-3)


def exact() -> pv.VAE:
    """q(b | x) q(a | b, x) is the posterior of p(b) p(a | b) p(x | a, b): all are normal, so it has a closed form."""
    p, r, w, v, s, t = 0.7, 0.9, 0.8, -0.3, 0.5, 1.0  # a = p b + r e, x = w a + v b + s e, b = t e
    slope, spread = w * p + v, w * w * r * r + s * s  # x given b
    above, below = 1 / t**2 + slope**2 / spread, 1 / r**2 + w * w / s**2  # precisions of b given x, of a given b and x
    q = {
        "b": Linear(0.0, above**-0.5, "eps b", x=slope / spread / above),
        "a": Linear(0.0, below**-0.5, "eps a", x=w / s**2 / below, b=(p / r**2 - w * v / s**2) / below),
    }
    return pv.VAE(q, {"b": Linear(0.0, t), "a": Linear(0.0, r, b=p)}, Linear(0.0, s, a=w, b=v))


def exact_in_three_levels() -> pv.VAE:
    """q(c | x) q(b | c, x) q(a | b, c, x) is the posterior of a chain, each regressed on what it is given."""
    one = torch.eye(4).double()  # of independent noise
    b = 0.7 * one[0] + 0.9 * one[1]
    a = 0.5 * b + 0.8 * one[2]
    root = torch.stack([one[0], b, a, 0.8 * a - 0.3 * b + 0.7 * one[3]])
    covariance, q, names = root @ root.T, {}, ["c", "b", "a", "x"]
    for n, known in enumerate(([3], [0, 3], [0, 1, 3])):
        slopes = torch.linalg.solve(covariance[known][:, known], covariance[known, n])
        spread = (covariance[n, n] - covariance[n, known] @ slopes).sqrt().item()
        weights = dict(zip([names[k] for k in known], slopes.tolist(), strict=True))
        q[names[n]] = Linear(0.0, spread, f"eps {names[n]}", **weights)
    p = {"c": Linear(0.0, 1.0), "b": Linear(0.0, 0.9, c=0.7), "a": Linear(0.0, 0.8, b=0.5)}
    return pv.VAE(q, p, Linear(0.0, 0.7, a=0.8, b=-0.3))


@pytest.mark.parametrize("made", [exact, exact_in_three_levels])
@pytest.mark.parametrize("objective", [StickingTheLanding(3), DoublyReparametrised(3)])
def test_at_the_exact_posterior_the_encoders_gradient_is_zero_at_every_draw_and_level(
    objective: Bound, made: Callable[[], pv.VAE]
) -> None:
    torch.manual_seed(0)
    model = made()
    batch = {"x": torch.randn(5, 1).double(), **{name: torch.randn(5, 3).double() for name in noise_of(model)}}
    weight = model(batch, 3).log_weight
    torch.testing.assert_close(weight, weight[:1].expand(3, -1))  # which makes it the exact one
    found = expected_gradients(objective, model, batch, torch.full((5,), 0.2).double())
    plain = expected_gradients(ImportanceWeighted(3), model, batch, torch.full((5,), 0.2).double())
    for name, gradient in found.items():
        if name.startswith("posterior"):
            assert gradient.abs().max() < 1e-12, name
            assert plain[name].abs().max() > 1e-3, name
        else:
            torch.testing.assert_close(gradient, plain[name])


def integral(model: pv.VAE, betas: Tensor) -> Tensor:
    """The left sum of the thermodynamic integral of a model with one latent, on a fine grid of z."""
    z = torch.linspace(-9, 9, 6001).double()[:, None]
    q, x = model.posterior["z"].law({"x": torch.full((1, 1), X).double()}), torch.full((len(z), 1), X).double()
    log_q = q.log_prob(z)
    log_p = model.prior["z"]({}).log_prob(z) + model.heads["x"].likelihood({"z": z}).log_prob(x)
    points = torch.cat([betas, torch.ones(1).double()])
    tilted = (points[:-1, None] * log_p + (1 - points[:-1, None]) * log_q).softmax(1)
    return (points.diff() * (tilted * (log_p - log_q)).sum(1)).sum()


@pytest.mark.parametrize(("partitions", "first"), [(1, 0.5), (2, 0.3), (5, 0.1)])
def test_value_and_gradient_of_the_thermodynamic_bound_are_those_of_its_sum(partitions: int, first: float) -> None:
    model = one_level()
    objective = Thermodynamic(8001, partitions, first)
    even = (torch.arange(8001).double() + 0.5) / 8001
    batch = {"x": torch.full((1, 1), X).double(), "eps": Normal(0.0, 1.0).icdf(even)[None]}
    known_sum = integral(model, objective.betas.flatten().double())
    assert objective(model, batch)["loss"].item() == pytest.approx(-known_sum.item(), abs=1e-3)
    known = torch.autograd.grad(known_sum, list(model.parameters()))
    found = expected_gradients(objective, model, batch, torch.ones(1).double())
    for value, gradient in zip(found.values(), known, strict=True):
        torch.testing.assert_close(value, gradient, atol=5e-3, rtol=0)


def test_the_thermodynamic_bound_rises_with_its_parts_from_the_plain_one_to_the_evidence() -> None:
    model = one_level()
    evidence = Normal(-0.3 + 0.9 * 0.1, math.sqrt(0.6**2 + (0.9 * 1.1) ** 2)).log_prob(torch.tensor(X)).item()
    sums = [integral(model, Thermodynamic(2, parts, 0.05).betas.flatten().double()).item() for parts in (1, 2, 5, 80)]
    law = model.posterior["z"].law({"x": torch.full((1, 1), X).double()})
    z = law.base_dist.loc + law.base_dist.scale * torch.linspace(-8, 8, 4001).double()[:, None]
    log_w = model.prior["z"]({}).log_prob(z) - law.log_prob(z)
    log_w = log_w + model.heads["x"].likelihood({"z": z}).log_prob(torch.full((4001, 1), X).double())
    plain = (law.log_prob(z).softmax(0) * log_w).sum().item()
    assert sums[0] == pytest.approx(plain, abs=1e-6)
    assert sums == sorted(sums)
    assert sums[-1] < evidence < sums[-1] + 0.02


@pytest.mark.parametrize(
    "bound", [DoublyReparametrised(3, 2), DoublyReparametrised(6), PartiallyImportanceWeighted(3, 2)]
)
def test_a_draw_outside_the_support_of_the_likelihood_counts_nothing_and_hides_nothing(bound: Bound) -> None:
    torch.manual_seed(0)
    mean = torch.full((4, 1), 0.1, dtype=torch.float64, requires_grad=True)
    q, p = (Independent(Normal(loc, torch.ones_like(loc)), 1) for loc in (mean, torch.zeros_like(mean)))
    z = q.rsample((6,))
    log_p = torch.where(z[..., 0] > 0.4, -math.inf, -(z[..., 0] - 0.3).square())
    heads = {"x": Observed(p, torch.zeros(4, 1).double(), log_p, 1.0)}
    draw = Draw(6, {"z": z.flatten(0, 1)}, {"z": Latent(q, p, z, z)}, heads, paths={"z": z})
    found, wanted = bound.estimate(draw), ImportanceWeighted(*(3, 2) if bound.groups == 2 else (6,)).estimate(draw)
    assert bool(log_p.isinf().any())
    if isinstance(bound, DoublyReparametrised):
        torch.testing.assert_close(found, wanted)
    (gradient,) = torch.autograd.grad(found[found.isfinite()].sum(), mean)
    assert bool(gradient.isfinite().all())
    assert bool(gradient.any())
    assert not bool(found.isnan().any())
