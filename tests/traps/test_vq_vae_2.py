"""The traps of vector quantisation at every level of several; the number is the trap's."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.data import Split
from polyvae.model.posteriors.codebook import Codebook
from polyvae.recipes import Recipe
from polyvae.training.validation import validate

NAMES = ("top", "middle", "bottom")


def small(**options: object) -> Recipe:
    """Maps of 1, 4 and 16 codes, the words as far apart as the encoder's outputs."""
    given = {"codes": 12, "codes_above": 7, "dim": 3, "widths": (5,), "likelihood": "normal", "scales": 3, "seed": 1}
    made = pv.recipes.vq_vae_2((1, 8, 8), **{**given, **options})
    torch.manual_seed(0)
    with torch.no_grad():
        for part in made.model.modules():
            if isinstance(part, Codebook):
                part.weight.normal_()
    return made


def losses(made: Recipe, x: Tensor, training: bool = False) -> dict[str, float]:
    """Loss and terms on a copy, which may learn."""
    model = copy.deepcopy(made.model).train(training)
    return {name: value.item() for name, value in made.objective(model, {"x": x}).items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"codebook": "ema"}, {"quantiser": "residual"}])
def test_trap01_the_loss_of_a_batch_is_the_mean_of_its_halves(options: dict[str, str], training: bool) -> None:
    made, x = small(**options), torch.rand(12, 1, 8, 8)
    whole, *halves = (losses(made, batch, training) for batch in (x, x[:6], x[6:]))
    for name, value in whole.items():
        assert value == pytest.approx((halves[0][name] + halves[1][name]) / 2, rel=1e-5), name
    assert losses(made, torch.cat([x, x, x]), training) == pytest.approx(whole, rel=1e-5)


def test_trap02_every_level_counts_as_a_mean_of_elements_beside_a_mean_over_pixels() -> None:
    made, x = small(), torch.rand(5, 1, 8, 8)
    values = losses(made, x)
    with torch.no_grad():
        laws = made.model.eval().encode({"x": x})
        square = float((made.model.reconstruct({"x": x})["x"].mean - x).square().mean())
        gaps = sum(float((laws[name].encoded - laws[name].vectors).square().mean()) for name in NAMES)
    assert values["loss"] == pytest.approx(64 * (square + 1.25 * gaps + 0.5 * math.log(math.pi)), rel=1e-5)


def test_trap07_each_side_stops_where_it_should_at_every_level() -> None:
    made, x = small(), torch.rand(6, 1, 8, 8)
    for name in NAMES:
        draw = made.model.eval()({"x": x})
        part = made.model.posterior[name]
        for term, moves_words in ((f"codebook_{name}", True), (f"commitment_{name}", False)):
            cost = made.objective.terms[term].term(draw).mean()
            tensors = [part.codebook.weight, *part.net.parameters()]
            own, *net = torch.autograd.grad(cost, tensors, retain_graph=True, allow_unused=True, materialize_grads=True)
            assert bool(own.any()) is moves_words
            assert any(bool(each.any()) for each in net) is not moves_words
        for other in set(NAMES) - {name}:  # the costs of a level move no other level's words
            cost = made.objective.terms[f"codebook_{name}"].term(draw).mean()
            weight = made.model.posterior[other].codebook.weight
            (found,) = torch.autograd.grad(cost, [weight], retain_graph=True, allow_unused=True, materialize_grads=True)
            assert not found.any()


def test_trap17_words_that_nothing_uses_stay_where_they_are_at_every_level() -> None:
    made = small(codebook="ema", revive=0.0)
    before = {name: made.model.posterior[name].codebook.weight.clone() for name in NAMES}
    x = torch.rand(1, 1, 8, 8).expand(4, 1, 8, 8)
    made.model.train()
    used = {name: q.codes.unique() for name, q in copy.deepcopy(made.model).eval().encode({"x": x}).items()}
    made.objective(made.model, {"x": x})
    for name in NAMES:
        moved = (made.model.posterior[name].codebook.weight - before[name]).abs().sum(1) > 0
        assert set(moved.nonzero().flatten().tolist()) == set(used[name].tolist())


def test_trap18_the_costs_of_every_level_are_told_in_evaluation_too() -> None:
    made, x = small(), torch.rand(30, 1, 8, 8)
    found = validate(made.model, made.objective, made.observe, Split({"x": x}), seed=0)
    values = losses(made, x)
    for name in NAMES:
        for term in ("codebook", "commitment"):
            assert found[f"{term}_{name}"] == pytest.approx(values[f"{term}_{name}"], rel=1e-5)
            assert found[f"{term}_{name}"] > 0
