"""Mistakes of published code in drawing observations, each a test that fails on it; the number is the trap's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.observe.masks import Constant, Gaussian, PowerLaw, SparsePixels, Uniform, observation, split_observation

EXPONENTS = (20.0, 30.0, 40.0, 50.0, 60.0)


def observed_counts(transform: pv.recipes.Recipe | SparsePixels, pictures: int = 4000) -> Tensor:
    """How many pixels each of 28 x 28 pictures sees, as the mask in m says."""
    observe = transform.observe if isinstance(transform, pv.recipes.Recipe) else transform
    m = observe({"x": torch.zeros(pictures, 1, 28, 28)})["m"]
    return split_observation(m, 1)[1].sum((1, 2, 3))


def check_exponents_differ(counts: dict[float, Tensor]) -> None:
    for exponent, found in counts.items():
        # The mean of floor(N (1 - u^(1/a))) is the sum of P(n >= k) = (1 - k / N)^a.
        expected = sum((1 - k / 784) ** exponent for k in range(1, 784))
        error = found.std().item() / math.sqrt(len(found))
        assert found.mean().item() == pytest.approx(expected, abs=5 * error)
        for other, theirs in counts.items():
            if other != exponent:
                assert abs(found.mean() - theirs.mean()).item() > 4 * error


@pytest.mark.parametrize("mask", ["uniform", "gaussian"])
def test_trap32_every_exponent_gives_other_counts(mask: str) -> None:
    torch.manual_seed(0)
    check_exponents_differ({a: observed_counts(observation(mask, exponent=a), 40_000) for a in EXPONENTS})


@pytest.mark.parametrize("mask", ["uniform", "gaussian"])
def test_trap32_the_exponent_given_to_a_recipe_reaches_its_masks(mask: str) -> None:
    torch.manual_seed(1)
    made = {
        a: pv.recipes.multitask(pv.Spec((1, 28, 28)), decoders=1, mask=mask, exponent=a, network="mlp", widths=(2,))
        for a in EXPONENTS
    }
    check_exponents_differ({a: observed_counts(recipe, 40_000) for a, recipe in made.items()})


def test_trap32_a_count_given_is_the_count_seen() -> None:
    for count, expected in ((1, 1), (40, 40), (0.05, 39), (0.5, 392)):
        for mask in ("uniform", "gaussian"):
            assert (observed_counts(observation(mask, count), 50) == expected).all()


@pytest.mark.parametrize("where", [Uniform(), Gaussian(), Gaussian(0.02)])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (6, 50), (50, 6), (1, 30)])
def test_trap33_as_many_different_pixels_as_asked(where: Uniform | Gaussian, height: int, width: int) -> None:
    torch.manual_seed(2)
    x = torch.rand(100, 2, height, width) + 1  # so that what is seen is never zero
    for number in (1, height * width // 2, height * width):
        m = SparsePixels(where, Constant(number))({"x": x})["m"]
        assert m.shape == (100, 3, height, width)
        for channel in m.unbind(1):
            assert (channel.count_nonzero((1, 2)) == number).all()


@pytest.mark.parametrize("where", [Uniform(), Gaussian(0.5)])
@pytest.mark.parametrize(("height", "width"), [(4, 20), (20, 4)])
def test_trap33_coordinates_cover_both_axes_of_images_that_are_not_square(
    where: Uniform | Gaussian, height: int, width: int
) -> None:
    torch.manual_seed(3)
    found = SparsePixels(where, Constant(5)).mask(torch.zeros(4000, 1, height, width))[:, 0]
    assert (found.sum((1, 2)) == 5).all()
    assert (found.sum(0) > 0).all()  # every row with every column
    for axis, side in ((2, height), (1, width)):
        lines = found.sum((0, axis))
        assert len(lines) == side
        assert lines.sum() == 4000 * 5
        torch.testing.assert_close(lines, lines.flip(0), rtol=0.2, atol=0)  # as many on either side of the centre


@pytest.mark.parametrize("mask", ["grid", "box", "left", "bottom", "uniform", "gaussian"])
def test_trap33_no_mask_is_transposed_or_cut(mask: str) -> None:
    torch.manual_seed(4)
    x = torch.rand(64, 1, 6, 18)
    number = observation(mask).where.places(6, 18) if mask not in ("uniform", "gaussian") else 5
    assert (observation(mask).mask(x).sum((1, 2, 3)) == number).all()
    law = SparsePixels(observation(mask).where, PowerLaw(0.3))  # nearly all places
    rows, columns = (law.mask(x).sum(axes).count_nonzero() for axes in ((0, 1, 3), (0, 1, 2)))
    expected = {"grid": (1, 4), "left": (6, 9), "bottom": (3, 18)}.get(mask, (6, 18))
    assert (rows, columns) == expected
