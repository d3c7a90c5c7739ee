"""A prior that takes one dimension after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.ranges import at_least
from polyvae.model.distributions.one_by_one import UNIT, OneByOne
from polyvae.model.families.flow import zuko
from polyvae.model.vae import Values


class AutoregressivePrior(nn.Module):
    """p(z) = prod_i p(z_i | z_1 ... z_(i-1)), each a mixture of `components` normals, by one masked perceptron of
    `widths`; everything is learned. With weights of zero every dimension is the same mixture, with one component of
    mean 0 and scale 1 besides it is N(0, I). ImportError where zuko, whose masked layers these are, is not installed.

    Germain, Gregor, Murray, Larochelle: MADE: Masked Autoencoder for Distribution Estimation, 2015; Uria, Murray,
    Larochelle: RNADE: The Real-Valued Neural Autoregressive Density-Estimator, 2013.
    """

    reparametrised = False

    def __init__(self, dimensions: int, components: int = 10, widths: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        at_least("dimensions", dimensions, 1)
        self.components = at_least("components", components, 1)
        numbers = 3 * components
        free = torch.stack([torch.zeros(components), torch.randn(components), torch.full((components,), UNIT)])
        self.first = nn.Parameter(free.clone())  # of z_1, which nothing precedes
        self.rest = None
        if dimensions > 1:
            adjacency = torch.ones(dimensions - 1, dimensions - 1, dtype=torch.bool).tril()
            self.rest = zuko().nn.MaskedMLP(adjacency.repeat_interleave(numbers, 0), tuple(widths))
            with torch.no_grad():
                self.rest[-1].bias.copy_(free.flatten().repeat(dimensions - 1))
        self.dimensions = dimensions

    def forward(self, values: Values) -> Distribution:
        return OneByOne(self.raw, self.first, self.dimensions)

    def raw(self, z: Tensor) -> Tensor:
        """Logits, means and scales before softplus of every dimension of z [N, d], [N, d, 3, C]."""
        rows = self.first.expand(len(z), 1, 3, self.components)
        if self.rest is None:
            return rows
        return torch.cat([rows, self.rest(z[:, :-1]).view(len(z), -1, 3, self.components)], 1)

    def extra_repr(self) -> str:
        return f"{self.dimensions}, components={self.components}"
