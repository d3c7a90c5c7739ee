"""Distributions and Kullback-Leibler divergences that torch.distributions lacks.

None of them checks its arguments: a check would wait for the device at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from itertools import repeat
from math import inf, log, pi
from typing import ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, constraints, register_kl
from torch.nn import functional as F

HALF_LOG_TWO_PI = 0.5 * log(2 * pi)
_SLAB = 2**17  # values per thread: what a core's cache holds


class Law(Distribution):
    """A distribution that never checks its arguments."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}  # pyright: ignore[reportAssignmentType]

    def __init__(self, batch_shape: Size, event_shape: Sequence[int] = ()) -> None:
        super().__init__(batch_shape, Size(event_shape), validate_args=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch {list(self.batch_shape)}, event {list(self.event_shape)})"


class _Event(Law):
    """A law with the event sum inside; `parameter` [*batch, *event] holds all that differs between values."""

    values: constraints.Constraint = constraints.real

    def __init__(self, parameter: Tensor, event_dim: int = 1) -> None:
        if not 1 <= event_dim <= parameter.ndim:
            raise ValueError(f"event_dim must lie between 1 and {parameter.ndim}, got {event_dim}")
        self.parameter = parameter
        self._dims = tuple(range(-event_dim, 0))
        cut = parameter.ndim - event_dim
        super().__init__(parameter.shape[:cut], parameter.shape[cut:])

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> _Event:
        return self._with(self.parameter.expand(Size(batch_shape) + self.event_shape))

    def unfold(self, samples: int) -> _Event:
        """[K * B] -> [K, B], a view: a value [B, ...] then broadcasts instead of being copied K times."""
        return self._with(self.parameter.unflatten(0, (samples, -1)))

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self.values, len(self._dims))

    @property
    def mean(self) -> Tensor:
        return self.parameter

    def _with(self, parameter: Tensor) -> _Event:
        new = copy(self)
        _Event.__init__(new, parameter, len(self._dims))
        return new


class Bernoulli(_Event):
    """Independent bits with log odds l, scored by cross-entropy.

    log p(x) = sum_i x_i l_i - log(1 + exp l_i)

    Takes l [*batch, *event], the last `event_dim` dimensions the event. A grey x in [0, 1] is accepted; the value is
    then the cross-entropy customary for grey pictures and not the logarithm of a normalised density (Loaiza-Ganem,
    Cunningham: The continuous Bernoulli: fixing a pervasive error in variational autoencoders, 2019).
    """

    values = constraints.boolean

    @property
    def accepted(self) -> constraints.Constraint:
        """What is scored, if not as a density."""
        return constraints.independent(constraints.unit_interval, len(self._dims))

    @property
    def logits(self) -> Tensor:
        return self.parameter

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        return self.mean * (-self.logits).sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(self._extended_shape(Size(sample_shape))))

    def log_prob(self, value: Tensor) -> Tensor:
        def score(x: Tensor, logits: Tensor) -> Tensor:
            return (x * logits).sum(self._dims) - F.softplus(logits).sum(self._dims)

        def cross_entropy(x: Tensor, logits: Tensor) -> Tensor:
            return -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(self._dims)

        # torch's own has the cheaper gradient, but wants a value of the logits' shape and makes no use of slabs.
        whole = torch.broadcast_shapes(value.shape, self.logits.shape) == self.logits.shape
        trained = torch.is_grad_enabled() and self.logits.requires_grad and whole
        return _by_slabs(cross_entropy if trained else score, value, self.logits)


class SharedNormal(_Event):
    """Normal whose values all have one scale s, a tensor without dimensions.

    log p(x) = -|x - mu|^2 / (2 s^2) - D log s - D / 2 log 2 pi, D values in the event
    """

    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, event_dim: int = 1) -> None:
        self.scale = scale
        super().__init__(loc, event_dim)

    @property
    def loc(self) -> Tensor:
        return self.parameter

    @property
    def variance(self) -> Tensor:
        return self.scale.square().expand_as(self.loc)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(Size(sample_shape))
        return self.loc + self.scale * torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._density(self._squares(value), self.scale.square())

    def _squares(self, value: Tensor) -> Tensor:
        def score(x: Tensor, loc: Tensor) -> Tensor:
            return F.mse_loss(*torch.broadcast_tensors(x, loc), reduction="none").sum(self._dims)

        return _by_slabs(score, value, self.loc)

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


class Point(_Event):
    """All mass at one value: the posterior of a plain autoencoder.

    log p(x) is +inf at the point and -inf elsewhere, its limit as a density; the Kullback-Leibler divergence to any law
    is +inf. A bound with it is therefore infinite: train it on reconstruction alone.
    """

    has_rsample = True

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.parameter)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.parameter.expand(self._extended_shape(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        at_point = (value == self.parameter).flatten(-len(self._dims)).all(-1)
        return torch.where(at_point, inf, -inf).to(self.parameter.dtype)


class CholeskyNormal(MultivariateNormal):
    """Normal with full covariance L L', drawn as z = mu + L eps.

    log q(z) = sum_i log N(eps_i; 0, 1) - log L_ii, the log-density of eps less that of the Jacobian

    At the tensor that its own last `rsample` returned (which must not be changed in place) eps is known and no
    triangular system is solved; at any other value, and in a copy with other parameters, one is: where these are
    detached, log q(z) still depends on mu and L through z.
    """

    _last: tuple[Tensor, ...] = ()  # eps, z and what they were drawn with

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(Size(sample_shape))
        eps = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        with torch.autocast(eps.device.type, enabled=False):  # else this product is in half precision
            z = self.loc + torch.matmul(self.scale_tril, eps.unsqueeze(-1)).squeeze(-1)
        self._last = eps, z, *self._parameters()
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        ours = value, *self._parameters()
        if not self._last or any(one is not other for one, other in zip(ours, self._last[1:], strict=True)):
            return super().log_prob(value)
        eps, size = self._last[0], self.event_shape[0]
        return -0.5 * eps.square().sum(-1) - _log_diagonal(self.scale_tril).sum(-1) - size * HALF_LOG_TWO_PI

    def _parameters(self) -> tuple[Tensor, ...]:
        return self.loc, self.scale_tril, self._unbroadcasted_scale_tril


@register_kl(MultivariateNormal, Independent)
def _kl_full_diagonal(p: MultivariateNormal, q: Independent) -> Tensor:
    """1/2 sum_i [(sum_j L_ij^2 + (mu_i - m_i)^2) / s_i^2 - 1] + sum_i log s_i - log L_ii"""
    base = _diagonal_normal(q)
    variance = p.scale_tril.square().sum(-1)
    spread = (variance + (p.loc - base.loc).square()) / base.scale.square()
    return (0.5 * (spread - 1) + base.scale.log() - _log_diagonal(p.scale_tril)).sum(-1)


@register_kl(Independent, MultivariateNormal)
def _kl_diagonal_full(p: Independent, q: MultivariateNormal) -> Tensor:
    """1/2 (|L^-1 diag s|^2 + |L^-1 (m - mu)|^2 - d) + sum_i log L_ii - log s_i"""
    base = _diagonal_normal(p)
    scale, shift = torch.broadcast_tensors(base.scale, base.loc - q.loc)
    columns = torch.cat([scale.diag_embed(), shift.unsqueeze(-1)], -1)
    spread = torch.linalg.solve_triangular(q.scale_tril, columns, upper=False).square().sum((-2, -1))
    return 0.5 * (spread - q.event_shape[0]) + (_log_diagonal(q.scale_tril) - base.scale.log()).sum(-1)


@register_kl(Point, Distribution)
def _kl_point(p: Point, q: Distribution) -> Tensor:
    return p.parameter.new_full(torch.broadcast_shapes(p.batch_shape, q.batch_shape), inf)


def _diagonal_normal(law: Independent) -> Normal:
    if not isinstance(law.base_dist, Normal) or len(law.event_shape) != 1:
        raise NotImplementedError(f"no closed form between a multivariate normal and {law}")
    return law.base_dist


def _log_diagonal(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).log()


def _by_slabs(score: Callable[[Tensor, Tensor], Tensor], value: Tensor, parameter: Tensor) -> Tensor:
    """score(value, parameter), a slab of the first dimension at a time where that is faster.

    On a CPU the temporaries of one slab stay in the cache: about twice as fast on [4000, 784]. With gradients they must
    all be kept, and on a GPU one launch is better.
    """
    size = _SLAB * torch.get_num_threads()
    whole = parameter.device.type != "cpu" or parameter.numel() <= size or torch.compiler.is_compiling()
    if whole or (torch.is_grad_enabled() and (parameter.requires_grad or value.requires_grad)):
        return score(value, parameter)
    rows = max(1, size // parameter[0].numel())
    values: Iterable[Tensor]
    if value.ndim < parameter.ndim:
        values = repeat(value)
    elif value.shape[: value.ndim - parameter.ndim + 1] == parameter.shape[:1]:
        values = value.split(rows)
    else:
        return score(value, parameter)
    return torch.cat([score(x, p) for x, p in zip(values, parameter.split(rows), strict=False)])
