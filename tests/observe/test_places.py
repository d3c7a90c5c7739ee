"""Where masks see pixels: even, with the right distribution, and at the places that are asked for."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor

from helpers.observing import chi_square, masks
from polyvae.observe.masks import (
    Box,
    Constant,
    Gaussian,
    Given,
    Grid,
    Half,
    Points,
    PowerLaw,
    Share,
    Uniform,
    Where,
    observation,
)
from polyvae.observe.places import nearest_sides

CPU = torch.device("cpu")


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
