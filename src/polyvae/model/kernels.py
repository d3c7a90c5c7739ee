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
    """Eigenvalues [.., n] and eigenvectors [.., n, n] of H, the kernel of some inputs with lengths [.., d]."""

    lengths: Tensor
    shape: float
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, v: Tensor, shape: float, lengths: Tensor) -> Spectrum:
        """Of inputs [n, d], with each of these lengths."""
        scaled = v / lengths.unsqueeze(-2)
        return cls(lengths, shape, *torch.linalg.eigh(kernel(squares(scaled, scaled), shape)))

    def costs(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The eigenvalues with each noise [.., M, n], amplitudes of targets [n, r] and costs of them, [.., M, r]."""
        shifted = self.values.clamp(min=0).unsqueeze(-2) + torch.tensor(NOISES, dtype=y.dtype)[:, None]
        amplitude = (shifted.reciprocal() @ (self.vectors.mT @ y).square() / len(y)).clamp(min=1e-300)
        return shifted, amplitude, 0.5 * (len(y) * amplitude.log() + shifted.log().sum(-1, keepdim=True))


def searched(v: Tensor, groups: Sequence[Tensor], units: Tensor, shared: bool) -> list[Found]:
    """The kernel of greatest marginal likelihood of each group of targets [n, r] given v [n, d], whose units were
    `units`; `shared`: with one noise for a group."""
    common = units.square().mean().sqrt() / units
    each, lengths = torch.ones_like(common), torch.tensor(LENGTHS, dtype=v.dtype)[:, None]
    best: list[Found | None] = [None] * len(groups)
    for shape in SHAPES:
        for unit in (each,) if torch.equal(common, each) else (each, common):
            spectrum = Spectrum.of(v, shape, lengths * unit)
            for number, (y, known) in enumerate(zip(groups, best, strict=True)):
                costs, place = _least(spectrum.costs(y)[2], shared)
                cost, which = costs.sum(1).min(0)
                if known is None or float(cost) < known.cost:
                    noise = torch.tensor(NOISES, dtype=v.dtype)[place[which]]
                    best[number] = Found(spectrum.lengths[which], shape, noise, float(cost))
    found = [each for each in best if each is not None]
    return (
        found if v.shape[1] == 1 else [_lengthened(v, y, each, shared) for y, each in zip(groups, found, strict=True)]
    )


def _least(costs: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
    """The costs of the best noises, of each target or of all [.., M, r], and which these are, [.., r]."""
    place = costs.sum(-1, keepdim=True).argmin(-2).expand(costs[..., 0, :].shape) if shared else costs.argmin(-2)
    return costs.gather(-2, place.unsqueeze(-2)).squeeze(-2), place


def _lengthened(v: Tensor, y: Tensor, best: Found, shared: bool) -> Found:
    """The same with a length for each input, where that is worth their number."""
    each, penalty = best, 0.5 * (v.shape[1] - 1) * log(len(v))
    raw = best.lengths.log()
    optimiser = torch.optim.Rprop([raw], lr=0.1, step_sizes=(1e-4, 1.0))
    for _ in range(ROUNDS):
        tried, slope = judged(Spectrum.of(v, best.shape, raw.exp()), y, shared)
        each = tried if tried.cost < each.cost else each
        raw.grad = _by_lengths(slope, v / raw.exp(), best.shape)
        optimiser.step()
        raw.clamp_(log(LENGTHS[0]), log(1e4))
    return each if each.cost + penalty < best.cost else best


def _by_lengths(slope: Tensor, scaled: Tensor, shape: float) -> Tensor:
    """A slope by H as one by the logarithms of the lengths, [d].

    d h(s) / d log l_i = (1 + s / (2 c))^-(c + 1) (v_i - v'_i)^2 / l_i^2
    """
    weights = slope * (-(shape + 1) * (squares(scaled, scaled) / (2 * shape)).log1p()).exp()
    return 2 * (weights.sum(1) @ scaled.square() - ((weights @ scaled) * scaled).sum(0))


def judged(spectrum: Spectrum, y: Tensor, shared: bool) -> tuple[Found, Tensor]:
    """Minus the log marginal likelihood, less a constant, at each target's best noise and amplitude; its slope by H.

    n/2 log a + 1/2 log det(H + r I), a = y (H + r I)^-1 y / n
    """
    lengths, shape, _, vectors = spectrum
    shifted, amplitude, costs = spectrum.costs(y)
    cost, place = _least(costs, shared)
    chosen = shifted[place].T
    solved = vectors @ ((vectors.T @ y) / chosen) / amplitude.gather(0, place[None]).sqrt()
    slope = 0.5 * ((vectors * chosen.reciprocal().sum(1)) @ vectors.T - solved @ solved.T)
    return Found(lengths, shape, torch.tensor(NOISES, dtype=y.dtype)[place], float(cost.sum())), slope


def squares(v: Tensor, w: Tensor) -> Tensor:
    """|v - w|^2 of each pair, [.., B, d], [.., N, d] -> [.., B, N]."""
    far = v.square().sum(-1, keepdim=True) + w.square().sum(-1).unsqueeze(-2)
    return torch.sub(far, v @ w.mT, alpha=2).clamp(min=0)
