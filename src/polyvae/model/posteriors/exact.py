"""The autoencoder that is the identity: a posterior that reads grey levels off, a likelihood that returns them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.model.distributions.codes import Quantised
from polyvae.model.distributions.exact import Exact
from polyvae.model.vae import Values


class Greys(nn.Module):
    """The codebook 0, 1 / (levels - 1), ..., 1: code k is the grey value k / (levels - 1), a word of one number."""

    weight: Tensor
    dim = 1

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.size = levels
        self.register_buffer("weight", torch.arange(levels)[:, None] / (levels - 1), persistent=False)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> grey values [B, 1, *rest]."""
        return (codes.to(self.weight.dtype) / (self.size - 1)).unsqueeze(1)

    def nearest(self, encoded: Tensor) -> Tensor:
        """The codes [B, *rest] of the grey levels nearest to [B, 1, *rest]."""
        return (encoded.squeeze(1) * (self.size - 1)).round().long().clamp(0, self.size - 1)

    def extra_repr(self) -> str:
        return f"levels={self.size}"


class ExactCode(nn.Module):
    """q(z | x) = 1 at the grey levels of x [B, *rest]: z [B, 1, *rest]. Nothing is learned and nothing is lost."""

    given = ("x",)
    certain = True  # all its draws are one

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.codebook = Greys(levels)

    def forward(self, values: Values) -> Quantised:
        codes = self.codebook.nearest(values["x"].unsqueeze(1))
        words = self.codebook.embed(codes)
        return Quantised(codes, words, words)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> z [B, 1, *rest]."""
        return self.codebook.embed(codes)


class ExactDecoder(nn.Module):
    """p(x | z) = 1 at the picture whose grey levels are z [B, 1, *rest]."""

    given = ("z",)

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, values: Values) -> Distribution:
        return Exact(values["z"].squeeze(1), self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"
