"""Particles of an unnormalised density of few dimensions, taken from prior to posterior, of every row at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

ROUNDS = 100  # at most
KEPT = 0.5  # of the particles, which the effective number of each round is not to fall below
MOVES = 2  # of every particle in a round
FAR = 2.38  # over sqrt(d): the length of a random walk's steps in the particles' own deviations
LEAST = 1e-14  # of the mean variance along the axes, which a step has in every direction
SMALLEST, HALVINGS = -40.0, 20  # the logarithm of a rise is found between this and 0

Score = Callable[[Tensor], Tensor]


class Population(nn.Module):
    """Particles of p(u | m) proportional to p(u) L(u), a likelihood of each row.

    They begin as draws of p(u). A round raises the power t of p(u) L(u)^t as far as half of the particles stay
    effective, draws them again by their weights, and moves each by a random walk of Metropolis that leaves that density
    as it is; the last round has t = 1. Where they begin, and what moves them, is fixed by `seed`: the same row has the
    same particles, on its own or among others.

    Del Moral, Doucet, Jasra: Sequential Monte Carlo Samplers, 2006; Neal: Annealed Importance Sampling, 2001; Roberts,
    Gelman, Gilks: Weak Convergence and Optimal Scaling of Random Walk Metropolis Algorithms, 1997.
    """

    def __init__(self, particles: int = 200, seed: int = 0) -> None:
        super().__init__()
        self.particles, self.seed = particles, seed

    @torch.no_grad()
    def forward(self, start: Tensor, log_prior: Score, log_likelihood: Score) -> Tensor:
        """Particles [K, B, d] of every row, equally likely; `start` [M, 1, d] are draws of p(u), for all rows alike.

        `log_prior` [..] and `log_likelihood` [.., B] are of places [.., B, d], or [.., 1, d] for all rows at once.
        """
        stream = torch.Generator().manual_seed(self.seed)
        likely = log_likelihood(start)
        rows, same = likely.shape[1], torch.arange(self.particles, device=likely.device)[:, None]
        u, prior = start.expand(-1, rows, -1), log_prior(start).expand(-1, rows)
        power = torch.zeros_like(likely[0])
        for _ in range(ROUNDS):
            going = power < 1  # a row that is there stays as it is, however long others take
            rise = _rise(likely, 1 - power, KEPT * self.particles)
            power = power + rise
            chosen = torch.where(going, self._chosen((rise * likely).softmax(0), stream), same)
            u = torch.take_along_dim(u, chosen[..., None], 0)
            likely, prior = (each.gather(0, chosen) for each in (likely, prior))
            factor = _spread(u)
            for _ in range(MOVES):
                step = torch.randn(self.particles, u.shape[2], generator=stream).to(u)
                tried = u + torch.einsum("bij,kj->kbi", factor, step)
                gain, height = log_likelihood(tried), log_prior(tried)
                chance = torch.rand(self.particles, 1, generator=stream).to(u).log()
                taken = going & (power * (gain - likely) + height - prior > chance)
                u = torch.where(taken[..., None], tried, u)
                likely, prior = torch.where(taken, gain, likely), torch.where(taken, height, prior)
            if bool((power >= 1).all()):
                break
        return u

    def _chosen(self, weights: Tensor, stream: torch.Generator) -> Tensor:
        """Systematic draws, with the same first point in every row, [K, B]."""
        first = torch.rand((), generator=stream).to(weights.device)
        points = (torch.arange(self.particles, device=weights.device) + first) / self.particles
        ends = weights.T.contiguous().cumsum(1)
        points = (points.to(ends) * ends[:, -1:]).contiguous()
        return torch.searchsorted(ends, points, right=True).clamp(max=len(weights) - 1).T


def _rise(likely: Tensor, left: Tensor, least: float) -> Tensor:
    """How far the power may rise, at most by what is `left`, with so many particles effective, of each row [B]."""

    def enough(rise: Tensor) -> Tensor:
        return 1 / (rise * likely).softmax(0).square().sum(0) >= least

    low, high = torch.full_like(left, SMALLEST), torch.zeros_like(left)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = enough(middle.exp() * left)
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(enough(left), left, low.exp() * left)


def _spread(u: Tensor) -> Tensor:
    """The factor [B, d, d] of a step's covariance, from the particles [K, B, d]."""
    apart = u - u.mean(0)
    spread = torch.einsum("kbi,kbj->bij", apart, apart) / len(u)
    values, vectors = torch.linalg.eigh(spread)  # which a rank that rounding has lowered does not stop
    least = max(LEAST, 4 * torch.finfo(u.dtype).eps) * values.mean(1, keepdim=True).clamp(min=1e-30)
    return FAR / u.shape[2] ** 0.5 * vectors * values.maximum(least).sqrt().unsqueeze(1)
