"""Pictures side by side, pixel by pixel."""

import numpy as np
import pytest

from helpers.figures import read
from polyvae import figures
from polyvae.figures.kinds import Samples


@pytest.mark.parametrize(
    ("channels", "colour"), [(1, (0.5,) * 3), (2, (0.5, 0.5, 0.0)), (3, (0.5,) * 3), (5, (0.5,) * 3)]
)
def test_montage_places_every_picture_with_its_gap(channels, colour):
    pictures = np.full((2, 3, channels, 4, 5), 0.5, dtype=np.float32)
    whole = figures.montage(pictures, gap=2)
    assert whole.shape == (2 * 6 + 2, 3 * 7 + 2, 3)
    np.testing.assert_allclose(whole[2:6, 9:14], np.broadcast_to(colour, (4, 5, 3)))
    assert np.all(whole[6:8] == 1)


def test_montage_takes_pictures_only():
    with pytest.raises(ValueError, match="rows, columns"):
        figures.montage(np.zeros((3, 4)))


def test_saved_montage_holds_the_bytes_of_the_pictures(tmp_path):
    pictures = np.random.default_rng(0).random((2, 2, 1, 4, 5), dtype=np.float32)
    path = figures.save_montage(tmp_path / "deep" / "grid.png", pictures, scale=3, gap=1)
    shown = read(path)
    first = figures.to_bytes(pictures[0, 0, 0]).repeat(3, 0).repeat(3, 1)
    assert np.array_equal(shown[3:15, 3:18, 0], first)
    assert [file.name for file in path.parent.iterdir()] == ["grid.png"]


def test_a_drawn_grid_holds_the_bytes_of_the_pictures_too(tmp_path):
    pictures = np.zeros((1, 2, 1, 30, 30), dtype=np.float32)
    pictures[0, 1, 0, 10:20, 10:20] = 100 / 255
    shown = read(figures.draw(Samples(pictures), tmp_path / "grid.png", "Title"))[44:]  # below the title
    assert int((shown == 100).all(-1).sum()) == (10 * 4) ** 2
    assert int((shown == 0).all(-1).sum()) == 2 * (30 * 4) ** 2 - (10 * 4) ** 2
