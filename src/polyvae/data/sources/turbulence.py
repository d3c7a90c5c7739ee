"""A field of real complexity: decaying two-dimensional turbulence, computed from its equations and a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

if TYPE_CHECKING:  # the catalogue starts without torch
    from torch import Tensor

WIDTH, COUNT, RUNS = 64, 2_000, 80  # grid points a side, fields of all runs, and runs
VISCOSITY = 1 / 160  # at a width of 64
PEAK = 3.0  # wave number of most energy at the start
APART, SPIN_UP = 0.4, 12  # time between two fields of a run, and how often that passes before the first
STEPS = 12  # in that time, at a width of 64


def turbulence(
    count: int = COUNT, width: int = WIDTH, seed: int = 0, runs: int = RUNS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Velocity and pressure of decaying turbulence: x float32 [T, 3, W, W], t float32 [T, 1], run int64 [T, 1].

    On the doubly periodic square of side 2 pi the vorticity omega = v_x - u_y of a fluid of density 1 obeys

    d omega/dt + u . grad omega = nu lap omega,  (u, v) = (d psi/dy, -d psi/dx),  lap psi = -omega
    lap p = 2 (u_x v_y - u_y v_x)

    `runs` decays are independent of each other. Each starts as a normal random field of energy <u^2 + v^2> / 2 = 1/2,
    of the spectrum E(k) ~ k^7 exp(-7 k^2 / (2 k_0^2)) with k_0 = 3. Its first field is taken at time 4.8, when vortices
    have formed, the next ones 0.4 apart. Fields are ordered by run, then by time; lengths of runs differ by at most
    one, and a larger `count` makes the same runs longer. Row i, column j lie at y = 2 pi i / W, x = 2 pi j / W. nu is
    1/160 at a width of 64 and falls with its square, so that the finest eddies keep their size in grid points. Raises
    ValueError for a width below 32 or odd, and for a count or runs below 1.

    McWilliams: The emergence of isolated coherent vortices in turbulent flow, 1984.
    """
    if count < 1 or runs < 1 or width < 32 or width % 2:
        raise ValueError(f"turbulence wants count, runs >= 1 and an even width >= 32; got {count}, {runs}, {width}")
    import torch

    lengths = np.array([len(rows) for rows in np.array_split(np.arange(count), runs)])
    flow = Decay(width, VISCOSITY * (WIDTH / width) ** 2)
    noise = np.random.default_rng(seed).standard_normal((min(runs, count), width, width))
    x = np.empty((count, 3, width, width), np.float32)
    starts = lengths.cumsum() - lengths
    vorticity = flow.started(torch.from_numpy(noise), PEAK)
    for passed, waves in enumerate(flow.decaying(vorticity, APART, -(-STEPS * width // WIDTH))):
        number = passed - SPIN_UP
        if number >= lengths[0]:
            break
        if number >= 0:
            rows = starts[lengths > number] + number
            x[rows] = flow.fields(waves[: len(rows)]).numpy()
    run = np.repeat(np.arange(runs), lengths)
    times = APART * (SPIN_UP + np.arange(count) - starts[run])
    return x, times.astype(np.float32)[:, None], run[:, None]


class Decay:
    """A Fourier-Galerkin solver of the vorticity equation on the square of side 2 pi, for any number of runs at once.

    A run is the waves [W, W/2 + 1] of its vorticity, complex128, those below a third of the grid's; what products of
    two fields have beyond these is cut off, so that they are free of aliasing (the 2/3 rule) and, but for viscosity,
    energy and enstrophy are kept.

    Orszag: On the elimination of aliasing in finite-difference schemes by filtering high-wavenumber components, 1971.
    """

    def __init__(self, width: int, viscosity: float) -> None:
        self.width, self.viscosity = width, viscosity

    @cached_property
    def kx(self) -> Tensor:
        """Wave numbers along the rows, [1, W/2 + 1]."""
        import torch

        return torch.arange(self.width // 2 + 1, dtype=torch.float64)[None]

    @cached_property
    def ky(self) -> Tensor:
        """Wave numbers along the columns, [W, 1]."""
        import torch

        return torch.fft.fftfreq(self.width, 1 / self.width, dtype=torch.float64)[:, None]

    @cached_property
    def kept(self) -> Tensor:
        """1 for the waves that are solved for, else 0, [W, W/2 + 1]; the mean is none of them."""
        most = (self.width - 1) // 3
        kept = ((self.kx <= most) & (self.ky.abs() <= most)).double()
        kept[0, 0] = 0.0
        return kept

    @cached_property
    def square(self) -> Tensor:
        """k^2, [W, W/2 + 1]."""
        return self.kx.square() + self.ky.square()

    @cached_property
    def _inverse(self) -> Tensor:
        """1 / k^2, 0 where nothing is solved for."""
        return self.kept / self.square.clamp(min=1.0)

    @cached_property
    def _turned(self) -> Tensor:
        """From waves of the vorticity to those of u and v, [2, 1, W, W/2 + 1]."""
        import torch

        return torch.stack([1j * self.ky * self._inverse, -1j * self.kx * self._inverse])[:, None]

    def field(self, waves: Tensor) -> Tensor:
        """The values [..., W, W] of waves [..., W, W/2 + 1]."""
        import torch

        return torch.fft.irfft2(waves, (self.width, self.width))

    def waves(self, field: Tensor) -> Tensor:
        """The waves of values [..., W, W]."""
        import torch

        return torch.fft.rfft2(field)

    def velocity(self, vorticity: Tensor) -> tuple[Tensor, Tensor]:
        """u and v [B, W, W] of waves of the vorticity."""
        u, v = self.field(self._turned * vorticity)
        return u, v

    def fields(self, vorticity: Tensor) -> Tensor:
        """u, v and p [B, 3, W, W] of waves of the vorticity; p has no part beyond the waves that are solved for."""
        import torch

        u, v = self.velocity(vorticity)
        uu, uv, vv = (self.waves(each) for each in (u * u, u * v, v * v))
        stress = self.kx.square() * uu + 2 * self.kx * self.ky * uv + self.ky.square() * vv
        return torch.stack([u, v, self.field(-self._inverse * stress)], 1)

    def started(self, noise: Tensor, peak: float) -> Tensor:
        """Waves of the vorticity out of white noise [B, W, W]: energy 1/2, E(k) ~ k^7 exp(-7 k^2 / (2 peak^2)).

        The waves of one k share E(k) = |omega_k|^2 / k^2 among about k of them, so that omega_k ~ k sqrt(E / k).
        """
        shape = self.kept * self.square.square() * (-7 / 4 * self.square / peak**2).exp()
        vorticity = self.waves(noise) * shape
        u, v = self.velocity(vorticity)
        return vorticity / (u * u + v * v).mean((-2, -1), keepdim=True).sqrt()

    def carried(self, vorticity: Tensor) -> Tensor:
        """-u . grad omega as waves, = (d_yy - d_xx) uv + d_xy (u^2 - v^2), from two products."""
        u, v = self.velocity(vorticity)
        mixed, apart = self.waves(u * v), self.waves(v * v - u * u)
        return self.kept * ((self.kx.square() - self.ky.square()) * mixed + self.kx * self.ky * apart)

    def decaying(self, vorticity: Tensor, apart: float, steps: int) -> Iterator[Tensor]:
        """The waves of the vorticity at times 0, `apart`, 2 `apart` and so on without end, in so many steps each.

        Runge-Kutta of order four on exp(nu k^2 t) omega, to which viscosity is exact.
        """
        step = apart / steps
        half = (-self.viscosity * self.square * step / 2).exp()
        while True:
            yield vorticity
            for _ in range(steps):
                first, before = self.carried(vorticity), half * vorticity
                second = self.carried(before + step / 2 * half * first)
                third = self.carried(before + step / 2 * second)
                last = self.carried(half * (before + step * third))
                vorticity = half * (before + step / 6 * half * first + step / 3 * (second + third)) + step / 6 * last


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    x, t, run = turbulence(options.limit or COUNT, options.size or WIDTH, options.seed)
    return {"all.x": x, "all.t": t, "all.run": run}


TURBULENCE = Source(
    "turbulence",
    About(
        "Decaying two-dimensional turbulence: u, v and pressure of 80 runs of its equations, generated by seed",
        "generated",
        {"all": COUNT},
        "it is generated: any even width from 32, any number of fields (limit counts the training part)",
        blocks=RUNS,
    ),
    Spec((3, WIDTH, WIDTH), levels=None),
    _read,
    options=("size", "limit", "seed"),
    channels=("u", "v", "p"),
)
