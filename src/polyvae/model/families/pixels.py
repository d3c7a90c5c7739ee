"""Families over pixels: bits, grey values, and values in [0, 1]."""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor
from torch import distributions as td
from torch.distributions import Distribution, MixtureSameFamily

from polyvae.checks.ranges import at_least
from polyvae.model import distributions
from polyvae.model.distributions import grey as discretised
from polyvae.model.distributions.hats import hats_of
from polyvae.model.distributions.law import whole
from polyvae.model.families.scales import between, raw_between
from polyvae.model.parts import Family, features_of
from polyvae.model.precision import full

SURE = 1 / 512  # half a grey level: what bits are kept from either end that a network is to move


class DiscretisedLogistic(Family):
    """Logistic rounded to `levels` grey values, loc (the raw output) and scale from the network, value by value.

    The scale lies between 1/16 of a grey level and 4. See `discretised.DiscretisedLogistic`.
    """

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = at_least("levels", levels, 2)

    def size(self, features: int) -> int:
        return 2 * features

    def around(self, mean: Tensor, std: Tensor) -> Tensor:
        """The raw output whose law has this mean and about this standard deviation."""
        return torch.cat([mean, raw_between(std * (sqrt(3) / pi), *_ends(self.levels))], 1)

    def forward(self, raw: Tensor) -> Distribution:
        loc, scale = full(raw).chunk(2, 1)
        return whole(_logistic(loc, scale, self.levels))

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class DiscretisedLogisticMixture(Family):
    """Mixture of `components` discretised logistics for each value on its own, all parameters from the network.

    The raw locs are counted from evenly spaced grey values, so that the components start apart.

    Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017, without its coupling of colours: see `CoupledLogisticMixture`.
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


class CoupledLogisticMixture(Family):
    """Mixture of `components` discretised logistics for all channels of a pixel, each loc moved by the colours before.

    Green is moved by a (red - 1/2), blue by red and green, a = tanh raw. All else is as in
    `DiscretisedLogisticMixture`, which it is where there is one channel; of a table the channels are its columns.

    Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017.
    """

    centres: Tensor

    def __init__(self, components: int = 5, levels: int = 256) -> None:
        super().__init__()
        self.components = at_least("components", components, 1)
        self.levels = at_least("levels", levels, 2)
        self.register_buffer("centres", (torch.arange(components) + 0.5) / components, persistent=False)

    def size(self, features: int) -> int:
        return self.components * (1 + 2 * features + features * (features - 1) // 2)

    def forward(self, raw: Tensor) -> Distribution:
        channels = features_of(self, raw.shape[1])
        sizes = [self.components * count for count in (1, channels, channels, channels * (channels - 1) // 2)]
        logits, loc, scale, pairs = (each.unflatten(1, (self.components, -1)) for each in full(raw).split(sizes, 1))
        loc = loc + self.centres.view(-1, *[1] * (raw.ndim - 1))
        row, column = torch.tril_indices(channels, channels, -1, device=raw.device)
        coupling = loc.new_zeros(*loc.shape[:3], channels, *loc.shape[3:])
        coupling[:, :, row, column] = pairs.tanh()
        scale = _scale(scale, self.levels)
        return distributions.CoupledLogisticMixture(logits.squeeze(2), loc, scale, coupling, self.levels, raw.ndim - 1)

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


class PiecewiseLinear(Family):
    """Any law over `levels` grey values in [0, 1] that is linear between `knots` of them, value by value.

    Of pictures that are nearly black and white, as of smooth ones, at the price of a few numbers a value. See
    `distributions.PiecewiseLinear`.
    """

    hats: Tensor

    def __init__(self, knots: int = 12, levels: int = 256) -> None:
        super().__init__()
        self.knots = at_least("knots", knots, 2)
        self.levels = at_least("levels", levels, 2)
        self.register_buffer("hats", hats_of(knots, levels), persistent=False)

    def size(self, features: int) -> int:
        return len(self.hats) * features

    def forward(self, raw: Tensor) -> Distribution:
        logits = full(raw).unflatten(1, (len(self.hats), -1)).movedim(1, -1)
        hats = self.hats.to(logits)
        return whole(distributions.PiecewiseLinear(logits, hats / hats.sum(1, keepdim=True)))

    def extra_repr(self) -> str:
        return f"knots={self.knots}, levels={self.levels}"


def _logistic(loc: Tensor, scale: Tensor, levels: int) -> Distribution:
    return discretised.DiscretisedLogistic(loc, _scale(scale, levels), levels)


def _scale(raw: Tensor, levels: int) -> Tensor:
    return between(raw, *_ends(levels))


def _ends(levels: int) -> tuple[float, float]:
    """Between which a scale lies."""
    return 1 / (16 * (levels - 1)), 4.0


def grey(levels: int | None) -> int:
    if levels is None:
        raise ValueError("likelihood: this one counts grey levels and the data have none; take a normal or Laplace one")
    return levels


class Bernoulli(Family):
    """Independent bits, the raw output their log odds; on grey x in [0, 1] the customary cross-entropy."""

    def size(self, features: int) -> int:
        return features

    def raw(self, mean: Tensor) -> Tensor:
        """The raw output whose law has this mean."""
        return mean.logit()

    def around(self, mean: Tensor, std: Tensor) -> Tensor:
        """The raw output whose law has about this mean: at its ends a network would move nothing."""
        return mean.logit(SURE)

    def forward(self, raw: Tensor) -> Distribution:
        raw = full(raw)
        return distributions.Bernoulli(raw, raw.ndim - 1)


class ContinuousBernoulli(Family):
    """Independent values in [0, 1] of density proportional to exp(x l), l the raw output: `Bernoulli` with the
    normaliser that grey values need.

    Loaiza-Ganem, Cunningham: The continuous Bernoulli: fixing a pervasive error in variational autoencoders, 2019.
    """

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        raw = full(raw)
        return distributions.ContinuousBernoulli(raw, raw.ndim - 1)
