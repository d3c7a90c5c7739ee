"""Finite scalar and lookup-free codes: every code reached, integers there and back, rounding and its gradient."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvae.model.posteriors import FiniteScalar, LookupFree

LEVELS = st.lists(st.integers(3, 8), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(levels=LEVELS)
def test_integers_go_to_words_and_back_and_no_two_are_alike(levels: list[int]) -> None:
    words = FiniteScalar(levels)
    codes = torch.arange(words.size)
    assert words.size == prod(levels)
    vectors = words.embed(codes)
    assert torch.equal(words.nearest(vectors), codes)
    assert len(vectors.unique(dim=0)) == words.size
    # every channel has its own levels, evenly spaced within [-1, 1] and zero among them
    for place, count in enumerate(levels):
        values = vectors[:, place].unique()
        steps = (torch.arange(count) - count // 2) / (count // 2)
        torch.testing.assert_close(values, steps)
    # the first channel is the smallest digit
    digits = (
        (vectors * torch.tensor([n // 2 for n in levels])).round() + torch.tensor([n // 2 for n in levels])
    ).long()
    steps = torch.tensor([prod(levels[:place]) for place in range(len(levels))])
    assert torch.equal((digits * steps).sum(1), codes)


@settings(max_examples=20, deadline=None)
@given(levels=st.lists(st.integers(3, 8), min_size=1, max_size=2))
def test_every_code_is_reached_and_none_beyond(levels: list[int]) -> None:
    words = FiniteScalar(levels).eval().double()
    line = torch.linspace(-4, 4, 81, dtype=torch.float64)
    grid = torch.cartesian_prod(*[line] * len(levels)).view(-1, len(levels))
    law = words.quantise(grid)
    assert torch.equal(law.codes.unique(), torch.arange(words.size))
    assert law.codes.min() >= 0
    # the nearest word to what is bounded, by brute force
    some = torch.randperm(len(grid))[:200]
    best = torch.cdist(law.encoded[some], words.weight).min(1).values
    torch.testing.assert_close((law.encoded - law.vectors)[some].norm(dim=1), best)
    assert not words.quantise(torch.zeros(1, len(levels), dtype=torch.float64)).mean.any()  # zero stays zero


def test_the_bound_is_a_tanh_shifted_for_even_levels_and_rounding_passes_its_gradient() -> None:
    words = FiniteScalar([5, 4]).eval().double()
    e = torch.randn(7, 2, 3, dtype=torch.float64, requires_grad=True)
    law = words.quantise(e)
    assert torch.equal(law.mean, law.vectors)
    assert torch.equal(law.mean, words.embed(law.codes))
    slope = torch.randn_like(e)
    found = torch.autograd.grad((law.mean * slope).sum(), e)[0]
    odd, even = 0.999 * 2, 0.999 * 1.5
    one, two = e.detach().unbind(1)
    shift = torch.atanh(torch.tensor(0.5 / even, dtype=torch.float64))
    bounded = torch.stack([odd * one.tanh() / 2, (even * (two + shift).tanh() - 0.5) / 2], 1)
    torch.testing.assert_close(law.encoded, bounded)
    grad = torch.stack([odd * (1 - one.tanh() ** 2) / 2, even * (1 - (two + shift).tanh() ** 2) / 2], 1)
    torch.testing.assert_close(found, slope * grad)
    values = (law.vectors * 2).round()
    torch.testing.assert_close(values, torch.stack([(bounded * 2)[:, 0].round(), (bounded * 2)[:, 1].round()], 1))


def test_two_levels_are_refused_and_so_are_bits_beyond_what_is_listed() -> None:
    for levels in ([], [2], [5, 2]):
        with pytest.raises(ValueError, match="levels are at least 3"):
            FiniteScalar(levels)
    for dim in (0, 19):
        with pytest.raises(ValueError, match="1 to 18 bits"):
            LookupFree(dim)


@pytest.mark.parametrize("dim", [1, 3, 6])
def test_lookup_free_codes_are_the_signs_as_bits(dim: int) -> None:
    words = LookupFree(dim).eval().double()
    codes = torch.arange(2**dim)
    vectors = words.embed(codes)
    signs = torch.tensor(list(product([-1.0, 1.0], repeat=dim)), dtype=torch.float64).flip(1)
    assert torch.equal(vectors, signs)
    assert torch.equal(words.nearest(vectors), codes)
    e = torch.randn(50, dim, 2, dtype=torch.float64, requires_grad=True)
    law = words.quantise(e)
    assert torch.equal(law.mean, torch.where(e > 0, 1.0, -1.0).double())
    best = torch.cdist(e.detach().movedim(1, 2).reshape(-1, dim), vectors).argmin(1)  # which no table was asked for
    assert torch.equal(law.codes.flatten(), best)
    slope = torch.randn_like(e)
    assert torch.equal(torch.autograd.grad((law.mean * slope).sum(), e)[0], slope)


@pytest.mark.parametrize("words", [FiniteScalar([4, 5]), LookupFree(4)])
def test_nothing_is_learned_but_the_use_which_training_alone_counts(words: FiniteScalar | LookupFree) -> None:
    assert not list(words.parameters())
    assert set(words.state_dict()) == {"tally.seen"}
    encoded = torch.randn(40, words.dim, 3)
    words.eval().quantise(encoded)
    assert not words.tally.seen.any()
    law = words.train().quantise(encoded)
    assert torch.equal(words.tally.seen, law.codes.flatten().bincount(minlength=words.size))
    found = words.tally.epoch_values()
    assert found["usage"] == len(law.codes.unique()) / words.size
    assert 1 < found["perplexity"] <= words.size
    assert not words.tally.seen.any()
    words.tally.counted = 0  # a process whose share of the batch is none
    words.quantise(encoded)
    assert not words.tally.seen.any()
