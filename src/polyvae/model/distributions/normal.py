"""Normals of one scale, of the best scale, and of full covariance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

import torch
from torch import Size, Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, register_kl
from torch.nn import functional as F

from polyvae.model.distributions.law import HALF_LOG_TWO_PI, SharedScale, by_slabs


class SharedNormal(SharedScale):
    """Normal whose values all have one scale s, a tensor without dimensions.

    log p(x) = -|x - mu|^2 / (2 s^2) - D log s - D / 2 log 2 pi, D values in the event
    """

    @property
    def variance(self) -> Tensor:
        return self.scale.square().expand_as(self.loc)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(Size(sample_shape))
        return self.loc + self.scale * torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._density(self._squares(value), self.scale.square())

    def value_log_prob(self, x: Tensor) -> Tensor:
        return Normal(self.loc, self.scale, validate_args=False).log_prob(x)

    def _squares(self, value: Tensor) -> Tensor:
        def score(x: Tensor, loc: Tensor) -> Tensor:
            return F.mse_loss(*torch.broadcast_tensors(x, loc), reduction="none").sum(self._dims)

        return by_slabs(score, value, self.loc)

    def _density(self, squares: Tensor, variance: Tensor) -> Tensor:
        size = self.event_shape.numel()
        return -0.5 * squares / variance - size * (0.5 * variance.log() + HALF_LOG_TWO_PI)


class OptimalNormal(SharedNormal):
    """Normal scored at the one scale that is best for the values at hand.

    s^2 = max(mean (x - mu)^2, floor^2), over every value of the call, gradients included

    Over one call this is a fit, not a density that integrates to one, and the rows of a batch depend on each other: it
    serves training. `observe` receives each s^2, so that a running value can serve evaluation; `scale` serves sampling,
    and where no row is scored.

    Rybkin, Daniilidis, Levine: Simple and Effective VAE Training with Calibrated Decoders, 2021.
    """

    def __init__(
        self, loc: Tensor, scale: Tensor, event_dim: int, floor: float, observe: Callable[[Tensor], None] | None = None
    ) -> None:
        super().__init__(loc, scale, event_dim)
        self.floor = floor
        self.observe = observe
        self.rows: Tensor | None = None

    def among(self, rows: Tensor) -> OptimalNormal:
        """The same law, fitted to the rows of a batch [B] alone that are True."""
        new = copy(self)
        new.rows = rows
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        squares = self._squares(value)
        variance = (self._mean(squares) / self.event_shape.numel()).clamp(min=self.floor**2)
        if self.observe is not None:
            self.observe(variance.detach())
        return self._density(squares, variance)

    def _mean(self, squares: Tensor) -> Tensor:
        """Of squares [..., B], over the rows that are scored."""
        if self.rows is None:
            return squares.mean()
        count = self.rows.sum() * (squares.numel() // self.rows.numel())
        known = self.scale.square() * self.event_shape.numel()
        return torch.where(count > 0, (squares * self.rows).sum() / count.clamp(min=1), known)


class CholeskyNormal(MultivariateNormal):
    """Normal with full covariance L L', drawn as z = mu + L eps.

    log q(z) = sum_i log N(eps_i; 0, 1) - log L_ii, the log-density of eps less that of the Jacobian

    Drawn and scored together, eps is known and no triangular system is solved.
    """

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._made(self._noise(sample_shape))

    def rsample_and_log_prob(self, shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        eps = self._noise(shape)
        density = -0.5 * eps.square().sum(-1) - self.event_shape[0] * HALF_LOG_TWO_PI
        return self._made(eps), density - _log_diagonal(self.scale_tril).sum(-1)

    def _noise(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(self._extended_shape(Size(shape)), dtype=self.loc.dtype, device=self.loc.device)

    def _made(self, eps: Tensor) -> Tensor:
        with torch.autocast(eps.device.type, enabled=False):  # else this product is in half precision
            return self.loc + torch.matmul(self.scale_tril, eps.unsqueeze(-1)).squeeze(-1)


@register_kl(MultivariateNormal, Independent)
def _kl_full_diagonal(p: MultivariateNormal, q: Independent) -> Tensor:
    """1/2 sum_i [(sum_j L_ij^2 + (mu_i - m_i)^2) / s_i^2 - 1] + sum_i log s_i - log L_ii"""
    base = diagonal_normal(q)
    variance = p.scale_tril.square().sum(-1)
    spread = (variance + (p.loc - base.loc).square()) / base.scale.square()
    return (0.5 * (spread - 1) + base.scale.log() - _log_diagonal(p.scale_tril)).sum(-1)


@register_kl(Independent, MultivariateNormal)
def _kl_diagonal_full(p: Independent, q: MultivariateNormal) -> Tensor:
    """1/2 (|L^-1 diag s|^2 + |L^-1 (m - mu)|^2 - d) + sum_i log L_ii - log s_i"""
    base = diagonal_normal(p)
    scale, shift = torch.broadcast_tensors(base.scale, base.loc - q.loc)
    columns = torch.cat([scale.diag_embed(), shift.unsqueeze(-1)], -1)
    spread = torch.linalg.solve_triangular(q.scale_tril, columns, upper=False).square().sum((-2, -1))
    return 0.5 * (spread - q.event_shape[0]) + (_log_diagonal(q.scale_tril) - base.scale.log()).sum(-1)


def diagonal_normal(law: Independent) -> Normal:
    """The normal of each value of a vector; NotImplementedError for other laws."""
    if not isinstance(law.base_dist, Normal) or len(law.event_shape) != 1:
        raise NotImplementedError(f"no closed form between a multivariate normal and {law}")
    return law.base_dist


def _log_diagonal(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).log()
