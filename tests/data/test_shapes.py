"""Generated pictures: seeded, of the size and place that the factors say, and sprites on the whole grid of factors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyvae.data.sources.shapes import KINDS, shapes
from polyvae.data.sources.sprites import grid

AREA = {"rectangle": 4 * 0.6 / (1 + 0.6**2), "circle": np.pi, "triangle": 3 * np.sqrt(3) / 4}  # at a radius of 1


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(8, 40), st.integers(8, 40), st.integers(0, 9))
def test_any_count_and_size(count, height, width, seed):
    x, y, factors = shapes(count, (height, width), seed)
    assert (x.shape, x.dtype) == ((count, 1, height, width), np.uint8)
    assert (y.shape, y.dtype) == ((count,), np.int64)
    assert (factors.shape, factors.dtype) == ((count, 5), np.float32)
    assert y.min() >= 0
    assert y.max() < len(KINDS)
    assert factors[:, 3].min() >= 0
    assert factors[:, 3].max() < 2 * np.pi
    assert (x.reshape(count, -1).max(1) > 40).all()


def test_the_seed_decides_everything_and_more_pictures_begin_alike():
    first, again, longer, other = shapes(700, 24, 5), shapes(700, 24, 5), shapes(2000, 24, 5), shapes(700, 24, 6)
    for a, b, c, d in zip(first, again, longer, other, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c[:700])
        assert (a != d).any()


@pytest.mark.parametrize("sides", [(64, 64), (56, 96), (80, 64)])
def test_area_grey_level_and_middle_are_those_of_the_factors(sides):
    # A shape cut off by the border would miss its area and its middle.
    x, y, factors = shapes(600, sides, seed=1, noise=0)
    ink = x[:, 0].astype(float) / 255
    grey, radius = factors[:, 4].astype(float), factors[:, 2].astype(float) * min(sides)
    area = ink.sum((1, 2)) / grey
    expected = np.array([AREA[KINDS[kind]] for kind in y]) * radius**2
    assert np.abs(area / expected - 1).max() < 0.06
    np.testing.assert_allclose(ink.max((1, 2)), grey, atol=1 / 255)
    steps = [np.arange(side) + 0.5 for side in sides]
    middle = np.stack([ink.sum(1) @ steps[1], ink.sum(2) @ steps[0]], 1) / ink.sum((1, 2))[:, None]
    place = radius[:, None] + factors[:, :2] * (np.array(sides[::-1]) - 2 * radius[:, None])
    assert np.abs(middle - place).max() < 0.35


def test_rotation_turns_a_rectangle_by_its_angle():
    x, y, factors = shapes(300, 64, seed=3, noise=0)
    down, across = np.mgrid[0:64, 0:64] + 0.5
    for picture, angle in zip(x[y == 0, 0].astype(float), factors[y == 0, 3], strict=True):
        weight = picture / picture.sum()
        u, v = across - (weight * across).sum(), down - (weight * down).sum()
        found = 0.5 * np.arctan2(2 * (weight * u * v).sum(), (weight * (u**2 - v**2)).sum())
        turn = (found - angle + np.pi / 2) % np.pi - np.pi / 2  # a rectangle looks the same after half a turn
        assert abs(turn) < 0.08


def test_the_noise_is_as_strong_as_asked():
    clean, noisy = shapes(200, 32, seed=4, noise=0)[0], shapes(200, 32, seed=4, noise=0.05)[0]
    middle = (clean > 80) & (clean < 180)
    error = (noisy.astype(float) - clean)[middle] / 255
    assert error.std() == pytest.approx(0.05, rel=0.05)
    assert abs(error.mean()) < 0.005


def test_factors_are_independent_and_kinds_equally_frequent():
    _, y, factors = shapes(20000, 8, seed=0, noise=0)
    correlation = np.corrcoef(np.column_stack([factors, y]).T) - np.eye(6)
    assert np.abs(correlation).max() < 4 / np.sqrt(20000)
    assert np.abs(np.bincount(y) / 20000 - 1 / 3).max() < 0.015


def test_impossible_shapes_are_refused():
    for arguments in ({"count": 0}, {"count": 1, "size": 7}, {"count": 1, "noise": -1}):
        with pytest.raises(ValueError, match="shapes wants"):
            shapes(**arguments)


def test_sprites_cover_the_grid_with_y_fastest():
    arrays = grid(2, 3, 4)
    assert arrays["imgs"].shape == (3 * 2 * 3 * 4 * 4, 64, 64)
    assert set(np.unique(arrays["imgs"])) == {0, 1}
    values, classes = arrays["latents_values"], arrays["latents_classes"]
    assert classes.dtype == np.int64
    bases = np.array([1, 3, 2, 3, 4, 4])
    weights = np.append(bases[::-1].cumprod()[::-1][1:], 1)  # as the original's index of a picture
    np.testing.assert_array_equal(classes @ weights, np.arange(len(classes)))
    assert [np.unique(values[:, factor]).tolist() for factor in (0, 1, 2)] == [[1], [1, 2, 3], [0.5, 1]]
    np.testing.assert_allclose(np.unique(values[:, 3]), [0, np.pi, 2 * np.pi])
    np.testing.assert_allclose(np.unique(values[:, 5]), [0, 1 / 3, 2 / 3, 1])


def test_a_sprite_moves_by_whole_pixels_and_is_never_cut():
    arrays = grid(1, 5, 32)
    images, classes = arrays["imgs"].reshape(-1, 32, 32, 64, 64), arrays["latents_classes"]
    assert images.shape[0] == 15
    ink = images.sum((3, 4), dtype=int)
    assert (ink == ink[:, :1, :1]).all()
    for x, y in ((0, 0), (31, 0), (0, 31), (7, 20)):
        moved = np.roll(images[:, 0, 0], (y, x), axis=(1, 2))
        np.testing.assert_array_equal(images[:, x, y], moved)
    assert classes[1].tolist() == [0, 0, 0, 0, 0, 1]


def test_scale_and_orientation_of_sprites():
    images = grid(6, 5, 1)["imgs"].reshape(3, 6, 5, 64, 64)
    area = images.sum((3, 4), dtype=float)
    scale = np.linspace(0.5, 1, 6)
    ratio = area.mean(2) / area.mean(2)[:, -1:]
    np.testing.assert_allclose(ratio, np.broadcast_to(scale**2, (3, 6)), atol=0.06)
    assert np.abs(area[:, -1] / area[:, -1].mean(1, keepdims=True) - 1).max() < 0.05
    np.testing.assert_array_equal(images[:, :, 0], images[:, :, 4])  # 0 and 2 pi are one orientation
    heart = images[2, 5]
    middle = heart[:, :33, :33]  # about (16, 16), the first position
    np.testing.assert_array_equal(middle[1], np.rot90(middle[0], -1))  # clockwise
    assert (heart[1] != heart[3]).any()


def test_sprites_are_written_where_they_are_wanted(tmp_path):
    out = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (3 * 4, 64, 64))
    assert grid(1, 1, 2, out=out)["imgs"] is out
    np.testing.assert_array_equal(out, grid(1, 1, 2)["imgs"])
    with pytest.raises(ValueError, match="out takes"):
        grid(1, 1, 2, out=out[:3])
    with pytest.raises(ValueError, match="at most 32 positions"):
        grid(1, 1, 33)
