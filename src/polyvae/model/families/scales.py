"""Where the scale of a picture likelihood comes from: a number given, learned, a network's output, or the best one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite, log
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.names import find
from polyvae.model import distributions

LOWEST, HIGHEST = 1 / 256, 16.0  # a network's scale: from a grey level to standardised tables
EDGE = 0.02  # a share of what lies between two ends, kept from either: there a network would move nothing
MakeLaw = Callable[[Tensor, Tensor], Distribution]
T = TypeVar("T")


class Scale(nn.Module):
    """Makes a law of a loc and a scale from raw [B, outputs * F, *rest]."""

    outputs = 1

    def forward(self, raw: Tensor, law: MakeLaw) -> Distribution:
        raise NotImplementedError

    def around(self, loc: Tensor, scale: Tensor) -> Tensor:
        """The raw output whose law has this loc and, where the network says one, about this scale."""
        return loc


class _Fixed(Scale):
    """One scale, given."""

    value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value), persistent=False)

    def forward(self, raw: Tensor, law: MakeLaw) -> Distribution:
        return law(raw, self.value)

    def extra_repr(self) -> str:
        return f"{self.value.item():.4g}"


class _Learned(Scale):
    """One scale, learned, see `learned_scale`, started at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.raw_scale = nn.Parameter(torch.zeros(()))

    def forward(self, raw: Tensor, law: MakeLaw) -> Distribution:
        return law(raw, learned_scale(self.raw_scale))


class _Network(Scale):
    """A scale for every value, from the network."""

    outputs = 2

    def forward(self, raw: Tensor, law: MakeLaw) -> Distribution:
        loc, scale = raw.chunk(2, 1)
        return law(loc, between(scale, LOWEST, HIGHEST))

    def around(self, loc: Tensor, scale: Tensor) -> Tensor:
        return torch.cat([loc, raw_between(scale, LOWEST, HIGHEST)], 1)


class _Optimal(Scale):
    """The best scale of each batch in training mode, the running one in evaluation mode; at least 0.001."""

    variance: Tensor
    batches: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, raw: Tensor, law: MakeLaw) -> Distribution:
        scale = self.variance.sqrt()
        if not self.training:
            return law(raw, scale)
        return distributions.OptimalNormal(raw, scale, raw.ndim - 1, floor=1e-3, observe=self._observe)

    def _observe(self, variance: Tensor) -> None:
        self.batches += 1
        self.variance.lerp_(variance.to(self.variance), self.batches.reciprocal().clamp(min=0.05))


SCALES: Mapping[str, Callable[[], Scale]] = {"learned": _Learned, "network": _Network}
OPTIMAL: Mapping[str, Callable[[], Scale]] = {"optimal": _Optimal}


def scale_of(scale: float | str, known: Mapping[str, Callable[[], Scale]]) -> Scale:
    """A positive number, or a new scale of that name in `known`; ValueError for anything else."""
    if isinstance(scale, str):
        return find(known, scale, "scale", ", or a positive number")()
    if not (isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be positive and finite, got {scale}")
    return _Fixed(float(scale))


def learned_scale(raw: Tensor) -> Tensor:
    """0.001 + exp(10 raw): an Adam step moves every number about as far, and a scale has orders of magnitude to go."""
    return 1e-3 + (10 * raw).exp()


def between(raw: Tensor, low: float, high: float) -> Tensor:
    """A positive number between low and high, their geometric mean at raw = 0."""
    return (log(low) + (log(high) - log(low)) * raw.sigmoid()).exp()


def raw_between(value: Tensor, low: float, high: float) -> Tensor:
    """The raw number of which `between` makes about this value, not quite at either end."""
    share = (value.clamp(low, high) / low).log() / log(high / low)
    return share.logit(EDGE)
