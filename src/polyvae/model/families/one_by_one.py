"""A family that takes one value of a vector after the other, each told of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from polyvae.checks.ranges import at_least
from polyvae.model.distributions.one_by_one import UNIT, OneByOne
from polyvae.model.networks.layers import checked_widths
from polyvae.model.parts import Family
from polyvae.model.precision import full

NEAR = 0.1  # what is left of the last layer's weights at the start: values hardly depend on each other


class Autoregressive(Family):
    """Any law of a vector: p(z | c) = prod_i p(z_i | z_1 ... z_(i-1), c), each a mixture of `components` normals.

    raw holds c, `context` numbers; one masked perceptron of `widths` reads it beside z. A density takes one pass, a
    draw one for each of so many `features`, and has no gradient.

    Germain, Gregor, Murray, Larochelle: MADE: Masked Autoencoder for Distribution Estimation, 2015; Uria, Murray,
    Larochelle: RNADE: The Real-Valued Neural Autoregressive Density-Estimator, 2013.
    """

    def __init__(
        self, features: int, context: int = 128, components: int = 10, widths: Sequence[int] = (128, 128)
    ) -> None:
        super().__init__()
        self.features, self.context = at_least("features", features, 1), at_least("context", context, 1)
        self.components = at_least("components", components, 1)
        numbers = 3 * components
        # How many values of z each number may depend on; c is before the first.
        before = [torch.cat([torch.zeros(context, dtype=torch.int64), torch.arange(1, features + 1)])]
        before += [torch.arange(width) % features for width in checked_widths("widths", widths)]
        before += [torch.arange(features).repeat_interleave(numbers)]
        layers = [Masked(reads, has) for reads, has in pairwise(before)]
        self.layers = nn.ModuleList(layers)
        with torch.no_grad():
            free = torch.stack([torch.zeros(components), torch.randn(components), torch.full((components,), UNIT)])
            layers[-1].weight.mul_(NEAR)
            layers[-1].bias.copy_(free.flatten().repeat(features))

    def size(self, features: int) -> int:
        if features != self.features:
            raise ValueError(f"the law is one of {self.features} values; the latent has {features}")
        return self.context

    def forward(self, raw: Tensor) -> Distribution:
        context = full(raw)
        return OneByOne(lambda z: self._raw(z, context), context, self.features, context.shape[:1])

    def _raw(self, z: Tensor, context: Tensor) -> Tensor:
        """Logits, means and scales before softplus of z [k B, d], all B rows k times, [k B, d, 3, C]."""
        first, *others = self.layers
        # The part of c is the same for all draws.
        h = F.linear(context, first.masked[:, : self.context], first.bias)  # pyright: ignore
        h = h.repeat(len(z) // len(context), 1) + z @ first.masked[:, self.context :].T  # pyright: ignore
        for layer in others:
            h = layer(F.leaky_relu(h))
        return h.unflatten(1, (self.features, 3, self.components))

    def extra_repr(self) -> str:
        return f"{self.features}, context={self.context}, components={self.components}"


class Masked(nn.Linear):
    """A linear layer of numbers that may depend on so many values each: none reads one that may depend on more."""

    mask: Tensor

    def __init__(self, reads: Tensor, has: Tensor) -> None:
        super().__init__(len(reads), len(has))
        self.register_buffer("mask", (has[:, None] >= reads).to(self.weight.dtype), persistent=False)

    @property
    def masked(self) -> Tensor:
        """The weights that count."""
        return self.weight * self.mask

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.masked, self.bias)
