"""Annealed importance sampling against an evidence that is known, and the bounds that enclose it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import polyvae as pv
from helpers.contract import PICTURES, examples, make
from helpers.linear import linear_gaussian
from polyvae.data import Split
from polyvae.evaluation import Annealing, annealed, both_bounds
from polyvae.model import families


def test_the_estimate_is_the_evidence_and_the_bounds_enclose_it() -> None:
    model, split, exact = linear_gaussian(families.DiagonalNormal(), 40)
    found = annealed(model, split, Annealing(60, 8))
    assert (found.log_px - exact).mean() < 0.02
    assert (found.log_px - exact).abs().mean() < 0.2
    gap = found.upper - found.lower
    assert -0.02 < gap.mean() < 0.4
    assert 0.4 < found.acceptance.mean() < 0.95
    coarse = annealed(model, split, Annealing(8, 8))
    assert (coarse.log_px - exact).mean() < (found.log_px - exact).mean()
    assert (coarse.upper - coarse.lower).mean() > gap.mean()


def test_steps_keep_up_with_laws_that_grow_narrower_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.linear.SCALE", 0.1)
    model, split, exact = linear_gaussian(families.DiagonalNormal(), 40)
    found = annealed(model, split, Annealing(25, 8))
    assert -6 < (found.log_px - exact).mean() < 0.02


def test_simulated_data_lie_between_their_bounds() -> None:
    model, _, _ = linear_gaussian(families.DiagonalNormal(), 2)
    torch.manual_seed(5)
    law = model.heads["x"].likelihood
    cov = law.weight @ law.weight.T + 0.36 * torch.eye(4, dtype=torch.float64)
    # The model draws as many examples as it is given; their mean evidence is minus the entropy.
    expected = -torch.distributions.MultivariateNormal(torch.zeros(4).double(), cov).entropy()
    many = Split({"x": torch.zeros(200, 4, dtype=torch.float64)})
    found = annealed(model, many, Annealing(20, 4))
    error = 2.5 * 2**0.5 / 200**0.5  # of a mean over 200 of half a chi-square of 4
    assert found.lower.mean() < expected + error
    assert found.upper.mean() > expected - error
    assert found.lower.mean() < found.upper.mean()


def test_from_an_exact_posterior_one_temperature_is_enough() -> None:
    x = torch.randn(50, 5, dtype=torch.float64) @ torch.randn(5, 5, dtype=torch.float64)
    made = pv.recipes.ppca(pv.Spec((5,), levels=None), latent=2)
    made.model.double()
    assert made.solve is not None
    made.solve({"x": x})
    split = Split({"x": x[:10]})
    exact = both_bounds(made, split, 2).importance
    for temperatures in (1, 5):
        found = annealed(made, split, Annealing(temperatures, 2, 4, "posterior"))
        torch.testing.assert_close(found.log_px, exact)
        torch.testing.assert_close(found.upper, found.lower)


def test_one_temperature_from_the_prior_is_its_importance_sampling() -> None:
    """With a single step the weights are p(x | z) at draws of the prior."""
    model, split, exact = linear_gaussian(families.DiagonalNormal(), 6)
    found = annealed(model, split, Annealing(1, 4000))
    torch.testing.assert_close(found.log_px, exact, atol=0.5, rtol=0)
    assert torch.equal(found.acceptance, torch.ones(6).double())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("two_level", {}),
        ("cvae", {"prior": "conditional"}),
        ("vamp_prior", {"components": 3}),
        ("mixture_prior", {"components": 3}),
        ("iaf", {}),
        ("ae", {}),
        ("semi_conditional", {"mask": "grid", "count": 4}),
        ("arbitrary_conditioning", {"mask": "grid", "count": 4, "decoder": "flat"}),
    ],
)
def test_whatever_the_model_it_is_above_the_plain_bound(name: str, options: dict[str, Any]) -> None:
    made, split = make(name, likelihood="normal", **options), Split(examples(PICTURES))
    how = Annealing(12, 4, 4, "prior" if name in ("ae", "iaf") else "posterior")
    found = annealed(made, split, how)
    assert found.log_px.isfinite().all()
    assert torch.equal(found.log_px, annealed(made, split, how).log_px)
    assert (found.upper - found.lower).mean() > -0.5
    if name != "ae":
        assert found.log_px.mean() > both_bounds(made, split, 50).plain.mean()
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_a_report_has_the_gaps_of_a_subset() -> None:
    made, split = make("vae", likelihood="normal"), Split(examples(PICTURES))
    report = pv.evaluate(made, split, samples=20, refine=5, ais=10, ais_examples=5)
    ais = report["ais"]
    assert ais["examples"] == 5
    assert ais["inference_gap"] == pytest.approx(ais["amortisation_gap"] + ais["approximation_gap"])
    assert ais["inference_gap"] == pytest.approx(ais["log_px"] - ais["bound"])
    assert set(ais["simulated"]) == {"lower", "upper", "gap"}
    assert pv.evaluation.table(report)


@pytest.mark.parametrize("name", ["vq_vae", "pixel_cnn"])
def test_codes_are_refused_by_the_latent_s_name(name: str) -> None:
    made = make(name, widths=(4, 4)) if name == "vq_vae" else make(name)
    with pytest.raises(ValueError, match=r"along gradients, and 'z' \(.*\) is discrete or codes; leave out ais"):
        annealed(made, Split(examples(PICTURES)), Annealing(2))
    with pytest.raises(ValueError, match="start is one of prior, posterior"):
        Annealing(start="middle")  # pyright: ignore[reportArgumentType]


def test_a_model_of_the_mask_is_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pv.data.wrap({"x": torch.randn(30, 3), "seen": torch.rand(30, 3) > 0.3}, kind="real")
    made = pv.recipes.incomplete(data, latent=2, network="mlp", widths=(4,), missing="self-masking")
    told = "moves latents, and the head 's' reads x and seen too, of which what is unseen .* leave out ais"
    with pytest.raises(ValueError, match=told):
        annealed(made, data.test, Annealing(2))
    monkeypatch.setattr("polyvae.evaluation.report.both_bounds", None)
    with pytest.raises(ValueError, match=told):
        pv.evaluate(made, data.test, ais=10)
