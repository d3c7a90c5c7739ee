"""Counts, bins and the stack: whole numbers that sum as they should, and bits that come back."""

from __future__ import annotations

from math import log2

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from polyvae.compression.scalars import Normals
from polyvae.compression.stack import Stack
from polyvae.compression.tables import BINS, PRECISION, counts, edges, even, middle

WHOLE = 2**PRECISION
SHARE = st.one_of(st.just(0.0), st.floats(1e-300, 1.0), st.just(float("nan")))


def words(number: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**32, number, dtype=np.uint32)


@given(st.integers(2, 40).flatmap(lambda size: st.lists(st.lists(SHARE, min_size=size, max_size=size), min_size=1)))
@settings(max_examples=50, deadline=None)
def test_counts_of_any_row_sum_to_the_precision_with_none_at_zero(rows: list[list[float]]) -> None:
    found = counts(torch.tensor(rows, dtype=torch.float64))
    assert (found.sum(1) == WHOLE).all()
    assert found.min() >= 1


def test_counts_are_the_probabilities_to_their_precision() -> None:
    torch.manual_seed(0)
    p = torch.rand(20, 256, dtype=torch.float64).softmax(1)
    assert np.abs(counts(p) / WHOLE - p.numpy()).max() < 257 / WHOLE
    assert (counts(even(3, 256)) == WHOLE // 256).all()


@given(st.integers(0, 10**6), st.integers(2, 300), st.sampled_from([0.01, 0.1, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_pop_is_the_interval_of_the_state_and_a_push_undoes_it(seed: int, symbols: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    table = counts(torch.from_numpy(rng.dirichlet(np.full(symbols, spread))[None]))
    stack, start = Stack(words(8, seed)), words(8, seed)
    _, state = stack._coder.pos()
    (symbol,) = stack.pop(table)
    ends = np.concatenate([[0], table[0].cumsum()])
    assert ends[symbol] <= state % WHOLE < ends[symbol + 1]
    left = (state >> PRECISION) * int(table[0, symbol]) + state % WHOLE - int(ends[symbol])
    assert stack._coder.pos()[1] == (left if left >= 2**32 else left << 32 | int(start[5]))
    stack.push(np.array([symbol]), table)
    assert (stack.words == start).all()


def test_a_push_costs_minus_log_of_the_count_however_the_table_lies_in_memory() -> None:
    rng = np.random.default_rng(0)
    table = counts(torch.from_numpy(rng.dirichlet(np.full(50, 0.1), 2000)))
    symbols = rng.integers(0, 50, 2000)
    cost = -np.log2(table[np.arange(2000), symbols] / WHOLE).sum()
    for laid in (table, np.asfortranarray(table)):
        stack = Stack(words())
        before = stack.bits
        stack.push(symbols, laid)
        assert abs(stack.bits - before - cost) < 2
        assert (stack.pop(laid) == symbols).all()
        assert (stack.words == words()).all()


def test_only_the_words_that_were_popped_are_touched() -> None:
    stack = Stack(words(100))
    stack.pop(counts(even(40, 256)))
    stack.push(np.zeros(4000, np.int64), counts(even(4000, 256)))
    assert 100 - 40 * 8 // 32 - 3 <= stack.untouched <= 100 - 40 * 8 // 32
    assert (stack.words[: stack.untouched] == words(100)[: stack.untouched]).all()


def test_bins_of_a_prior_have_equal_mass_and_a_posterior_has_its_own_in_them() -> None:
    prior, posterior = (
        Normals(torch.tensor([0.3], dtype=torch.float64), torch.tensor([1.7], dtype=torch.float64)),
        Normals(torch.tensor([0.9], dtype=torch.float64), torch.tensor([0.2], dtype=torch.float64)),
    )
    first = edges(torch.zeros(1, dtype=torch.int64), 0)
    assert torch.allclose(prior.below(prior.at(first)).diff(dim=1), torch.tensor(1 / 256, dtype=torch.float64))
    coarse = posterior.below(prior.at(first)).diff(dim=1)[0]
    every = torch.arange(256)
    fine = posterior.below(prior.at(edges(every, 1))).diff(dim=1)
    assert torch.allclose(fine.sum(1), coarse, atol=1e-15)
    ends = prior.at((torch.arange(BINS + 1, dtype=torch.float64) / BINS)[None])
    mass = posterior.below(ends).diff(dim=1)[0]
    assert torch.allclose(fine.flatten(), mass, atol=1e-15)
    assert abs(mass.sum() - 1) < 1e-12
    # The bins' own divergence is the continuous one, but for what is lost within a bin.
    kl = (mass * (mass * BINS).clamp(min=1e-300).log()).sum()
    assert torch.isclose(kl, torch.distributions.kl_divergence(Normal(0.9, 0.2), Normal(0.3, 1.7)).double(), atol=1e-3)
    assert float(prior.below(prior.at(middle(torch.tensor([[7]]))))) * BINS == 7.5
    assert log2(BINS) == 16
