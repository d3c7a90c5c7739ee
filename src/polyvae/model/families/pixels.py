"""Families over pixels: bits and grey values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import Distribution, MixtureSameFamily

from polyvae.checks.ranges import at_least
from polyvae.model import distributions
from polyvae.model.distributions import grey as discretised
from polyvae.model.distributions.law import whole
from polyvae.model.families.scales import between
from polyvae.model.precision import full
from polyvae.model.vae import Family


class DiscretisedLogistic(Family):
    """Logistic rounded to `levels` grey values, loc (the raw output) and scale from the network, value by value.

    The scale lies between 1/16 of a grey level and 4. See `discretised.DiscretisedLogistic`.
    """

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = at_least("levels", levels, 2)

    def size(self, features: int) -> int:
        return 2 * features

    def forward(self, raw: Tensor) -> Distribution:
        loc, scale = full(raw).chunk(2, 1)
        return whole(_logistic(loc, scale, self.levels))

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class DiscretisedLogisticMixture(Family):
    """Mixture of `components` discretised logistics for each value on its own, all parameters from the network.

    The raw locs are counted from evenly spaced grey values, so that the components start apart.

    Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017 (without its coupling of colours).
    """

    centres: Tensor

    def __init__(self, components: int = 5, levels: int = 256) -> None:
        super().__init__()
        self.components = at_least("components", components, 1)
        self.levels = at_least("levels", levels, 2)
        self.register_buffer("centres", (torch.arange(components) + 0.5) / components, persistent=False)

    def size(self, features: int) -> int:
        return 3 * self.components * features

    def forward(self, raw: Tensor) -> Distribution:
        logits, loc, scale = full(raw).unflatten(1, (3, self.components, -1)).movedim(2, -1).unbind(1)
        parts = _logistic(loc + self.centres, scale, self.levels)
        return whole(MixtureSameFamily(td.Categorical(logits=logits, validate_args=False), parts, validate_args=False))

    def extra_repr(self) -> str:
        return f"components={self.components}, levels={self.levels}"


class Categorical(Family):
    """Any law over `levels` grey values in [0, 1], value by value, the raw output its logits."""

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = at_least("levels", levels, 2)

    def size(self, features: int) -> int:
        return self.levels * features

    def forward(self, raw: Tensor) -> Distribution:
        return whole(discretised.GridCategorical(full(raw).unflatten(1, (self.levels, -1)).movedim(1, -1)))

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


def _logistic(loc: Tensor, scale: Tensor, levels: int) -> Distribution:
    return discretised.DiscretisedLogistic(loc, between(scale, 1 / (16 * (levels - 1)), 4.0), levels)


def grey(levels: int | None) -> int:
    if levels is None:
        raise ValueError("likelihood: this one counts grey levels and the data have none; take a normal or Laplace one")
    return levels


class Bernoulli(Family):
    """Independent bits, the raw output their log odds; on grey x in [0, 1] the customary cross-entropy."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        raw = full(raw)
        return distributions.Bernoulli(raw, raw.ndim - 1)
