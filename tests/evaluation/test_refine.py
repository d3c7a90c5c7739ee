"""Posteriors refined example by example: the bound that they reach, and what they leave untouched."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import polyvae as pv
from helpers.contract import PICTURES, examples, make
from helpers.linear import SCALE, D, divergence, linear_gaussian
from polyvae.data import Split
from polyvae.evaluation import refined, refinement
from polyvae.model import families


def test_refined_by_many_steps_a_bad_encoder_reaches_the_evidence() -> None:
    model, split, exact = linear_gaussian(families.FullNormal())
    x = split.tensors["x"]
    torch.manual_seed(0)
    left = [divergence(model.posterior["z"]({"x": x}), model, x)]
    for steps in (20, 300):
        better, kept = refined(model, {"x": x}, steps)
        left.append(divergence(better.posterior["z"]({"x": x}), model, x))
        assert kept.all()
    start, few, many = (each.mean() for each in left)
    assert start > 3
    assert many < 0.03
    assert many < few < start
    assert (left[0] - left[1]).min() > 0
    found = refinement(model, split, 300)
    torch.testing.assert_close(found.bound.mean(), exact.mean(), atol=0.3, rtol=0)
    torch.testing.assert_close(found.gain.mean(), start - many, atol=0.1 * float(start), rtol=0)


def test_the_family_bounds_what_refining_gains() -> None:
    """A diagonal law cannot reach the evidence where the posterior's values depend on each other."""
    left = []
    for family in (families.DiagonalNormal(), families.LowRankNormal(2)):
        model, split, _ = linear_gaussian(family)
        x = split.tensors["x"]
        better, _ = refined(model, {"x": x}, 300)
        left.append(divergence(better.posterior["z"]({"x": x}), model, x).mean())
    weight = model.heads["x"].likelihood.weight.detach()
    precision = torch.eye(D, dtype=torch.float64) + weight.T @ weight / SCALE**2
    best = 0.5 * (precision.diagonal().log().sum() - precision.logdet())  # of the best diagonal law
    assert float(left[0]) == pytest.approx(float(best), abs=0.03)
    assert left[1] < 0.03


def test_weights_modes_and_generators_are_as_they_were_and_chance_follows_the_seed() -> None:
    made, split = make("vae"), Split(examples(PICTURES))
    weights = {name: value.clone() for name, value in made.model.state_dict().items()}
    made.model.train()
    state = torch.get_rng_state()
    found = refinement(made, split, 5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert made.model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in made.model.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in made.model.state_dict().items())
    assert torch.equal(refinement(made, split, 5, seed=3).gain, found.gain)
    assert not torch.equal(refinement(made, split, 5, seed=4).gain, found.gain)


def test_trap29_no_example_s_gain_depends_on_the_others_in_its_block() -> None:
    made = make("vae")
    batch = made.observe(examples(PICTURES))
    other = {name: torch.cat([value[:6], value[6:].flip(0)]) for name, value in batch.items()}
    model, found = made.model.eval(), []
    for each in (batch, other):
        torch.manual_seed(0)
        better, _ = refined(model, each, 4)
        found.append(better.centres(each)["z"])
    torch.testing.assert_close(found[0][:6], found[1][:6])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("two_level", {}),
        ("cvae", {}),
        ("mixture_prior", {"components": 3}),
        ("iwae", {}),
        ("vamp_prior", {"components": 3}),
        ("iaf", {}),
        ("mixture_posterior", {}),
        ("arbitrary_conditioning", {"mask": "grid", "count": 4, "decoder": "flat"}),
    ],
)
def test_whatever_the_model_the_bound_rises(name: str, options: dict[str, Any]) -> None:
    made = make(name, **options)
    gain = refinement(made, Split(examples(PICTURES)), 20).gain
    assert (gain > -0.05).all(), "what chose the end is not what judges it, and both are noisy"
    assert gain.mean() > 0.05


def test_a_report_has_the_refined_bound_and_a_run_encodes_with_it() -> None:
    data = pv.data.wrap(torch.rand(60, 6), validation=20)
    run = pv.fit(pv.recipes.vae((6,), latent=2, network="mlp", widths=(8,), seed=0), data, epochs=1, progress=False)
    report = pv.evaluate(run, data.validation, samples=50, refine=10)
    told = report["refined"]
    assert told["bound"] == pytest.approx(report["bound"] + told["gain"], abs=0.3)
    assert told["gain"] > 0
    assert "ais" not in report
    x = data.validation.tensors["x"]
    z = run.encode(x, refine=10)
    assert z.shape == (20, 2)
    assert torch.equal(z, run.encode(x, refine=10))
    assert not torch.equal(z, run.encode(x))
    with pytest.raises(ValueError, match="refine is a whole number of at least 0"):
        run.encode(x, refine=-1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ae", "the posterior of 'z' is a point, which has none"),
        ("vq_vae", "that of 'z' is a Quantiser, which is none of"),
        ("pixel_cnn", "that of 'z' is a ExactCode, which is none of"),
    ],
)
def test_points_and_codes_are_refused_by_the_latent_s_name(name: str, message: str) -> None:
    made = make(name, widths=(4, 4)) if name == "vq_vae" else make(name)
    with pytest.raises(ValueError, match=message):
        pv.evaluate(made, Split(examples(PICTURES)), samples=1, refine=3)
