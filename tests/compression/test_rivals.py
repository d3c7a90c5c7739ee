"""How small others make the same pictures: each as they would be kept, and all at once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from polyvae.compression.rivals import _WEBP_ROWS, _strips, rivals


def size(pixels: np.ndarray) -> int:
    """Of pixels [H, W] or [H, W, 3] as a lossless WebP file of the most effort."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=100, method=6)
    return file.tell()


@pytest.mark.parametrize(("channels", "levels"), [(1, 256), (3, 256), (1, 2), (1, 17)])
def test_a_strip_of_all_pictures_is_smaller_than_a_file_of_each(channels: int, levels: int) -> None:
    waves = np.random.default_rng(0).normal(size=(30, channels, 9, 12)).cumsum(2).cumsum(3)
    symbols = np.rint((levels - 1) * (waves - waves.min()) / np.ptp(waves)).astype(np.int64)
    found = rivals(symbols, levels)
    assert found["webp_strip"] < found["webp"]
    pixels = np.rint(symbols * (255 / (levels - 1))).astype(np.uint8).transpose(0, 2, 3, 1)
    strip = pixels.reshape(30 * 9, 12, channels)
    assert found["webp_strip"] == size(strip if channels == 3 else strip[..., 0])


def test_strips_hold_each_picture_once_within_what_webp_takes() -> None:
    pixels = np.arange(1000 * 3 * 40 * 2, dtype=np.uint8).reshape(1000, 3, 40, 2)
    strips = list(_strips(pixels))
    assert [each.shape[1] for each in strips] == [16360, 16360, 7280]
    assert max(each.shape[1] for each in strips) <= _WEBP_ROWS
    np.testing.assert_array_equal(np.concatenate(strips, 1).reshape(3, 1000, 40, 2).transpose(1, 0, 2, 3), pixels)


def test_tables_and_counts_have_blocks_alone() -> None:
    assert set(rivals(np.arange(40).reshape(10, 4), None)) == {"gzip", "bz2", "lzma"}
    assert set(rivals(np.zeros((10, 4), np.int64), 2)) == {"gzip", "bz2", "lzma"}
