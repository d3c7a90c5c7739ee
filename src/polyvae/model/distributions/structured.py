"""A normal over a picture whose values depend on each other through their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from polyvae.model.distributions.law import HALF_LOG_TWO_PI, Law

_EXACT = 128  # values of an event up to which their variances are computed: each takes a solve


class StructuredNormal(Law):
    """Normal of precision L L', L sparse and lower triangular in the row-major order of places, channels innermost.

    log p(x) = -1/2 |L' (x - mu)|^2 + sum_i log L_ii - D / 2 log 2 pi,  L_ii = 1 / s_i,  L_ji = -w_ij / s_i

    w_ij is what the residual of a later value j says of that of value i, whose remainder has scale s_i:
    x_i - mu_i = sum_j w_ij (x_j - mu_j) + s_i eps_i, over the later channels of the same place and all channels of the
    later places at most `radius` rows and columns away. The log-determinant is exact, and a draw solves L' e = eps from
    the last place to the first, one front of places that do not read each other at a time.

    `loc`, `scale` [*batch, C, *places], an event of `event_dim` dimensions, up to two of them places; `weights`
    [*batch, 1 + n, C, C, *places]: of value c of a place, those of its own place's values, strictly above the diagonal,
    then of the n places in `later`; those beyond the edge are not read. Zero weights make it the independent normal of
    these scales.

    Dorta, Vicente, Agapito, Campbell, Simpson: Structured Uncertainty Prediction Networks, 2018.
    """

    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, weights: Tensor, radius: int, event_dim: int = 3) -> None:
        if not 1 <= event_dim <= 3:
            raise ValueError(
                f"structured residuals have a channel and up to two dimensions of places; got {event_dim} dimensions"
            )
        self.loc, self.scale, self.weights, self.radius = loc, scale, weights, radius
        cut = loc.ndim - event_dim
        super().__init__(loc.shape[:cut], loc.shape[cut:])

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> StructuredNormal:
        shape, event = Size(batch_shape), self.event_shape
        weights = self.weights.expand(*shape, *self.weights.shape[len(self.batch_shape) :])
        return StructuredNormal(
            self.loc.expand(shape + event), self.scale.expand(shape + event), weights, self.radius, len(event)
        )

    def unfold(self, samples: int) -> StructuredNormal:
        """[K * B] -> [K, B], a view: a value [B, ...] then broadcasts instead of being copied K times."""
        loc, scale, weights = (each.unflatten(0, (samples, -1)) for each in (self.loc, self.scale, self.weights))
        return StructuredNormal(loc, scale, weights, self.radius, len(self.event_shape))

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Of each value, where an event has at most 128 of them; NotImplementedError where it has more.

        Those of a picture are the diagonal of an inverse with as many rows as it has values.
        """
        size = self.event_shape.numel()
        if size > _EXACT:
            raise NotImplementedError(f"the variances of {size} values that depend on each other take as many solves")
        ones = torch.eye(size, dtype=self.loc.dtype, device=self.loc.device)
        ones = ones.view(size, *[1] * len(self.batch_shape), *self.event_shape)
        return self._residual(ones.expand(size, *self.loc.shape)).square().sum(0)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(Size(sample_shape))
        return self.loc + self._residual(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        dims = tuple(range(-len(self.event_shape), 0))
        constant = self.scale.log().sum(dims) + self.event_shape.numel() * HALF_LOG_TWO_PI
        return -0.5 * self.noise(value).square().sum(dims) - constant

    def noise(self, value: Tensor) -> Tensor:
        """eps = L' (x - mu), independent standard normals where x is drawn from this law, in the shape of x."""
        reach, residual = self.radius, value - self.loc
        left = self._as_picture(residual)
        height, width = left.shape[-2:]
        padded = F.pad(left, (reach, reach, 0, reach))
        for each, (down, right) in zip(self._weights.unbind(-5), [(0, 0), *later(reach)], strict=True):
            seen = padded[..., down : down + height, reach + right : reach + right + width]
            left = left - (each * seen.unsqueeze(-4)).sum(-3)
        return left.reshape(residual.shape) / self.scale

    def _residual(self, eps: Tensor) -> Tensor:
        """The e [*sample, *batch, *event] with L' e = eps."""
        rest = self._as_picture(self.scale * eps)
        fronts = _fronts(*rest.shape[-2:], self.radius, rest.device)
        pieces = rest.flatten(-2).index_select(-1, fronts.order).split(fronts.sizes, -1)
        weights = self._weights.flatten(-2).index_select(-1, fronts.order).split(fronts.sizes, -1)
        done = [rest.new_zeros(*rest.shape[:-2], 1)]  # what lies beyond the edge
        for piece, w, places in zip(pieces, weights, fronts.reads, strict=True):
            if len(places):
                known = torch.cat([done[0], *done[1:][-_window(self.radius) :]], -1)
                seen = known.index_select(-1, places.flatten()).unflatten(-1, places.shape)  # [..., C, n, P]
                piece = piece + (w[..., 1:, :, :, :] * seen.transpose(-2, -3).unsqueeze(-3)).sum((-4, -2))
            channels = list(piece.unbind(-2))
            for c in reversed(range(len(channels) - 1)):
                beside = torch.stack(channels[c + 1 :], -2)
                channels[c] = channels[c] + (w[..., 0, c, c + 1 :, :] * beside).sum(-2)
            done.append(torch.stack(channels, -2))
        return torch.cat(done[1:], -1).index_select(-1, fronts.back).reshape(eps.shape)

    @property
    def _weights(self) -> Tensor:
        """[*batch, 1 + n, C, C, H, W]"""
        return self.weights.reshape(*self.weights.shape[: len(self.batch_shape) + 3], *self._sides)

    def _as_picture(self, value: Tensor) -> Tensor:
        """[..., *event] -> [..., C, H, W], with sides of 1 for the dimensions of places that an event lacks."""
        return value.reshape(*value.shape[: value.ndim - len(self.event_shape) + 1], *self._sides)

    @property
    def _sides(self) -> tuple[int, int]:
        height, width = (1, 1, *self.event_shape[1:])[-2:]
        return height, width


def later(radius: int) -> list[tuple[int, int]]:
    """Steps (down, right) from a place to those that follow it in row-major order, at most `radius` each way."""
    beside = [(0, right) for right in range(1, radius + 1)]
    return beside + [(down, right) for down in range(1, radius + 1) for right in range(-radius, radius + 1)]


class _Fronts(NamedTuple):
    """The places of a picture from the last to the first, in fronts none of whose places reads another of it.

    `order`: the places, row-major; `back`: its inverse. `sizes`: places in each front. `reads`: of each front, where
    the places that its places read stand behind a zero in the last fronts before it, side by side, [n, places].
    """

    order: Tensor
    back: Tensor
    sizes: list[int]
    reads: list[Tensor]


def _window(radius: int) -> int:
    """How many fronts back a place reads: `radius` rows down and columns right."""
    return radius * (radius + 2)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _fronts(height: int, width: int, radius: int, device: torch.device) -> _Fronts:
    # A place reads up to `radius` columns to the left in rows below, so that each row starts radius + 1 fronts after
    # the one below it.
    turn = min(1, radius)
    fronts: list[list[tuple[int, int]]] = [[] for _ in range(turn * (width - 1 + (radius + 1) * (height - 1)) + 1)]
    for i in range(height):
        for j in range(width):
            fronts[turn * (width - 1 - j + (radius + 1) * (height - 1 - i))].append((i, j))
    fronts = [front for front in fronts if front]
    reads, known = [], [[]]
    for front in fronts:
        where = {place: number + 1 for number, place in enumerate(place for each in known for place in each)}
        seen = [[where.get((i + down, j + right), 0) for i, j in front] for down, right in later(radius)]
        reads.append(torch.tensor(seen, dtype=torch.long, device=device))
        known = [*known, front][-_window(radius) :] if radius else known
    order = torch.tensor([i * width + j for front in fronts for i, j in front], device=device)
    return _Fronts(order, order.argsort(), [len(front) for front in fronts], reads)
