"""Laws of vectors as laws of one number after the other, each with a distribution function and its inverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal

from polyvae.model.distributions.one_by_one import OneByOne, each

_HALVINGS = 64  # of an interval of at most 2^6 scales: to the last digit of a double


class Scalar(Protocol):
    """Laws of n numbers: the shares of mass below x [n, k], and where so much of it lies, both float64 [n, k]."""

    def below(self, x: Tensor) -> Tensor: ...

    def at(self, share: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Vector:
    """The law of a vector of `size` numbers, of which `given(slice, z)` are some, given those before them in z [size].

    `in_turn`: they depend on each other, and are asked for one by one.
    """

    size: int
    in_turn: bool
    given: Callable[[slice, Tensor], Scalar]


@dataclass(frozen=True)
class Normals:
    """Normals of means and scales [n]."""

    loc: Tensor
    scale: Tensor

    def below(self, x: Tensor) -> Tensor:
        return torch.special.ndtr((x - self.loc[:, None]) / self.scale[:, None])

    def at(self, share: Tensor) -> Tensor:
        return self.loc[:, None] + self.scale[:, None] * torch.special.ndtri(share)


@dataclass(frozen=True)
class Mixed:
    """One mixture of normals, of weights, means and scales [K]; the inverse by halving an interval."""

    weights: Tensor
    loc: Tensor
    scale: Tensor

    def below(self, x: Tensor) -> Tensor:
        return (self.weights * torch.special.ndtr((x.unsqueeze(-1) - self.loc) / self.scale)).sum(-1)

    def at(self, share: Tensor) -> Tensor:
        own = self.loc + self.scale * torch.special.ndtri(share.clamp(1e-300, 1 - 2**-53)).unsqueeze(-1)
        low, high = own.min(-1).values, own.max(-1).values
        for _ in range(_HALVINGS):
            half = (low + high) / 2
            under = self.below(half) < share
            low, high = torch.where(under, half, low), torch.where(under, high, half)
        return torch.where(share == 0, -torch.inf, torch.where(share == 1, torch.inf, (low + high) / 2))


def vector(law: Distribution) -> Vector | None:
    """A law of one example, batch shape [] or [1], one number after the other; None for one of which none is known.

    Known are normals, of independent values or of full covariance, mixtures of either, and the autoregressive law of
    mixtures.
    """
    size = law.event_shape.numel()
    if isinstance(law, OneByOne):
        return Vector(size, True, lambda part, z: _mixed(law.raw(z.unsqueeze(0))[0, part.start].double()))
    if isinstance(law, MixtureSameFamily):
        return _mixture(law, size)
    if isinstance(law, MultivariateNormal):
        return _full(law, size)
    base: Any = law.base_dist if isinstance(law, Independent) else law
    if type(base) is not Normal or law.event_shape != base.batch_shape[base.loc.ndim - len(law.event_shape) :]:
        return None
    loc, scale = base.loc.double().reshape(-1), base.scale.double().reshape(-1)
    return Vector(size, False, lambda part, z: Normals(loc[part], scale[part]))


def _mixed(raw: Tensor) -> Mixed:
    law = each(raw)
    parts: Any = law.component_distribution
    return Mixed(law.mixture_distribution.probs, parts.loc, parts.scale)


def _full(law: MultivariateNormal, size: int) -> Vector:
    """z = mu + L e: z_i given those before it has mean mu_i + sum_(j < i) L_ij e_j and scale L_ii."""
    loc, tril = law.loc.double().reshape(size), law.scale_tril.double().reshape(size, size)

    def given(part: slice, z: Tensor) -> Normals:
        i = part.start
        above = tril[:i, :i]
        e = torch.linalg.solve_triangular(above, (z[:i] - loc[:i]).unsqueeze(1), upper=False).squeeze(1)
        return Normals(loc[part] + (tril[i, :i] * e).sum(), tril[i, i].unsqueeze(0))

    return Vector(size, True, given)


def _mixture(law: MixtureSameFamily, size: int) -> Vector | None:
    """z_i given those before it is the mixture of the components' laws of it, weighed by w_k p_k(z_1 .. z_(i-1))."""
    parts: Any = law.component_distribution
    base = parts.base_dist if isinstance(parts, Independent) else parts
    if type(base) is Normal:
        tril = base.scale.double().reshape(-1, size).diag_embed()
    elif isinstance(base, MultivariateNormal):
        tril = base.scale_tril.double().reshape(-1, size, size)
    else:
        return None
    loc, logits = base.loc.double().reshape(-1, size), law.mixture_distribution.logits.double().reshape(-1)

    def given(part: slice, z: Tensor) -> Mixed:
        i = part.start
        above, gap = tril[:, :i, :i], (z[:i] - loc[:, :i]).unsqueeze(2)
        e = torch.linalg.solve_triangular(above, gap, upper=False).squeeze(2)
        before = -0.5 * e.square().sum(1) - above.diagonal(dim1=1, dim2=2).log().sum(1)
        return Mixed((logits + before).softmax(0), loc[:, i] + (tril[:, i, :i] * e).sum(1), tril[:, i, i])

    return Vector(size, True, given)
