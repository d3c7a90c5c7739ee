"""The prior under which all maps of codes are equally likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.distributions import Distribution

from polyvae.model.distributions.codes import UniformCodes
from polyvae.model.vae import Values


class UniformPrior(nn.Module):
    """p(z): every map of the codebook's words equally probable, [] batch shape."""

    given = ()

    def __init__(self, codebook: Any, positions: Sequence[int]) -> None:
        super().__init__()
        self.codebook = codebook
        self.positions = tuple(positions)

    def forward(self, values: Values) -> Distribution:
        return UniformCodes(self.codebook, self.positions)

    def extra_repr(self) -> str:
        return f"positions={self.positions}"
