"""Mistakes found in published implementations of vector quantisation; the number is the trap's."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.data import Split
from polyvae.model.posteriors.codebook import Codebook
from polyvae.recipes import Recipe
from polyvae.training.validation import validate

TERMS = {"gradient": {"codebook", "commitment"}, "ema": {"commitment"}}


def small(spec: Any = (1, 8, 8), spread: float = 1.0, **options: Any) -> Recipe:
    """A recipe of 12 codes of 3, the words as far apart as the encoder's outputs."""
    given = {"codes": 12, "dim": 3, "widths": (4, 5), "likelihood": "normal", "seed": 1, **options}
    made = pv.recipes.vq_vae(spec, **given)
    torch.manual_seed(0)
    with torch.no_grad():
        made.model.posterior["z"].codebook.weight.normal_(std=spread)
    return made


def losses(made: Recipe, x: Tensor, training: bool = False) -> dict[str, float]:
    """Loss and terms on a copy, which may learn."""
    model = copy.deepcopy(made.model).train(training)
    return {name: value.item() for name, value in made.objective(model, {"x": x}).items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("codebook", TERMS)
def test_trap01_the_loss_of_a_batch_is_the_mean_of_its_halves(codebook: str, training: bool) -> None:
    made, x = small(codebook=codebook), torch.rand(12, 1, 8, 8)
    whole, *halves = (losses(made, batch, training) for batch in (x, x[:6], x[6:]))
    assert set(whole) == {"loss", "reconstruction", "bound"} | TERMS[codebook]
    for name, value in whole.items():
        assert value == pytest.approx((halves[0][name] + halves[1][name]) / 2, rel=1e-5)
    thrice = losses(made, torch.cat([x, x, x]), training)
    assert thrice == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(("shape", "dim"), [((1, 8, 8), 3), ((3, 8, 12), 2)])
def test_trap02_the_study_s_means_are_our_sums_by_one_explicit_factor(shape: tuple[int, ...], dim: int) -> None:
    made, x = small(pv.Spec(shape), dim=dim), torch.rand(5, *shape)
    values = losses(made, x)
    with torch.no_grad():
        q = made.model.eval().encode({"x": x})["z"]
        square = (made.model.reconstruct({"x": x})["x"].mean - x).square().mean()
        gap = (q.encoded - q.vectors).square().mean()
    size, inside = math.prod(shape), q.event_shape.numel()
    weights = {name: weighted.weight for name, weighted in made.objective.terms.items()}
    assert weights == {"reconstruction": 1.0, "codebook": size / inside, "commitment": 0.25 * size / inside}
    # mean squared error + mean codebook + 0.25 mean commitment, D_x times, and the normal's constant
    study = float(square + gap + 0.25 * gap)
    assert values["loss"] == pytest.approx(size * (study + 0.5 * math.log(math.pi)), rel=1e-5)
    assert values["codebook"] == pytest.approx(float(gap) * inside, rel=1e-5)


def gradients(made: Recipe, x: Tensor, *names: str) -> tuple[Tensor, Tensor]:
    """Of the named terms as they are weighed, to the encoder's weights and to the words; zero where there is none."""
    draw = made.model.eval()({"x": x})
    cost = torch.stack([made.objective.terms[name](made.objective.terms[name].term(draw), 0) for name in names]).sum()
    posterior = made.model.posterior["z"]
    tensors = [*posterior.net.parameters(), posterior.codebook.weight]
    found = torch.autograd.grad(cost, tensors, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in found[:-1]]), found[-1]


def test_trap07_beta_weighs_the_commitment_and_each_side_stops_where_it_should() -> None:
    x = torch.rand(6, 1, 8, 8)
    once, thrice = (small(beta=beta) for beta in (0.25, 0.75))
    encoder, words = gradients(once, x, "codebook")
    assert not encoder.any()
    assert words.any()
    encoder, words = gradients(once, x, "commitment")
    assert encoder.any()
    assert not words.any()
    torch.testing.assert_close(gradients(thrice, x, "commitment")[0], 3 * encoder)
    torch.testing.assert_close(gradients(thrice, x, "codebook")[1], gradients(once, x, "codebook")[1])
    # in closed form: 2 (c - e) summed over the outputs that a word is nearest to, 2 beta (e - c) at each output
    draw = once.model({"x": x})
    law = draw.latents["z"].q
    law.encoded.retain_grad()
    terms = once.objective.terms
    sum(terms[name](terms[name].term(draw), 0) for name in ("codebook", "commitment")).backward()
    ratio = 64 / law.event_shape.numel()
    gap = (law.encoded - law.vectors).detach()
    torch.testing.assert_close(law.encoded.grad, 2 * 0.25 * ratio * gap / 6)
    expected = torch.zeros(12, 3).index_add_(0, law.codes.flatten(), -2 * ratio * gap.movedim(1, -1).reshape(-1, 3) / 6)
    torch.testing.assert_close(once.model.posterior["z"].codebook.weight.grad, expected)


def test_trap07_moving_averages_have_no_codebook_term() -> None:
    made, x = small(codebook="ema"), torch.rand(6, 1, 8, 8)
    assert list(made.objective.terms) == ["reconstruction", "commitment"]
    assert (
        gradients(made, x, "commitment")[0].any() if made.model.posterior["z"].codebook.weight.requires_grad else True
    )
    assert not made.model.posterior["z"].codebook.weight.requires_grad


def test_trap17_a_code_that_nothing_uses_stays_where_it_is() -> None:
    torch.manual_seed(0)
    words = Codebook(6, 2, average=True, revive=0.0)
    words.weight.copy_(torch.tensor([[0.0, 0], [1, 0], [0, 1], [50, 50], [-70, 3], [9, -60]]))
    before = words.weight.clone()
    for _ in range(200):
        words(torch.rand(30, 2))
    assert torch.equal(words.weight[3:], before[3:])
    assert (words.weight[:3] != before[:3]).all()
    assert words.weight[:3].min() > 0  # within the outputs: no average starts apart from its word
    assert words.weight[:3].max() < 1


def test_trap17_the_first_step_takes_a_word_towards_its_outputs_and_not_beyond() -> None:
    torch.manual_seed(0)
    words = Codebook(2, 1, average=True)
    words.weight.copy_(torch.tensor([[0.0], [10.0]]))
    words(torch.tensor([[1.0], [2.0], [8.0]]))
    assert 0 < words.weight[0] < 1.5
    assert 8 < words.weight[1] < 10


def test_trap17_a_revived_code_begins_with_averages_of_its_own() -> None:
    torch.manual_seed(0)
    words = Codebook(4, 2, average=True, revive=0.5)
    words.weight.copy_(torch.tensor([[0.0, 0], [1, 0], [0, 1], [1e4, 1e4]]))
    for _ in range(50):
        encoded = torch.rand(40, 2)
        words(encoded)
        if words.weight[3, 0] < 1e3:
            break
    found = words.weight[3].clone()
    assert (encoded == found).all(1).any()
    assert words.use[3].item() == pytest.approx(1 / 4)
    words.revive = 0.0
    words(words.weight[0].expand(40, 2).clone())
    assert torch.equal(words.weight[3], found)
    near = found + 1e-4
    assert words.nearest(near[None]) == 3
    words(near.expand(40, 2))
    torch.testing.assert_close(words.weight[3], near, atol=1e-4, rtol=0)  # nothing of 1e4 comes back


@pytest.mark.parametrize("codebook", TERMS)
def test_trap18_the_costs_are_the_same_in_evaluation_mode(codebook: str) -> None:
    made, x = small(codebook=codebook, blocks=1), torch.rand(10, 1, 8, 8)
    training, evaluation = (losses(made, x, mode) for mode in (True, False))
    assert training == evaluation
    assert evaluation["commitment"] > 0
    split = Split({"x": x})
    found = validate(made.model, made.objective, made.observe, split, seed=0)
    assert found == pytest.approx(evaluation, rel=1e-6)
