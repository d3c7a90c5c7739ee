"""Kernels of Gaussian processes, and those of greatest marginal likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDS = 40  # of the search for a length of each input
LENGTHS = [0.1 * 1.6**power for power in range(18)]  # in standard deviations of the inputs
NOISES = [10.0 ** (-power / 2) for power in range(24, -1, -1)]  # in amplitudes; below them double precision ends

SHAPES = (0.5, 2.0, 1e8)  # of a kernel, from what is like |s| in its tails to a squared exponential


def kernel(square: Tensor, shape: Tensor | float) -> Tensor:
    """The rational quadratic kernel (1 + s / (2 c))^-c of squared distances s, exp(-s / 2) for a large shape c."""
    return (-shape * (square / (2 * shape)).log1p()).exp()


class Found(NamedTuple):
    """What has been found for a group of targets: lengths [d], the kernel's shape, noise [r], and the cost."""

    lengths: Tensor
    shape: float
    noise: Tensor
    cost: float


class Spectrum(NamedTuple):
    """Eigenvalues [n] and eigenvectors [n, n] of H, the kernel of some inputs with these lengths and this shape."""

    lengths: Tensor
    shape: float
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, v: Tensor, shape: float, lengths: Tensor) -> Spectrum:
        """Of inputs [n, d]."""
        scaled = v / lengths
        return cls(lengths, shape, *torch.linalg.eigh(kernel(squares(scaled, scaled), shape)))


def searched(v: Tensor, groups: Sequence[Tensor], units: Tensor, shared: bool) -> list[Found]:
    """The kernel of greatest marginal likelihood of each group of targets [n, r] given v [n, d], whose units were
    `units`; `shared`: with one noise for a group."""
    common = units.square().mean().sqrt() / units
    each = torch.ones_like(common)
    best: list[Found | None] = [None] * len(groups)
    for shape in SHAPES:
        for unit in (each,) if torch.equal(common, each) else (each, common):
            for length in LENGTHS:
                spectrum = Spectrum.of(v, shape, length * unit)
                for number, y in enumerate(groups):
                    tried, known = judged(spectrum, y, shared)[0], best[number]
                    best[number] = tried if known is None or tried.cost < known.cost else known
    found = [each for each in best if each is not None]
    return (
        found if v.shape[1] == 1 else [_lengthened(v, y, each, shared) for y, each in zip(groups, found, strict=True)]
    )


def _lengthened(v: Tensor, y: Tensor, best: Found, shared: bool) -> Found:
    """The same with a length for each input, where that is worth their number."""
    each, penalty = best, 0.5 * (v.shape[1] - 1) * log(len(v))
    raw = best.lengths.log().requires_grad_()
    optimiser = torch.optim.Rprop([raw], lr=0.1, step_sizes=(1e-4, 1.0))
    for _ in range(ROUNDS):
        tried, slope = judged(Spectrum.of(v, best.shape, raw.detach().exp()), y, shared)
        each = tried if tried.cost < each.cost else each
        with torch.enable_grad():
            scaled = v / raw.exp()
            (slope * kernel(squares(scaled, scaled), best.shape)).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        raw.data.clamp_(log(LENGTHS[0]), log(1e4))
    return each if each.cost + penalty < best.cost else best


def judged(spectrum: Spectrum, y: Tensor, shared: bool) -> tuple[Found, Tensor]:
    """Minus the log marginal likelihood, less a constant, at each target's best noise and amplitude; its slope by H.

    n/2 log a + 1/2 log det(H + r I), a = y (H + r I)^-1 y / n
    """
    lengths, shape, values, vectors = spectrum
    turned, noises = vectors.T @ y, torch.tensor(NOISES, dtype=y.dtype)
    shifted = values.clamp(min=0) + noises[:, None]  # [M, n]
    amplitude = (shifted.reciprocal() @ turned.square() / len(y)).clamp(min=1e-300)
    costs = 0.5 * (len(y) * amplitude.log() + shifted.log().sum(1, keepdim=True))
    place = costs.sum(1).argmin().expand(y.shape[1]) if shared else costs.argmin(0)
    cost = costs.gather(0, place[None])
    chosen = shifted[place].T
    solved = vectors @ (turned / chosen) / amplitude.gather(0, place[None]).sqrt()
    slope = 0.5 * ((vectors * chosen.reciprocal().sum(1)) @ vectors.T - solved @ solved.T)
    return Found(lengths, shape, noises[place], float(cost.sum())), slope


def squares(v: Tensor, w: Tensor) -> Tensor:
    """|v - w|^2 of each pair, [B, d], [N, d] -> [B, N]."""
    far = v.square().sum(1, keepdim=True) + w.square().sum(1)
    return torch.addmm(far, v, w.T, alpha=-2).clamp(min=0)
