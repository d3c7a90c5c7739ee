"""The standard normal prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.checks.ranges import at_least
from polyvae.model.vae import Values


class StandardNormal(nn.Module):
    """p(z) = N(0, I) in d `dimensions`, or over a map of such a shape, [C, H, W]."""

    loc: Tensor
    scale: Tensor

    def __init__(self, dimensions: int | Sequence[int]) -> None:
        super().__init__()
        shape = (dimensions,) if isinstance(dimensions, int) else tuple(dimensions)
        at_least("dimensions", min(shape), 1)
        self.register_buffer("loc", torch.zeros(shape), persistent=False)
        self.register_buffer("scale", torch.ones(shape), persistent=False)

    def forward(self, values: Values) -> Distribution:
        normal = Normal(self.loc, self.scale, validate_args=False)
        return Independent(normal, self.loc.ndim, validate_args=False)

    def extra_repr(self) -> str:
        return " x ".join(map(str, self.loc.shape))
