"""The standard Laplace prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace

from polyvae.checks.ranges import at_least
from polyvae.model.vae import Values


class StandardLaplace(nn.Module):
    """p(z) = prod_i Laplace(z_i; 0, 1) in d `dimensions`: sparser than a normal, and unlike it with axes of its own."""

    zeros: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        at_least("dimensions", dimensions, 1)
        self.register_buffer("zeros", torch.zeros(dimensions), persistent=False)

    def forward(self, values: Values) -> Distribution:
        law = Laplace(self.zeros, torch.ones_like(self.zeros), validate_args=False)
        return Independent(law, 1, validate_args=False)

    def extra_repr(self) -> str:
        return str(len(self.zeros))
