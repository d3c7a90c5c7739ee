"""What a model and its objectives refuse by name before it becomes another number; laws of the scored rows alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv
from polyvae.evaluation import both_bounds
from polyvae.evaluation.frechet import sampled_pictures
from polyvae.model.families.real import DiagonalNormal, PixelNormal
from polyvae.model.networks import mlp
from polyvae.model.priors.mixture import Mixture
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import KL

D = 3


class Law(nn.Module):
    """A user's own part: whatever law a function makes of the batch's number of rows."""

    given = ("x",)

    def __init__(self, make: Callable[[int], Distribution]) -> None:
        super().__init__()
        self.make = make

    def forward(self, values: pv.Values) -> Distribution:
        return self.make(len(values["x"]))


def model(posterior: nn.Module | None = None, prior: nn.Module | None = None, heads: Any = None) -> pv.VAE:
    q = posterior or pv.Conditional(mlp([(4,)], (2 * D,), (5,)), DiagonalNormal(), "x")
    return pv.VAE(q, prior or StandardNormal(D), heads or head())


def head(family: pv.Family | None = None, width: int = 4) -> pv.Conditional:
    family = family or PixelNormal(0.5)
    return pv.Conditional(mlp([(D,)], (family.size(width),), (5,)), family, "z")


def flat(rows: int) -> Distribution:
    return Normal(torch.zeros(rows, D), 1.0)


@pytest.mark.parametrize("samples", [1, D])
def test_a_prior_that_is_not_one_law_an_example_is_refused_even_where_shapes_would_broadcast(samples) -> None:
    """With K = B = d, log p [K, B, d] - log q [K, B] is a number, though not the divergence."""
    batch = {"x": torch.randn(D, 4)}
    for make in (lambda rows: Normal(torch.zeros(D), torch.ones(D)), flat):
        with pytest.raises(
            ValueError, match=r"the prior of 'z' \(Normal\) has batch shape .*distributions\.Independent"
        ):
            model(prior=Law(make))(batch, samples)
    with pytest.raises(ValueError, match=r"the posterior of 'z' .* batch shape \[3\] .*distributions\.Independent"):
        model(posterior=Law(flat))(batch, samples)
    with pytest.raises(ValueError, match=r"the prior of 'z' .* event shape \[2\]; .* event shape \[3\]"):
        model(prior=StandardNormal(D - 1))(batch, samples)
    for make in (lambda rows: Independent(flat(rows), 1), lambda rows: Independent(Normal(torch.zeros(D), 1.0), 1)):
        drawn = model(prior=Law(make))(batch, samples)
        torch.testing.assert_close(drawn.kl, drawn.latents["z"].analytic_kl)


def test_a_likelihood_of_another_shape_than_its_values_is_refused() -> None:
    batch = {"x": torch.randn(5, 4)}
    with pytest.raises(ValueError, match=r"the likelihood of 'x' .* event shape \[1\]; .* event shape \[4\]"):
        model(heads=head(width=1))(batch)
    with pytest.raises(ValueError, match=r"the likelihood of 'x' .*distributions\.Independent"):
        model(heads=Law(lambda rows: Normal(torch.zeros(rows, 4), 1.0)))(batch)


class Broken(Independent):
    """A law whose density forgets to sum over its event."""

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base_dist.log_prob(value)


def test_a_density_that_is_not_one_number_a_draw_is_refused_by_the_latents_name() -> None:
    batch = {"x": torch.randn(D, 4)}
    for part in ("posterior", "prior"):
        made = model(**{part: Law(lambda rows: Broken(flat(rows), 1))})
        with pytest.raises(ValueError, match=rf"log {'qp'[part == 'prior']} of the latent 'z' has shape \[3, 3, 3\]"):
            _ = made(batch, D).log_weight


def test_no_sample_at_all_is_refused_wherever_samples_are_counted() -> None:
    made, batch = model(), {"x": torch.randn(5, 4)}
    split = pv.data.Split(batch)
    for call in (lambda: made(batch, 0), lambda: both_bounds(made, split, 0)):
        with pytest.raises(ValueError, match="samples counts draws of the latents, at least 1; got 0"):
            call()
    for call in (lambda: made.generate(count=0), lambda: made.sample_latents(count=-1)):
        with pytest.raises(ValueError, match=r"count counts draws of the latents, at least 1; got (0|-1)"):
            call()
    with pytest.raises(ValueError, match="count is the number of pictures, at least 1; got 0"):
        sampled_pictures(made, split, 0)


def test_trap54_the_importance_weighted_bound_refuses_a_head_that_it_would_ignore() -> None:
    batch = {"x": torch.randn(5, 4)}
    objective = pv.ImportanceWeighted(2)
    second = model(heads={"x": pv.Head(head()), "again": pv.Head(head(), of="x")})
    with pytest.raises(ValueError, match="'again' is a second one of 'x'"):
        objective(second, batch)
    weighed = model(heads=pv.Head(head(), weight=2.0))
    with pytest.raises(ValueError, match=r"the head 'x' has 2\.0"):
        objective(weighed, batch)
    both = model(heads={"x": head(), "y": pv.Head(head(width=2), of="y")})
    loss = objective(both, {**batch, "y": torch.randn(5, 2)})["loss"]
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in both.heads.parameters())


def test_an_optimal_scale_is_fitted_to_the_scored_rows_alone() -> None:
    torch.manual_seed(0)
    known = torch.tensor([True, False, True, False, True])
    x = torch.randn(5, 4)
    x[~known] = float("nan")
    batch = {"x": torch.randn(5, 4), "t": x, "known": known}
    made = model(heads={"x": head(), "t": pv.Head(head(PixelNormal("optimal")), of="t", where="known")})
    draw = made(batch, 2)
    law = draw.heads["t"].p
    squares = (law.mean.unflatten(0, (2, 5)) - x).square()[:, known]
    scale = squares.mean().sqrt()
    expected = Normal(law.mean.unflatten(0, (2, 5))[:, known], scale).log_prob(x[known]).sum(-1)
    torch.testing.assert_close(draw.heads["t"].log_p[:, known], expected)
    assert not draw.heads["t"].log_p[:, ~known].any()
    running = made.heads["t"].likelihood.family.scale.variance
    torch.testing.assert_close(running, squares.mean().detach())
    draw.log_px.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())
    made(batch | {"known": torch.zeros(5, dtype=torch.bool)})
    assert running.isfinite(), "no row was scored: nothing to fit"


def test_a_capacity_is_held_by_the_mean_over_draws_of_an_estimated_divergence() -> None:
    torch.manual_seed(0)
    made, batch = model(prior=Mixture(D, 2)), {"x": torch.randn(5, 4)}
    objective = pv.Objective({"kl": pv.Weighted(KL(), 1.0, target=Linear(1.0, 1.0, 1))}, samples=50)
    torch.manual_seed(1)
    loss = objective(made, batch)["loss"]
    torch.manual_seed(1)
    kl = made(batch, 50).kl
    torch.testing.assert_close(loss, (kl.mean(0) - 1).abs().mean())
    assert (kl - 1).abs().mean() > loss + 0.1, "the noise of single draws is not punished"
