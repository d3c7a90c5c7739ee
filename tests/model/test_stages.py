"""Residual and grouped codebooks: against brute force, one of them against the codebook alone, costs and gradients."""

from __future__ import annotations

import copy
from itertools import product
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import kl_divergence

from polyvae.model.distributions.codes import UniformCodes
from polyvae.model.posteriors import Codebook, Grouped, Residual
from polyvae.model.priors.uniform import UniformPrior

Several = type[Residual] | type[Grouped]


def several(kind: Several, depth: int = 2, size: int = 4, dim: int = 2, seed: int = 0, **options: float) -> Residual:
    torch.manual_seed(seed)
    made = kind([Codebook(size, dim, **options) for _ in range(depth)]).double()
    with torch.no_grad():
        for place, words in enumerate(made.each):
            words.weight.normal_(std=2.0**-place)
    return made


@settings(max_examples=25, deadline=None)
@given(depth=st.integers(1, 3), size=st.integers(2, 5), rest=st.lists(st.integers(1, 3), max_size=2))
def test_each_stage_takes_the_word_nearest_to_what_is_left(depth: int, size: int, rest: list[int]) -> None:
    words = several(Residual, depth, size).eval()
    encoded = torch.randn(3, 2, *rest, dtype=torch.float64)
    law = words.quantise(encoded)
    assert law.codes.shape == (3, depth, *rest)
    rows = encoded.movedim(1, -1).reshape(-1, 2)
    left, total = rows.clone(), torch.zeros_like(rows)
    for place, stage in enumerate(words.each):
        best = torch.cdist(left, stage.weight).argmin(1)
        assert torch.equal(best, law.codes[:, place].flatten())
        total, left = total + stage.weight[best], left - stage.weight[best]
    z = law.mean.movedim(1, -1).reshape(-1, 2)
    torch.testing.assert_close(z, total)
    assert torch.equal(words.embed(law.codes), law.mean)
    # the costs' sides are those of every stage, and their last gap is what the whole leaves
    assert law.encoded.shape == (3, 2 * depth, *rest)
    torch.testing.assert_close((law.encoded - law.vectors)[:, -2:], encoded - law.mean)


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from([Residual, Grouped]), depth=st.integers(1, 3), size=st.integers(2, 4))
def test_the_nearest_of_all_sums_or_rows_of_words_is_found_by_brute_force(kind: Several, depth: int, size: int) -> None:
    words = several(kind, depth, size).eval()  # 4 * 4 at most before the last stage: the beam drops none
    codes = torch.tensor(list(product(range(size), repeat=depth)))
    every = words.embed(codes)
    encoded = torch.randn(20, words.dim, dtype=torch.float64)
    found = words.embed(words.nearest(encoded))
    torch.testing.assert_close((encoded - found).norm(dim=1), torch.cdist(encoded, every).min(1).values)
    torch.testing.assert_close(words.embed(words.nearest(every)), every)  # and every word is found again


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("rotation", [False, True])
@pytest.mark.parametrize("kind", [Residual, Grouped])
def test_one_codebook_is_that_codebook_to_the_last_bit(
    kind: Several, training: bool, average: bool, rotation: bool
) -> None:
    torch.manual_seed(0)
    alone = Codebook(6, 3, average, rotation=rotation).train(training)
    one = kind([copy.deepcopy(alone)]).train(training)
    encoded = torch.randn(9, 3, 4)
    torch.manual_seed(1)
    alone.start(encoded)
    torch.manual_seed(1)
    one.start(encoded)
    gradients = []
    for words in (alone, one):
        torch.manual_seed(2)
        e = encoded.clone().requires_grad_()
        law = words.quantise(e)
        slopes = [torch.autograd.grad(law.mean.sin().sum(), e, retain_graph=True)[0]]
        slopes += torch.autograd.grad((law.encoded - law.vectors).square().sum(), e)
        gradients.append((law.mean, law.codes.flatten(), law.vectors, *slopes))
    for mine, theirs in zip(*gradients, strict=True):
        assert torch.equal(mine, theirs)
    assert all(torch.equal(a, b) for a, b in zip(alone.state_dict().values(), one.state_dict().values(), strict=True))
    if training:
        assert alone.epoch_values() == one.epoch_values()


def test_groups_are_codebooks_of_their_own_channels() -> None:
    words = several(Grouped, 3, 5, 2).eval()
    encoded = torch.randn(4, 6, 2, dtype=torch.float64)
    law = words.quantise(encoded)
    for place, (part, stage) in enumerate(zip(encoded.chunk(3, 1), words.each, strict=True)):
        assert torch.equal(law.codes[:, place], stage.nearest(part))
        assert torch.equal(law.mean.chunk(3, 1)[place], stage.embed(law.codes[:, place]))
    with pytest.raises(ValueError, match="as many words of one length"):
        Grouped([Codebook(4, 2), Codebook(5, 2)])


@pytest.mark.parametrize("kind", [Residual, Grouped])
def test_the_gradient_of_z_reaches_the_encoder_once_and_no_word(kind: Several) -> None:
    words = several(kind, 3).eval()
    encoded = torch.randn(4, words.dim, 2, dtype=torch.float64, requires_grad=True)
    law = words.quantise(encoded)
    slope = torch.randn_like(encoded)
    (law.mean * slope).sum().backward()
    assert torch.equal(encoded.grad, slope)  # not a multiple by the number of stages
    assert all(stage.weight.grad is None for stage in words.each)


def test_a_stage_s_costs_move_its_own_words_and_the_encoder_alone() -> None:
    words = several(Residual, 3).eval()
    encoded = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    law = words.quantise(encoded)
    gaps = (law.encoded.detach() - law.vectors).square().chunk(3, 1)
    for place, gap in enumerate(gaps):
        found = torch.autograd.grad(gap.sum(), [s.weight for s in words.each], allow_unused=True, retain_graph=True)
        assert [grad is not None and bool(grad.any()) for grad in found] == [place == each for each in range(3)]
    commitment = (law.encoded - law.vectors.detach()).square().sum()
    left = sum((law.encoded - law.vectors).chunk(3, 1)).detach()
    torch.testing.assert_close(torch.autograd.grad(commitment, encoded)[0], 2 * left)


@pytest.mark.parametrize("kind", [Residual, Grouped])
def test_uniform_codes_count_every_integer_of_a_place(kind: Several) -> None:
    words = several(kind, 3, 4, 2).eval()
    prior = UniformPrior(words, (3, 2, 5))({})
    assert isinstance(prior, UniformCodes)
    assert prior.event_shape == (words.dim, 2, 5)
    law = words.quantise(torch.randn(6, words.dim, 2, 5, dtype=torch.float64))
    kl = kl_divergence(law, prior)
    torch.testing.assert_close(kl, torch.full((6,), 3 * 10 * log(4), dtype=torch.float64))
    drawn = prior.sample((7,))
    assert drawn.shape == (7, words.dim, 2, 5)
    torch.testing.assert_close(prior.log_prob(drawn), -kl[:1].expand(7))


def test_k_means_starts_each_stage_where_the_one_before_it_ends() -> None:
    torch.manual_seed(0)
    words = Residual([Codebook(4, 2), Codebook(4, 2)])
    rows: Tensor = torch.randn(400, 2)
    words.start(rows)
    gaps = [(rows - words.each[0].embed(words.each[0].nearest(rows))).norm(dim=1), (rows - words.quantise(rows).mean)]
    assert gaps[1].norm(dim=1).mean() < 0.7 * gaps[0].mean()
    words.train()
    for _ in range(3):
        words.quantise(rows)
    told = words.epoch_values()
    assert 2 < told["perplexity"] <= 4
    assert told["usage"] == 1
    assert words.epoch_values() == {"perplexity": 1.0, "usage": 0.0}  # begun anew
