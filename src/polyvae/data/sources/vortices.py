"""A field of many modes: vortices that pass each other at their own speeds, generated from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

WIDTH, COUNT = 64, 4_000  # pixels along the stream and times, unless others are asked for
LENGTHS = (2.0, 1.0)  # of the periodic domain, along the stream and across it
STEP = 0.1  # of time
ROWS = 256  # times computed at once


def vortices(
    count: int = COUNT, width: int = WIDTH, seed: int = 0, number: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Velocity and pressure of travelling vortices: x float32 [T, 3, W/2, W], t [T, 1], middles [T, number, 2].

    On the domain 2 x 1, periodic in both directions, a shear flow U(y) = 1 + cos(2 pi y - pi / (2 number)) / 2 carries
    `number` Gaussian (Lamb-Oseen) vortices, each on a line of its own and so at a speed of its own:

    omega = sum_k G_k / (pi a_k^2) exp(-|r - r_k(t)|^2 / a_k^2), less its mean

    with alternating circulations |G_k| in [0.7, 1.3] and core radii a_k in [0.1, 0.16]. u and v follow from the stream
    function of that vorticity, plus U; the pressure solves lap p = 2 (u_x v_y - u_y v_x), all by Fourier series. The
    vortices are only carried: they neither decay nor move each other. Times are 0.1 apart. A larger `count` with the
    same seed begins with the same times. Raises ValueError for a width below 16 or odd, and for a count or number below
    1.

    Batchelor: An Introduction to Fluid Dynamics, 1967, section 4.5, has the vortex.
    """
    if count < 1 or number < 1 or width < 16 or width % 2:
        raise ValueError(f"vortices wants count, number >= 1 and an even width >= 16; got {count}, {number}, {width}")
    stream = np.random.default_rng(seed)
    lines = (np.arange(number) + 0.5 + stream.uniform(-0.2, 0.2, number)) / number
    starts = stream.uniform(0, LENGTHS[0], number)
    circulations = stream.uniform(0.7, 1.3, number) * (-1.0) ** np.arange(number)
    cores = stream.uniform(0.1, 0.16, number)
    times = STEP * np.arange(count)
    along = (starts + times[:, None] * _shear(lines, number)[0]) % LENGTHS[0]
    middles = np.stack([along, np.broadcast_to(lines, along.shape)], -1)
    x = np.empty((count, 3, width // 2, width), np.float32)
    for start in range(0, count, ROWS):
        rows = slice(start, start + ROWS)
        x[rows] = _flow(middles[rows], circulations, cores, width)
    return x, times.astype(np.float32)[:, None], middles.astype(np.float32)


def _shear(y: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """U(y) and its slope; its phase gives evenly spaced lines different speeds."""
    angle = 2 * np.pi * y / LENGTHS[1] - np.pi / (2 * number)
    return 1 + np.cos(angle) / 2, -np.pi / LENGTHS[1] * np.sin(angle)


def _flow(middles: np.ndarray, circulations: np.ndarray, cores: np.ndarray, width: int) -> np.ndarray:
    """u, v and p [T, 3, H, W] of vortices with centres `middles` [T, K, 2], at the centres of H x W cells."""
    height = width // 2
    kx = 2 * np.pi / LENGTHS[0] * np.arange(width // 2 + 1)
    ky = 2 * np.pi / LENGTHS[1] * np.fft.fftfreq(height, 1 / height)[:, None]
    square = kx**2 + ky**2
    square[0, 0] = 1.0
    # The waves of a cell's middle, half a cell from the corner that the transform counts from.
    half = (LENGTHS[0] / (2 * width), LENGTHS[1] / (2 * height))
    vorticity = np.zeros((len(middles), height, width // 2 + 1), complex)
    for k, (circulation, core) in enumerate(zip(circulations, cores, strict=True)):
        x, y = (middles[:, k, axis, None, None] - half[axis] for axis in range(2))
        vorticity += circulation * np.exp(-square * core**2 / 4 - 1j * (kx * x + ky * y))
    vorticity[:, 0, 0] = 0.0
    # Waves at the grid's limit have no derivative of one sign; leaving them out keeps the flow free of divergence.
    vorticity[:, height // 2] = vorticity[:, :, -1] = 0.0
    potential = vorticity * (height * width / (LENGTHS[0] * LENGTHS[1])) / square

    def field(waves: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(waves, (height, width))

    y = (np.arange(height)[:, None] + 0.5) * LENGTHS[1] / height
    shear, slope = _shear(y, middles.shape[1])
    u, v = field(1j * ky * potential) + shear, field(-1j * kx * potential)
    u_x, v_x = field(-kx * ky * potential), field(kx**2 * potential)
    u_y = field(-(ky**2) * potential) + slope
    source = np.fft.rfft2(-2 * (u_x * u_x + u_y * v_x))  # v_y = -u_x: the flow has no divergence
    source[:, 0, 0] = 0.0
    return np.stack([u, v, field(-source / square)], 1)


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    x, t, middles = vortices(options.limit or COUNT, options.size or WIDTH, options.seed)
    return {"all.x": x, "all.t": t, "all.middles": middles.reshape(len(x), -1)}


VORTICES = Source(
    "vortices",
    About(
        "Travelling vortices: u, v and pressure of a periodic flow of many modes, generated by seed",
        "generated",
        {"all": COUNT},
        "it is generated: any width, any number of times (limit counts the training part)",
        blocks=40,
    ),
    Spec((3, WIDTH // 2, WIDTH), levels=None),
    _read,
    options=("size", "limit", "seed"),
    channels=("u", "v", "p"),
)
