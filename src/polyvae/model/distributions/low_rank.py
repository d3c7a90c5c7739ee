"""A normal whose covariance is diagonal plus one of low rank."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, constraints, register_kl

from polyvae.model.distributions.law import HALF_LOG_TWO_PI, Law
from polyvae.model.distributions.normal import diagonal_normal
from polyvae.model.precision import full_precision, wide


class LowRankNormal(Law):
    """N(mu, diag s^2 + V V^T) over d values: loc and scale [*batch, d], factor V [*batch, d, r].

    z = mu + s b + V a, a and b standard normal. With U = V / s and C = I + U^T U, by Woodbury's identity

    log det = 2 sum_i log s_i + log det C, (z - mu)^T Sigma^-1 (z - mu) = |e|^2 + |w - U e|^2,

    w = (z - mu) / s, e = C^-1 U^T w. Drawn and scored together, a and b are known, c = C^-1 (a - U^T b) is small, and
    the second is |a - c|^2 + |b + U c|^2.

    torch's LowRankMultivariateNormal is the same law. It takes the difference of two squares, of the order of |V / s|^2
    each, in which single precision loses whole nats, and its Cholesky factor waits for a GPU. Here what is small, [r,
    r], is computed in double precision where the device has it.
    """

    has_rsample = True
    support = constraints.real_vector  # pyright: ignore[reportAssignmentType]

    def __init__(self, loc: Tensor, factor: Tensor, scale: Tensor) -> None:
        self.loc, self.factor, self.scale = loc, factor, scale
        super().__init__(loc.shape[:-1], loc.shape[-1:])

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale.square() + self.factor.square().sum(-1)

    @property
    def covariance_matrix(self) -> Tensor:
        with full_precision(self.loc.device):
            return self.factor @ self.factor.mT + self.scale.square().diag_embed()

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> LowRankNormal:
        batch, event = Size(batch_shape), self.event_shape
        factor = self.factor.expand(batch + self.factor.shape[-2:])
        return LowRankNormal(self.loc.expand(batch + event), factor, self.scale.expand(batch + event))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._made(*self._noise(sample_shape))

    def rsample_and_log_prob(self, shape: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        b, a = self._noise(shape)
        wide_a, wide_b = wide(a), wide(b)
        c = self._solved(wide_a - self._inner(wide_b))
        squares = (wide_a - c).square().sum(-1) + (wide_b + self._outer(c)).square().sum(-1)
        return self._made(b, a), self._density(squares)

    def log_prob(self, value: Tensor) -> Tensor:
        w = wide((value - self.loc) / self.scale)
        e = self._solved(self._inner(w))
        return self._density(e.square().sum(-1) + (w - self._outer(e)).square().sum(-1))

    @cached_property
    def log_det(self) -> Tensor:
        """log det Sigma, [*batch]."""
        small = 2 * self._cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 2 * self.scale.log().sum(-1) + small.to(self.scale.dtype)

    @cached_property
    def _relative(self) -> Tensor:
        return wide(self.factor / self.scale.unsqueeze(-1))

    @cached_property
    def _cholesky(self) -> Tensor:
        u = self._relative
        with full_precision(u.device):
            small = u.mT @ u + torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
            return torch.linalg.cholesky_ex(small)[0]  # positive definite as it is; to check it would wait for a GPU

    def _inner(self, value: Tensor) -> Tensor:
        """U^T value."""
        with full_precision(value.device):
            return (self._relative.mT @ value.unsqueeze(-1)).squeeze(-1)

    def _outer(self, value: Tensor) -> Tensor:
        """U value."""
        with full_precision(value.device):
            return (self._relative @ value.unsqueeze(-1)).squeeze(-1)

    def _solved(self, value: Tensor) -> Tensor:
        """C^-1 value."""
        half = torch.linalg.solve_triangular(self._cholesky, value.unsqueeze(-1), upper=False)
        return torch.linalg.solve_triangular(self._cholesky.mT, half, upper=True).squeeze(-1)

    def _noise(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """b, first, as a diagonal normal draws it, and a."""
        lead = Size(shape) + self.batch_shape
        made = {"dtype": self.loc.dtype, "device": self.loc.device}
        return torch.randn(lead + self.event_shape, **made), torch.randn(lead + self.factor.shape[-1:], **made)

    def _made(self, b: Tensor, a: Tensor) -> Tensor:
        with full_precision(b.device):
            return self.loc + self.scale * b + (self.factor @ a.unsqueeze(-1)).squeeze(-1)

    def _density(self, squares: Tensor) -> Tensor:
        return -0.5 * (squares.to(self.loc.dtype) + self.log_det) - self.event_shape[0] * HALF_LOG_TWO_PI


@register_kl(LowRankNormal, Independent)
def _kl_low_rank_diagonal(p: LowRankNormal, q: Independent) -> Tensor:
    """1/2 (sum_i [(s_i^2 + |V_i|^2 + (mu_i - m_i)^2) / t_i^2 - 1 + 2 log t_i] - log det Sigma), q = N(m, diag t^2)"""
    base = diagonal_normal(q)
    spread = (p.variance + (p.loc - base.loc).square()) / base.scale.square()
    return 0.5 * ((spread - 1 + 2 * base.scale.log()).sum(-1) - p.log_det)
