"""Grey values as their own codes: the posterior and the likelihood of a model whose latent is the picture itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, constraints

from polyvae.codes import Quantised
from polyvae.core import Values
from polyvae.discretised import Grid
from polyvae.distributions import Law

_NEAR = 1e-3  # of a grey level: what rounding in single precision may have moved


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


class Exact(Law):
    """All probability on one picture of so many grey `levels`, [B, *event].

    log p(x) = 0 where every value of x is the picture's, -inf elsewhere: also where x lies between grey levels.
    """

    def __init__(self, picture: Tensor, levels: int) -> None:
        self.picture = picture
        self.levels = levels
        super().__init__(picture.shape[:1], picture.shape[1:])

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(Grid(self.levels), len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return self.picture

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.picture)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.picture.detach().expand(self._extended_shape(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        near = ((value - self.picture).abs() * (self.levels - 1) < _NEAR).flatten(-len(self.event_shape)).all(-1)
        return torch.where(near, 0.0, -inf).to(self.picture.dtype)
