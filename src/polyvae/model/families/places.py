"""A normal law with a learned scale at every place."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.model.parts import Family
from polyvae.model.precision import full

FLOOR = 1e-6  # of a scale, where values are of the order of one: single precision ends there
STEPS = 10  # times a step of Adam: a scale has orders of magnitude to go


class PlaceNormal(Family):
    """Normal with loc from the network and one learned scale s_i for every place and channel i.

    s_i = 1e-6 + exp(10 a_i), a_i learned, 0 at the start or as `begin` says

    How well a place of a field is known differs from place to place by orders of magnitude, and hardly from moment to
    moment.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.raw_scale = nn.Parameter(torch.zeros(shape))

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        loc = full(raw)
        law = _Places(loc, FLOOR + (STEPS * self.raw_scale).exp())
        return Independent(law, loc.ndim - 1, validate_args=False)

    @torch.no_grad()
    def begin(self, scale: Tensor) -> None:
        """Starts at these scales, in the order of the flattened places."""
        self.raw_scale.copy_((scale.reshape(self.raw_scale.shape) - FLOOR).clamp(min=FLOOR).log() / STEPS)

    def extra_repr(self) -> str:
        return f"{list(self.raw_scale.shape)}"


class _Places(Normal):
    """The logarithm of a scale that all rows share is taken once, not for every row."""

    def __init__(self, loc: Tensor, shared: Tensor) -> None:
        self.shared = shared
        super().__init__(loc, shared.expand_as(loc), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        constant = self.shared.log() + 0.5 * log(2 * pi)
        return ((value - self.loc) / self.shared).square().mul(-0.5) - constant
