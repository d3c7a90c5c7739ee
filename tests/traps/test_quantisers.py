"""The traps of vector quantisation for every other quantiser; the number is the trap's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.quantisers import QUANTISERS, options
from polyvae.data import Split
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.posteriors import Codebook, Grouped, Residual
from polyvae.model.priors import PixelCNNPrior
from polyvae.recipes import Recipe
from polyvae.training.validation import validate

OTHERS = [name for name in QUANTISERS if name != "nearest"]


def small(quantiser: str) -> Recipe:
    """A recipe whose words lie as far apart as the encoder's outputs."""
    made = pv.recipes.vq_vae((1, 8, 8), likelihood="normal", **options(quantiser))
    torch.manual_seed(0)
    with torch.no_grad():
        for part in made.model.modules():
            if isinstance(part, Codebook):
                part.weight.normal_()
        list(made.model.posterior["z"].net.parameters())[-2].mul_(20)
    return made


def losses(made: Recipe, x: Tensor, training: bool = False) -> dict[str, float]:
    """Loss and terms on a copy, which may learn."""
    model = copy.deepcopy(made.model).train(training)
    return {name: value.item() for name, value in made.objective(model, {"x": x}).items()}


# What is a mean of the batch's own statistics, or drawn, is left out.
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("quantiser", ["residual", "grouped", "finite-scalar"])
def test_trap01_the_loss_of_a_batch_is_the_mean_of_its_halves(quantiser: str, training: bool) -> None:
    made, x = small(quantiser), torch.rand(12, 1, 8, 8)
    whole, *halves = (losses(made, batch, training) for batch in (x, x[:6], x[6:]))
    for name, value in whole.items():
        assert value == pytest.approx((halves[0][name] + halves[1][name]) / 2, rel=1e-5), name
    assert losses(made, torch.cat([x, x, x]), training) == pytest.approx(whole, rel=1e-5)


def test_trap01_the_entropies_of_a_batch_do_not_grow_with_it() -> None:
    made, x = small("lookup-free"), torch.rand(12, 1, 8, 8)
    whole, *halves = (losses(made, batch) for batch in (x, x[:6], x[6:]))
    assert losses(made, torch.cat([x, x, x])) == pytest.approx(whole, rel=1e-5)
    for name in ("reconstruction", "commitment", "bound"):
        assert whole[name] == pytest.approx((halves[0][name] + halves[1][name]) / 2, rel=1e-5)
    # concave: the whole uses its codes at least as evenly as its halves do
    assert whole["entropy"] <= (halves[0]["entropy"] + halves[1]["entropy"]) / 2 + 1e-6


@pytest.mark.parametrize("quantiser", ["residual", "grouped", "lookup-free"])
def test_trap07_beta_weighs_the_commitment_alone(quantiser: str) -> None:
    once, thrice = (pv.recipes.vq_vae((1, 8, 8), **options(quantiser, beta=beta)).objective for beta in (0.25, 0.75))
    weights = [{name: each.weight for name, each in made.terms.items()} for made in (once, thrice)]
    assert weights[1].pop("commitment") == pytest.approx(3 * weights[0].pop("commitment"))
    assert weights[0] == weights[1]


@pytest.mark.parametrize("kind", [Residual, Grouped])
def test_trap17_a_word_that_no_stage_uses_stays_where_it_is(kind: type[Residual] | type[Grouped]) -> None:
    torch.manual_seed(0)
    words = kind([Codebook(3, 2, average=True, revive=0.0) for _ in range(2)])
    for stage in words.each:
        stage.weight.copy_(torch.tensor([[0.0, 0], [0.5, 0.5], [70, -60]]))
    for _ in range(60):
        words.quantise(torch.rand(30, words.dim))
    for stage in words.each:
        assert torch.equal(stage.weight[2], torch.tensor([70.0, -60]))
        assert (stage.weight[:2] != torch.tensor([[0.0, 0], [0.5, 0.5]])).any()


@pytest.mark.parametrize("quantiser", [name for name in OTHERS if name != "gumbel"])
def test_trap18_the_costs_are_the_same_in_evaluation_mode(quantiser: str) -> None:
    made, x = small(quantiser), torch.rand(10, 1, 8, 8)
    training, evaluation = (losses(made, x, mode) for mode in (True, False))
    assert training == evaluation
    assert evaluation.get("commitment", 1.0) > 0
    found = validate(made.model, made.objective, made.observe, Split({"x": x}), seed=0)
    assert found == pytest.approx(evaluation, rel=1e-5)


def test_trap18_drawn_codes_cost_the_same_divergence_in_either_mode_and_are_words_in_evaluation() -> None:
    made, x = small("gumbel"), torch.rand(10, 1, 8, 8)
    training, evaluation = (losses(made, x, mode) for mode in (True, False))
    assert training["kl"] == pytest.approx(evaluation["kl"], rel=1e-6)
    model = made.model.eval()
    z = model({"x": x}).latents["z"].z[0]
    words = model.posterior["z"].codebook
    assert torch.equal(words.embed(words.nearest(z)), z)


@pytest.mark.parametrize("kind", [Residual, Grouped])
def test_trap19_a_prior_over_stacked_codes_sums_to_one_and_draws_what_it_says(
    kind: type[Residual] | type[Grouped],
) -> None:
    torch.manual_seed(0)
    words = kind([Codebook(2, 2) for _ in range(2)])
    net = GatedPixelCNN((2, 4), 2, 6, (3, 3)).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    prior = PixelCNNPrior(net, words.double(), (2, 2, 2))({})
    every = torch.cartesian_prod(*[torch.arange(2)] * 8).view(-1, 2, 2, 2)  # [C, h, w]
    with torch.no_grad():
        log_p = prior.log_prob_codes(every)
        assert log_p.exp().sum().item() == pytest.approx(1)
        drawn = prior.sample_codes((4000,))
        counts = (drawn.flatten(1) * 2 ** torch.arange(7, -1, -1)).sum(1).bincount(minlength=256)
        expected = 4000 * log_p.exp()
        large = expected > 20
        assert ((counts - expected) ** 2 / expected)[large].sum() < 1.8 * large.sum() + 20
        assert prior.sample((3,)).shape == (3, words.dim, 2, 2)


def test_trap49_dead_words_of_a_stage_become_what_that_stage_is_given() -> None:
    torch.manual_seed(0)
    words = Residual([Codebook(4, 2, revive=0.5) for _ in range(2)])
    with torch.no_grad():
        words.each[0].weight.copy_(torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]]))
        words.each[1].weight.copy_(torch.tensor([[0.0, 0], [0.1, 0], [90, 90], [80, 70]]))
    for _ in range(60):
        rows = torch.rand(40, 2)
        before = words.each[1].weight.detach().clone()
        law = words.quantise(rows)
        after = words.each[1].weight.detach()
        if not torch.equal(before, after):
            break
    moved = (before != after).any(1)
    assert moved.tolist() == [False, False, True, True]
    left = law.encoded[:, 2:].detach()  # the second stage's, not the encoder's own outputs
    assert all((left == word).all(1).any() for word in after[2:])
    assert len(after[2:].unique(dim=0)) == 2
