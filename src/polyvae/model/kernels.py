"""Kernels of Gaussian processes, and those of greatest marginal likelihood."""

from __future__ import annotations

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


def searched(v: Tensor, y: Tensor, units: Tensor, shared: bool) -> Found:
    """The kernel of greatest marginal likelihood of y [n, r] given v [n, d], whose units were `units`."""
    common = units.square().mean().sqrt() / units
    best = None
    for shape in SHAPES:
        for unit in (torch.ones_like(common), common):
            for length in LENGTHS:
                tried = _judged(v, y, shape, length * unit, shared)[0]
                best = tried if best is None or tried.cost < best.cost else best
    assert best is not None
    if v.shape[1] == 1:
        return best
    each, penalty = best, 0.5 * (v.shape[1] - 1) * log(len(v))
    raw = best.lengths.log().requires_grad_()
    optimiser = torch.optim.Rprop([raw], lr=0.1, step_sizes=(1e-4, 1.0))
    for _ in range(ROUNDS):
        tried, slope = _judged(v, y, best.shape, raw.detach().exp(), shared)
        each = tried if tried.cost < each.cost else each
        with torch.enable_grad():
            scaled = v / raw.exp()
            (slope * kernel(squares(scaled, scaled), best.shape)).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        raw.data.clamp_(log(LENGTHS[0]), log(1e4))
    return each if each.cost + penalty < best.cost else best


def _judged(v: Tensor, y: Tensor, shape: float, lengths: Tensor, shared: bool) -> tuple[Found, Tensor]:
    """Minus the log marginal likelihood, less a constant, at each target's best noise and amplitude; its slope by H.

    n/2 log a + 1/2 log det(H + r I), a = y (H + r I)^-1 y / n
    """
    scaled = v / lengths
    values, vectors = torch.linalg.eigh(kernel(squares(scaled, scaled), shape))
    turned, noises = (vectors.T @ y).square(), torch.tensor(NOISES, dtype=v.dtype)
    shifted = values.clamp(min=0) + noises[:, None]  # [M, n]
    amplitude = (shifted.reciprocal() @ turned / len(v)).clamp(min=1e-300)
    costs = 0.5 * (len(v) * amplitude.log() + shifted.log().sum(1, keepdim=True))
    place = costs.sum(1).argmin().expand(y.shape[1]) if shared else costs.argmin(0)
    cost = costs.gather(0, place[None])
    chosen = shifted[place].T
    solved = vectors @ ((vectors.T @ y) / chosen) / amplitude.gather(0, place[None]).sqrt()
    slope = 0.5 * ((vectors * chosen.reciprocal().sum(1)) @ vectors.T - solved @ solved.T)
    return Found(lengths, shape, noises[place], float(cost.sum())), slope


def squares(v: Tensor, w: Tensor) -> Tensor:
    """|v - w|^2 of each pair, [B, d], [N, d] -> [B, N]."""
    far = v.square().sum(1, keepdim=True) + w.square().sum(1)
    return torch.addmm(far, v, w.T, alpha=-2).clamp(min=0)
