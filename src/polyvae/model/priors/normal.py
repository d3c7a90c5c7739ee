"""The standard normal prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.checks.ranges import at_least
from polyvae.model.vae import Values


class StandardNormal(nn.Module):
    """p(z) = N(0, I) in d `dimensions`."""

    loc: Tensor
    scale: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        at_least("dimensions", dimensions, 1)
        self.register_buffer("loc", torch.zeros(dimensions), persistent=False)
        self.register_buffer("scale", torch.ones(dimensions), persistent=False)

    def forward(self, values: Values) -> Distribution:
        return Independent(Normal(self.loc, self.scale, validate_args=False), 1, validate_args=False)

    def extra_repr(self) -> str:
        return f"{len(self.loc)}"
