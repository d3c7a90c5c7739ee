"""Generated pictures of known factors: random grey shapes, and the full grid of sprites in dSprites' format."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np

KINDS = ("rectangle", "circle", "triangle")
FACTORS = ("x", "y", "size", "rotation", "grey")
SPRITES = ("square", "ellipse", "heart")
_CELLS = 1 << 18  # pixels drawn at a time: what fits a processor's cache


def shapes(
    count: int, size: int | tuple[int, int] = 32, seed: int = 0, noise: float = 0.02
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures of one shape each on black: x uint8 [N, 1, H, W], labels int64 [N] into KINDS, factors float32 [N, 5].

    The factors (FACTORS) are drawn independently: x and y of the middle as a share of the room that the shape has, its
    size (radius of the circle around it, 0.15 to 0.35 of the shorter side), rotation in [0, 2 pi) and grey level in
    [0.3, 1]. A rectangle's sides are as 1 : 0.6. `noise`: standard deviation of the normal noise on values in [0, 1],
    which are then cut off there. A larger `count` with the same seed begins with the same pictures. Raises ValueError
    for no picture, sides under 8 pixels and negative noise.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if count < 1 or min(height, width) < 8 or noise < 0:
        raise ValueError(f"shapes wants count >= 1, sides >= 8 and noise >= 0; got {count}, {(height, width)}, {noise}")
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(len(FACTORS) + 2)]
    labels = streams[0].integers(0, len(KINDS), count)
    unit = [stream.random(count) for stream in streams[1:-1]]
    radius = (0.15 + 0.2 * unit[2]) * min(height, width)
    middle = [radius + unit[axis] * (side - 2 * radius) for axis, side in enumerate((width, height))]
    angle, grey = 2 * np.pi * unit[3], 0.3 + 0.7 * unit[4]
    places = np.stack([*middle, radius, np.cos(angle), np.sin(angle), grey], 1).astype(np.float32)
    x = np.empty((count, 1, height, width), np.uint8)
    step = max(1, _CELLS // (height * width))
    for start in range(0, count, step):
        part = slice(start, start + step)
        picture = np.empty((len(labels[part]), height, width), np.float32)
        for number, outline in enumerate((_rectangle, _circle, _triangle)):
            chosen = labels[part] == number
            picture[chosen] = _covered(outline, places[part][chosen], height, width)
        if noise:
            picture += np.float32(noise) * streams[-1].standard_normal(picture.shape, np.float32)
        x[part, 0] = np.rint(picture.clip(0, 1, out=picture) * 255)
    return x, labels, np.stack([unit[0], unit[1], radius / min(height, width), angle, grey], 1).astype(np.float32)


_Outline = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _covered(outline: _Outline, places: np.ndarray, height: int, width: int) -> np.ndarray:
    """Grey level times the share of every pixel that lies inside, [N, H, W]: 1/2 less the signed distance, cut off."""
    x, y, radius, cosine, sine, grey = places.T[:, :, None, None]
    across = np.arange(width, dtype=np.float32) + 0.5 - x
    down = np.arange(height, dtype=np.float32)[:, None] + 0.5 - y
    distance = outline(cosine * across + sine * down, cosine * down - sine * across, radius)
    return grey * (0.5 - distance).clip(0, 1)


def _rectangle(u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    half = radius / np.float32(np.hypot(1, 0.6))
    return np.maximum(np.abs(u) - half, np.abs(v) - np.float32(0.6) * half)


def _circle(u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return np.sqrt(u * u + v * v) - radius


def _triangle(u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Equilateral: within half the radius of the middle along each of its three normals."""
    return np.maximum(np.float32(np.sqrt(0.75)) * np.abs(u) - np.float32(0.5) * v, v) - radius / 2


def dsprites(
    scales: int = 6, orientations: int = 40, positions: int = 32, out: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Sprites of every combination of factors in dSprites' format: imgs uint8 0 or 1 [N, 64, 64], latents_* [N, 6].

    The factors are colour (always white), shape (SPRITES), scale in [0.5, 1], orientation in [0, 2 pi], x and y in
    [0, 1], both ends included; y varies fastest. latents_values float64 holds the values, latents_classes int64 their
    numbers from 0. All of them are 737,280 pictures (3 GB); `out` takes them where it is given (uint8 [N, 64, 64], such
    as a memory-mapped array), smaller grids are for trials. The outlines are ours: factors and format are the
    original's, not its pixels. Raises ValueError for an impossible grid or `out`. Source: Matthey and others, dSprites:
    disentanglement testing sprites dataset, 2017.
    """
    counts = (1, len(SPRITES), scales, orientations, positions, positions)
    total = int(np.prod(counts))
    if min(counts) < 1 or positions > 32:
        raise ValueError(f"dsprites wants at least 1 of each factor and at most 32 positions; got {counts}")
    images = np.empty((total, 64, 64), np.uint8) if out is None else out
    if images.shape != (total, 64, 64) or images.dtype != np.uint8:
        raise ValueError(f"out takes uint8 {[total, 64, 64]}; got {images.dtype} {list(images.shape)}")
    place = np.linspace(0, 1, positions)
    angles = np.linspace(0, 2 * np.pi, orientations)
    grid = [np.ones(1), np.arange(1.0, 1 + len(SPRITES)), np.linspace(0.5, 1, scales), angles, place, place]
    blocks = images.reshape(-1, positions, positions, 64, 64)
    # A position moves the sprite by whole pixels, its middle from 16 to 47: every picture is a window of one canvas.
    start = 31 - np.rint(31 * place).astype(int)
    drawn = (_canvases(sprite, scale, angles) for sprite in (_square, _ellipse, _heart) for scale in grid[2])
    for block, canvas in zip(blocks, chain.from_iterable(drawn), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(canvas, (64, 64))
        block[:] = windows[start[None, :], start[:, None]]
    classes = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), -1).reshape(-1, 6)
    values = np.stack([axis[classes[:, factor]] for factor, axis in enumerate(grid)], 1)
    return {"imgs": images, "latents_values": values, "latents_classes": classes}


def _canvases(sprite: Callable, scale: float, angles: np.ndarray) -> np.ndarray:
    """A sprite at every angle on a canvas of 95x95 whose pixel (47, 47) is its middle: uint8 0 or 1 [A, 95, 95]."""
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
