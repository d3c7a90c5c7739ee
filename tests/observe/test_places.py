"""Where masks see pixels and how many: exact counts, and the right distributions of counts and of positions."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor

from polyvae.observe.masks import (
    Box,
    Constant,
    Counts,
    Gaussian,
    Given,
    Grid,
    Half,
    Points,
    PowerLaw,
    Share,
    SparsePixels,
    Uniform,
    Where,
    observation,
)
from polyvae.observe.places import nearest_sides, smallest

CPU = torch.device("cpu")


def masks(where: Where, count: Counts | None, batch: int, *shape: int) -> Tensor:
    """Masks of a batch of pictures (C, H, W) or tables (d,)."""
    return SparsePixels(where, count).mask(torch.zeros(batch, *shape))


def chi_square(counts: Tensor, expected: Tensor) -> bool:
    """Whether counts agree with what is expected, where one in a million true ones would not; thin cells are joined."""
    order = expected.argsort(descending=True)
    counts, expected = counts.double()[order], expected.double()[order]
    enough = int((expected >= 5).sum())
    cells, means = counts[:enough].tolist(), expected[:enough].tolist()
    if expected[enough:].sum() > 5:
        cells.append(counts[enough:].sum().item())
        means.append(expected[enough:].sum().item())
    statistic = sum((cell - mean) ** 2 / mean for cell, mean in zip(cells, means, strict=True))
    return statistic < (chi2.isf(1e-6, len(cells) - 1) if len(cells) > 1 else 1e-6)


# How many


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


# Where


@pytest.mark.parametrize("number", [1, 3, 28])
def test_uniform_pixels_are_equally_likely(number: int) -> None:
    torch.manual_seed(2)
    found = masks(Uniform(), Constant(number), 40_000, 1, 5, 7).flatten(1)
    counts, n, places = found.sum(0).double(), number, found.shape[1]
    # Pixels drawn without replacement: the counts' covariance is that of a multinomial times (N - n) / (N - 1) ...
    statistic = ((counts - len(found) * n / places) ** 2 / (len(found) * n / places)).sum()
    assert statistic * (places - 1) / (places - n) < chi2.isf(1e-6, places - 1)
    assert statistic * (places - 1) / (places - n) > chi2.ppf(1e-6, places - 1)  # ... and not even more even


def test_uniform_sets_are_equally_likely() -> None:
    torch.manual_seed(3)
    found = masks(Uniform(), Constant(3), 35_000, 7).bool()
    sets = (found * 2 ** torch.arange(7)).sum(1).bincount(minlength=128)
    possible = torch.tensor([bin(code).count("1") == 3 for code in range(128)])
    assert sets[~possible].sum() == 0
    assert chi_square(sets[possible], torch.full((35,), 1000.0))


def density(height: int, width: int, spread: float) -> Tensor:
    rows = torch.distributions.Normal((height - 1) / 2, spread * height).log_prob(torch.arange(height).double())
    columns = torch.distributions.Normal((width - 1) / 2, spread * width).log_prob(torch.arange(width).double())
    return (rows[:, None] + columns).exp().flatten() / (rows[:, None] + columns).exp().sum()


@pytest.mark.parametrize(("spread", "height", "width"), [(1 / 6, 9, 17), (0.4, 12, 5), (1 / 6, 28, 28)])
def test_one_gaussian_pixel_has_the_density_around_the_centre(spread: float, height: int, width: int) -> None:
    torch.manual_seed(4)
    draws = 60_000
    counts = masks(Gaussian(spread), Constant(1), draws, 1, height, width).sum((0, 1)).flatten()
    assert chi_square(counts, draws * density(height, width, spread))


def test_gaussian_pairs_are_drawn_one_after_the_other_from_what_is_left() -> None:
    torch.manual_seed(5)
    draws, w = 60_000, density(1, 6, 0.3)
    found = masks(Gaussian(0.3), Constant(2), draws, 6).bool()
    pairs = (found * 2 ** torch.arange(6)).sum(1).bincount(minlength=64)
    expected = torch.zeros(64, dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            if i != j:
                expected[2**i + 2**j] += w[i] * w[j] / (1 - w[i])
    assert expected.sum().item() == pytest.approx(1)
    assert pairs[expected == 0].sum() == 0
    assert chi_square(pairs[expected > 0], draws * expected[expected > 0])


def test_gaussian_pixels_spread_by_a_sixth_of_each_side() -> None:
    torch.manual_seed(6)
    found = masks(Gaussian(), Constant(1), 8000, 1, 30, 60)[:, 0]
    rows, columns = found.sum(2).argmax(1).double(), found.sum(1).argmax(1).double()
    assert (rows.mean().item(), columns.mean().item()) == pytest.approx((14.5, 29.5), abs=0.5)
    # A normal of standard deviation side / 6, cut at three of them: 0.987 of it.
    assert (rows.std().item() / 5, columns.std().item() / 10) == pytest.approx((0.987, 0.987), abs=0.03)


def test_a_narrow_gaussian_still_sees_as_many_pixels_as_asked() -> None:
    found = masks(Gaussian(0.001), Constant(150), 50, 1, 30, 20)
    assert found.sum((1, 2, 3)).tolist() == [150] * 50


def test_the_grid_is_even_away_from_the_edges_and_the_same_for_all() -> None:
    found = masks(Grid(16), None, 3, 1, 28, 28)
    assert found[0, 0].nonzero().tolist() == [[i, j] for i in (3, 10, 17, 24) for j in (3, 10, 17, 24)]
    assert torch.equal(found, found[:1].expand(3, -1, -1, -1))
    rows = masks(Grid(16), None, 1, 1, 32, 32)[0, 0].any(1).nonzero().flatten().tolist()
    assert rows == [4, 12, 20, 28]
    assert masks(Grid(100), None, 1, 3, 64, 64)[0, 0].any(0).sum() == 10
    assert masks(Grid((2, 5)), None, 1, 1, 28, 28).sum() == 10
    assert masks(Grid(0.05), None, 1, 1, 28, 28).sum() == 36
    assert masks(Grid(3), None, 1, 7)[0].tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_the_grid_takes_the_images_aspect_ratio() -> None:
    assert nearest_sides(50, 20, 40) == (5, 10)
    assert nearest_sides(50, 40, 20) == (10, 5)
    assert nearest_sides(5, 1, 40) == (1, 5)
    assert nearest_sides(5, 40, 1) == (5, 1)
    assert nearest_sides(20, 28, 28) == (4, 5)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_grid_is_close_to_the_count_and_inside(height: int, width: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, height * width))
    rows, columns = nearest_sides(number, height, width)
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    # One row or one column more or less than the even spacing.
    assert abs(rows * columns - number) <= max(rows, columns)
    places = Grid(number).pixels(height, width)
    assert len(set(places)) == rows * columns
    lines = sorted({place // width for place in places})
    gaps = [later - earlier for earlier, later in pairwise(lines)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert abs(lines[0] - (height - 1 - lines[-1])) <= 1


def test_points_see_their_positions() -> None:
    found = masks(Points([[0, 4], [2, 1]]), None, 2, 3, 3, 5)
    assert found[0, 0].nonzero().tolist() == [[0, 4], [2, 1]]
    assert torch.equal(found[0], found[1])
    assert masks(Points([4, 1]), None, 1, 5)[0].tolist() == [0, 1, 0, 0, 1]
    assert Points(torch.tensor([[0, 4], [2, 1]])) == Points(((0, 4), (2, 1)))


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ("left", [[1, 0, 0]] * 2),
        ("right", [[0, 0, 1]] * 2),
        ("top", [[1] * 3, [0] * 3]),
        ("bottom", [[0] * 3, [1] * 3]),
    ],
)
def test_halves(side: str, expected: list) -> None:
    assert masks(Half(side), None, 1, 1, 2, 3)[0, 0].tolist() == expected
    assert torch.equal(observation(side).mask(torch.zeros(1, 1, 2, 3)), masks(Half(side), None, 1, 1, 2, 3))


def test_a_box_lies_at_every_place_equally_often() -> None:
    torch.manual_seed(7)
    found = masks(Box((2, 3)), None, 24_000, 1, 5, 6)[:, 0]
    assert (found.sum((1, 2)) == 6).all()
    top, left = found.any(2).float().argmax(1), found.any(1).float().argmax(1)
    assert (found[torch.arange(24_000), top + 1, left + 2] == 1).all()
    assert chi_square((top * 4 + left).bincount(minlength=16), torch.full((16,), 1500.0))
    fixed = masks(Box((2, 3), (1, 2)), None, 1, 1, 5, 6)[0, 0]
    assert fixed.nonzero().tolist() == [[i, j] for i in (1, 2) for j in (2, 3, 4)]
    assert masks(Box(0.25), None, 1, 1, 28, 28).sum() == 196
    assert masks(Box(3), None, 1, 8).sum() == 3


def test_masks_of_ones_own() -> None:
    one = torch.tensor([[1, 0, 0], [0, 0, 1]])
    several = torch.stack([one, 1 - one])[:, None]
    for mask in (one, one.bool(), one[None], one.double()[None, None]):
        assert torch.equal(masks(Given(mask), None, 2, 3, 2, 3), one.float().expand(2, 1, 2, 3))
    assert torch.equal(masks(Given(several), None, 2, 1, 2, 3), several.float())
    rows = torch.tensor([[1, 0, 1], [0, 0, 1]])
    assert torch.equal(masks(Given(rows), None, 2, 3), rows.float())
    assert torch.equal(masks(Given(rows[0]), None, 2, 3), rows[:1].float().expand(2, 3))


FIXED = [Grid(12), Points([[0, 0], [3, 8], [5, 1], [2, 2]]), Half("right"), Box((3, 4)), Box((3, 4), (1, 1))]


@pytest.mark.parametrize("where", [*FIXED, Given(torch.ones(6, 9)), Given((torch.arange(54) % 3 == 0).view(6, 9))])
def test_a_count_takes_a_random_part_of_the_places(where: Where) -> None:
    torch.manual_seed(8)
    whole = where.places(6, 9)
    found = masks(where, Constant(2), 2000, 1, 6, 9)
    assert (found.sum((1, 2, 3)) == 2).all()
    if not isinstance(where, Box) or where.place:
        places = where.area(1, 6, 9, CPU)[0]
        counts = found.flatten(1).sum(0)
        assert counts[~places].sum() == 0
        assert chi_square(counts[places], torch.full((whole,), 4000 / whole))
    assert masks(where, Share(1.0), 3, 1, 6, 9).sum((1, 2, 3)).tolist() == [whole] * 3
    assert masks(where, PowerLaw(1.5), 200, 1, 6, 9).sum((1, 2, 3)).unique().numel() >= min(whole, 4)


# Exactly as many


SHAPES = st.one_of(st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)), st.tuples(st.integers(1, 40)))


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
