"""Gaps between bounds: both sides are of the same observations, however these are drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

import polyvae as pv
from helpers.linear import SCALE, WIDTH, D, Linear
from polyvae.data import Split
from polyvae.evaluation import Annealing, annealed, both_bounds, bounds, refinement
from polyvae.evaluation.gaps import gaps
from polyvae.model.priors.matching import Scaled
from polyvae.recipes import Recipe


class Known(pv.Family):
    """N(raw, C)."""

    def __init__(self, covariance: Tensor) -> None:
        super().__init__()
        self.covariance = covariance

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        return MultivariateNormal(raw, self.covariance)


def anew(values: pv.Values) -> dict[str, Tensor]:
    """Much noise, drawn whenever a batch is looked at."""
    return {**values, "x": values["x"] + 3 * torch.randn_like(values["x"])}


@pytest.fixture(params=["data", "recipe"])
def exact(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Recipe, Split]:
    """A model whose every draw says log p(x), and examples that data or recipe draw anew, of which few are held at
    once."""
    monkeypatch.setattr(bounds, "_CPU_VALUES", 1000)
    decoder, encoder = Linear().double(), nn.Linear(WIDTH, D, bias=False).double()
    weight = decoder.weight.detach()
    covariance = torch.linalg.inv(torch.eye(D).double() + weight.T @ weight / SCALE**2)
    encoder.weight.data = covariance @ weight.T / SCALE**2
    posterior = pv.Conditional(encoder, Known(covariance), "x")
    # Scaled by one: a law of which no divergence is known in closed form, so that nothing but log p(x) remains.
    model = pv.VAE(posterior, Scaled(pv.priors.StandardNormal(D), D).double(), decoder)
    of_data = request.param == "data"
    made = Recipe(model, pv.Objective()) if of_data else Recipe(model, pv.Objective(), observe=anew)
    return made, Split({"x": torch.zeros(130, WIDTH).double()}, anew if of_data else None)


def test_a_report_sets_bounds_of_the_same_observations_beside_each_other(
    exact: tuple[Recipe, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, split = exact
    monkeypatch.setattr("polyvae.evaluation.gaps.Annealing", lambda t: Annealing(t, 4, 2, "posterior"))
    report = gaps(made, split, both_bounds(made, split, 3, seed=3), refine=1, ais=(2, 30), seed=3, device=None)
    ais = report["ais"]
    assert ais["amortisation_gap"] == pytest.approx(0, abs=0.05)  # as far as rounding makes a step
    assert ais["bound"] == pytest.approx(ais["importance_bound"])
    assert ais["inference_gap"] == pytest.approx(0, abs=1e-6)


def test_every_measure_of_a_split_sees_the_observations_of_the_others(exact: tuple[Recipe, Split]) -> None:
    made, split = exact
    known = both_bounds(made, split, 2, seed=5).plain
    torch.testing.assert_close(refinement(made, split, 1, seed=5).bound, known, atol=0.5, rtol=0)
    one = annealed(made, split, Annealing(1, 2, start="posterior"), seed=5)
    torch.testing.assert_close(one.log_px, known)
    torch.testing.assert_close(one.lower, one.upper)
