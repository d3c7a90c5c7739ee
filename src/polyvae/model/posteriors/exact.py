"""Parts that learn nothing: the identity as an autoencoder, of grey levels and of vectors, and frozen copies."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.model.distributions.codes import Quantised
from polyvae.model.distributions.exact import Exact, Known
from polyvae.model.parts import given
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


class Copied(nn.Module):
    """The law that knows its value: z is x, or x is z, whichever of them is `given`. Nothing is learned or lost."""

    certain = True  # all its draws are one

    def __init__(self, given: str) -> None:
        super().__init__()
        self.given = (given,)

    def forward(self, values: Values) -> Distribution:
        value = values[self.given[0]]
        return Known(value, value.ndim - 1)

    def extra_repr(self) -> str:
        return f"given={self.given}"


class Frozen(nn.Module):
    """A copy of a part that learns nothing and stays in evaluation mode, whatever is trained around it."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = deepcopy(part).requires_grad_(False).eval()
        self.given = given(part)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.part.eval()
        return self

    def forward(self, values: Values) -> Distribution:
        return self.part(values)
