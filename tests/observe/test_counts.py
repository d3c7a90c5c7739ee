"""How many pixels masks see: exact counts, and counts drawn with the right distribution."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.observing import chi_square, masks
from polyvae.observe.masks import Box, Constant, Gaussian, Grid, PowerLaw, Share, Uniform, Where
from polyvae.observe.places import smallest

CPU = torch.device("cpu")
SHAPES = st.one_of(st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)), st.tuples(st.integers(1, 40)))


@pytest.mark.parametrize("exponent", [0.5, 1, 20, 40])
@pytest.mark.parametrize("places", [1, 10, 784])
def test_power_law_counts_follow_their_exact_distribution(exponent: float, places: int) -> None:
    torch.manual_seed(0)
    draws = 60_000
    numbers = PowerLaw(exponent).draw(draws, places, CPU)
    assert numbers.dtype == torch.int64
    assert 0 <= numbers.min() <= numbers.max() <= PowerLaw(exponent).most(places) <= places
    k = torch.arange(places + 1, dtype=torch.float64)
    below = 1 - (1 - (k + 1) / places).clamp(min=0) ** exponent  # P(n <= k)
    probabilities = below.diff(prepend=torch.zeros(1, dtype=torch.float64))
    counts = numbers.bincount(minlength=places + 1)
    assert counts[probabilities == 0].sum() == 0  # n = N has probability zero
    assert chi_square(counts[:places], draws * probabilities[:places])


@pytest.mark.parametrize("exponent", [1, 20, 40, 60])
def test_the_power_law_has_its_mean_and_reaches_the_empty_mask(exponent: int) -> None:
    torch.manual_seed(1)
    counts = masks(Uniform(), PowerLaw(exponent), 20_000, 1, 16, 16).sum((1, 2, 3))
    expected = sum((1 - k / 256) ** exponent for k in range(1, 256))  # the sum of P(n >= k)
    assert abs(expected - (256 / (exponent + 1) - 0.5)) < 0.02 * exponent
    assert counts.mean().item() == pytest.approx(expected, abs=5 * counts.std().item() / math.sqrt(len(counts)))
    assert (counts == 0).any()
    assert counts.unique().numel() > 20


def test_the_power_laws_bound_holds_at_the_smallest_draw(monkeypatch) -> None:
    for exponent in (0.1, 1, 17.3, 20, 60, 1000):
        for places in (1, 7, 784, 3_000_000):
            with monkeypatch.context() as patch:
                # The largest number below one: u = 2^-24.
                patch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1 - 2**-24))
                reached = PowerLaw(exponent).draw(1, places, CPU).item()
            formula = -places * math.expm1(-24 * math.log(2) / exponent)
            assert reached == pytest.approx(formula, abs=1 + 1e-6 * places)
            assert reached <= PowerLaw(exponent).most(places) <= places


def test_shares_and_constants() -> None:
    assert [Share(share).most(784) for share in (0, 0.05, 0.5, 1)] == [0, 39, 392, 784]
    assert Constant(40).draw(3, 784, CPU).tolist() == [40, 40, 40]
    assert masks(Uniform(), Share(0.05), 5, 3, 20, 40).sum((1, 2, 3)).tolist() == [40] * 5


@settings(max_examples=150, deadline=None)
@given(SHAPES, st.sampled_from([Uniform(), Gaussian(), Gaussian(0.01)]), st.integers(1, 6), st.data())
def test_counts_are_exact_and_without_repeats(shape: tuple, where: Where, batch: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, math.prod(shape[-2:])))
    found = masks(where, Constant(number), batch, *shape)
    assert found.shape == (batch, *((1, *shape[1:]) if len(shape) == 3 else shape))
    assert ((found == 0) | (found == 1)).all()
    assert (found.flatten(1).sum(1) == number).all()


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from([Uniform(), Gaussian(), Grid(0.4), Box(0.4)]), st.floats(0.2, 80), st.integers(0, 999))
def test_drawn_counts_are_kept_exactly(shape: tuple, where: Where, exponent: float, seed: int) -> None:
    law = PowerLaw(exponent)
    height, width = (1, shape[0]) if len(shape) == 1 else shape[1:]
    torch.manual_seed(seed)
    numbers = law.draw(5, where.places(height, width), CPU)
    torch.manual_seed(seed)
    found = masks(where, law, 5, *shape)
    assert torch.equal(found.flatten(1).sum(1).long(), numbers)


def test_ties_among_keys_change_no_count() -> None:
    numbers = torch.tensor([0, 1, 5, 12])
    for keys in (torch.zeros(4, 12), torch.full((4, 12), math.inf), torch.tensor([1.0, 0.0]).repeat(4, 6)):
        assert smallest(keys, numbers, 12).sum(1).tolist() == numbers.tolist()
    assert smallest(torch.rand(4, 12), torch.zeros(4).long(), 0).sum() == 0


def test_the_bound_gives_the_same_masks_as_the_largest_count() -> None:
    keys = torch.rand(50, 30, generator=torch.Generator().manual_seed(9))
    numbers = torch.arange(50) % 12
    assert torch.equal(smallest(keys, numbers, 11), smallest(keys, numbers, 30))
    expected = keys.argsort(1).argsort(1) < numbers[:, None]
    assert torch.equal(smallest(keys, numbers, 11), expected.float())


def test_an_empty_batch_and_an_empty_mask() -> None:
    assert masks(Uniform(), PowerLaw(3), 0, 1, 4, 5).shape == (0, 1, 4, 5)
    assert masks(Uniform(), Constant(0), 2, 1, 4, 5).sum() == 0
    assert masks(Uniform(), None, 2, 1, 4, 5).sum() == 40
