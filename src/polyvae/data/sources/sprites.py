"""dSprites, and generated sprites with the same factors and format for when the original cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError
from polyvae.data.readers.numpy_files import npz
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
FILES = (
    FileInfo(
        NAME,
        "md5:7da33b31b13a06f4b04a70402ce90c2e",
        None,
        (
            f"https://raw.githubusercontent.com/google-deepmind/dsprites-dataset/master/{NAME}",
            f"https://github.com/deepmind/dsprites-dataset/raw/fa310c66517cfc1939d77fe17c725154efc97127/{NAME}",
        ),
    ),
)
SPEC = Spec((1, 64, 64), classes=3, levels=2)
COUNTS = {"all": 737_280}
FACTORS = ("colour", "shape", "scale", "orientation", "x", "y")
CATEGORICAL = (1,)  # the factors whose numbers are in no order


def _arrays(found: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """x, the shape as label y, and all six factors by number (colour, shape, scale, orientation, x, y)."""
    images, factors = found["imgs"], found["latents_classes"].astype(np.int64)
    np.multiply(images, 255, out=images)  # three gigabytes: in place
    return {"all.x": images[:, None], "all.y": np.ascontiguousarray(factors[:, 1]), "all.factors": factors}


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    return _arrays(dsprites(paths[0]))


def _generate(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    return _arrays(grid())


def dsprites(path: str | Path) -> dict[str, np.ndarray]:
    """dSprites' npz: imgs uint8 0 or 1 [N, 64, 64], latents_values float [N, 6] and latents_classes int64 [N, 6].

    The six factors are colour, shape, scale, orientation, x and y; the pickled metadata is not read. Source: Matthey
    and others, dSprites: disentanglement testing sprites dataset, 2017.
    """
    arrays = npz(path, ("imgs", "latents_values", "latents_classes"))
    images, factors = arrays["imgs"], (arrays["latents_values"], arrays["latents_classes"])
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if images.dtype != np.uint8 or images.ndim != 3 or any(f.shape != (len(images), 6) for f in factors):
        raise DataError(path, "imgs uint8 [N, H, W] and six factors for each", f"{images.dtype}, {shapes}", AGAIN)
    if (top := int(images.max())) > 1:
        raise DataError(path, "pictures of zeros and ones", f"values up to {top}", AGAIN)
    return arrays


OUTLINES = ("square", "ellipse", "heart")


def grid(
    scales: int = 6, orientations: int = 40, positions: int = 32, out: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Sprites of every combination of factors in dSprites' format: imgs uint8 0 or 1 [N, 64, 64], latents_* [N, 6].

    The factors are colour (always white), shape (OUTLINES), scale in [0.5, 1], orientation in [0, 2 pi], x and y in [0,
    1], both ends included; y varies fastest. latents_values float64 holds the values, latents_classes int64 their
    indices. The whole grid has 737,280 pictures (3 GB); `out` (uint8 [N, 64, 64], such as a memory-mapped array)
    receives them, and smaller grids are for trials. Factors and format are the original's, the outlines, and so the
    pixels, are ours. Raises ValueError for an impossible grid or `out`. Source: Matthey and others, dSprites:
    disentanglement testing sprites dataset, 2017.
    """
    counts = (1, len(OUTLINES), scales, orientations, positions, positions)
    total = int(np.prod(counts))
    if min(counts) < 1 or positions > 32:
        raise ValueError(f"dsprites wants at least 1 of each factor and at most 32 positions; got {counts}")
    images = np.empty((total, 64, 64), np.uint8) if out is None else out
    if images.shape != (total, 64, 64) or images.dtype != np.uint8:
        raise ValueError(f"out takes uint8 {[total, 64, 64]}; got {images.dtype} {list(images.shape)}")
    place = np.linspace(0, 1, positions)
    angles = np.linspace(0, 2 * np.pi, orientations)
    axes = [np.ones(1), np.arange(1.0, 1 + len(OUTLINES)), np.linspace(0.5, 1, scales), angles, place, place]
    blocks = images.reshape(-1, positions, positions, 64, 64)
    # A position moves the sprite by whole pixels, its middle from 16 to 47: every picture is a window of one canvas.
    start = 31 - np.rint(31 * place).astype(int)
    drawn = (_canvases(sprite, scale, angles) for sprite in (_square, _ellipse, _heart) for scale in axes[2])
    for block, canvas in zip(blocks, chain.from_iterable(drawn), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(canvas, (64, 64))
        block[:] = windows[start[None, :], start[:, None]]
    classes = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), -1).reshape(-1, 6)
    values = np.stack([axis[classes[:, factor]] for factor, axis in enumerate(axes)], 1)
    return {"imgs": images, "latents_values": values, "latents_classes": classes}


def _canvases(sprite: Callable, scale: float, angles: np.ndarray) -> np.ndarray:
    """A sprite at every angle on a canvas of 95x95 with its middle at pixel (47, 47): uint8 0 or 1 [A, 95, 95]."""
    line = np.arange(95) - 47.0
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    u = (cosine * line + sine * line[:, None]) / scale
    v = (cosine * line[:, None] - sine * line) / scale
    return sprite(u, v).astype(np.uint8)


# Radii are chosen so that no outline meets the middle of a pixel at orientation 0, where rounding would decide.
def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) <= 9.75


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u / 13.75) ** 2 + (v / 7.75) ** 2 <= 1


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(a^2 + b^2 - 1)^3 <= a^2 b^3 with b upwards: its lobes reach 1.4 from the middle."""
    a, b = u / 10.5, -v / 10.5
    return (a**2 + b**2 - 1) ** 3 <= a**2 * b**3


DSPRITES = Source(
    "dsprites",
    About(
        "dSprites: Matthey, Higgins, Hassabis and Lerchner, 2017",
        "Apache-2.0",
        COUNTS,
        "without it, sprites of the same factors are generated",
        stand_in="sprites",
    ),
    SPEC,
    _read,
    FILES,
)


SPRITES = Source(
    "sprites",
    About("Sprites of dSprites' factors, generated", "generated", COUNTS, "it is generated"),
    SPEC,
    _generate,
)
