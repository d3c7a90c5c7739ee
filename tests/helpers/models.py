"""Small models of normal laws, and a user's own part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks import mlp
from polyvae.model.priors.normal import StandardNormal


def part(
    given: str | Sequence[str], inputs: Sequence[int], output: int, family: pv.Family | None = None
) -> pv.Conditional:
    """A perceptron of the given values and a family, diagonal normal unless asked otherwise."""
    family = family or DiagonalNormal()
    return pv.Conditional(mlp([(size,) for size in inputs], (family.size(output),), (5,)), family, given)


def plain(d: int = 2, width: int = 4, family: pv.Family | None = None) -> pv.VAE:
    """One latent, N(0, I) before anything is seen."""
    return pv.VAE(part("x", [width], d, family), StandardNormal(d), part("z", [d], width))


def two_level(bottom_up: bool = False) -> pv.VAE:
    """p(top) p(low | top) p(x | low, top), inferred from the top or from the bottom."""
    low_first = {"low": part("x", [4], 2), "top": part(("x", "low"), [4, 2], 3)}
    top_first = {"top": part("x", [4], 3), "low": part(("x", "top"), [4, 3], 2)}
    prior = {"top": StandardNormal(3), "low": part("top", [3], 2)}
    return pv.VAE(low_first if bottom_up else top_first, prior, part(("low", "top"), [2, 3], 4))


class Affine(nn.Module):
    """A user's own part: N(sum_i w_i v_i + b, s^2) of one-dimensional values."""

    def __init__(self, bias: float, scale: float, **weights: float) -> None:
        super().__init__()
        self.bias, self.scale, self.weights, self.given = bias, scale, weights, tuple(weights)

    def forward(self, values: pv.Values) -> Distribution:
        loc = sum((w * values[name] for name, w in self.weights.items()), torch.tensor(self.bias).double())
        return Independent(Normal(loc, torch.full_like(loc, self.scale)), 1)


# p(b) p(a | b) p(x | a, b) and three ways to infer: from the top, from the bottom, and both at once.
INFERENCES = {
    "top first": {"b": Affine(0.1, 0.8, x=0.4), "a": Affine(-0.2, 0.6, x=0.3, b=0.5)},
    "bottom up": {"a": Affine(0.1, 0.7, x=0.5), "b": Affine(0.2, 0.9, a=0.6, x=0.1)},
    "mean field": {"b": Affine(0.1, 0.8, x=0.4), "a": Affine(-0.2, 0.6, x=0.3)},
    "mean field, bottom first": {"a": Affine(-0.2, 0.6, x=0.3), "b": Affine(0.1, 0.8, x=0.4)},
}
