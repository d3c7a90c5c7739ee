"""Models of discrete latents and of one law of two, small enough to be worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import distributions as td
from torch.distributions import Distribution

import polyvae as pv
from polyvae.model.networks import mlp
from polyvae.model.priors.normal import StandardNormal


class OneHot(pv.Family):
    """One of `classes`, as a one-hot vector; the raw output its logits."""

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        return td.OneHotCategorical(logits=raw, validate_args=False)


class Fixed(nn.Module):
    """p(y), the same for all."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, values: pv.Values) -> Distribution:
        return td.OneHotCategorical(logits=self.logits, validate_args=False)


class Component(nn.Module):
    """p(x | y) = N(mu_y, 1)."""

    given = ("y",)

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.means = nn.Parameter(means)

    def forward(self, values: pv.Values) -> Distribution:
        return td.Independent(td.Normal(values["y"] @ self.means, 1.0), 1)


def m2(classes: int = 3, width: int = 4, latent: int = 2) -> pv.VAE:
    """Semi-supervised M2: q(y | x) q(z | x, y) p(y) p(z) p(x | y, z).

    Kingma, Rezende, Mohamed, Welling: Semi-supervised Learning with Deep Generative Models, 2014.
    """
    torch.manual_seed(1)
    normal = pv.families.DiagonalNormal()
    q_y = pv.Conditional(mlp([(width,)], (classes,), (6,)), OneHot(), "x")
    q_z = pv.Conditional(mlp([(width,), (classes,)], (normal.size(latent),), (6,)), normal, ("x", "y"))
    p_x = pv.Conditional(mlp([(latent,), (classes,)], (normal.size(width),), (6,)), normal, ("z", "y"))
    prior = {"y": Fixed(torch.zeros(classes)), "z": StandardNormal(latent)}
    return pv.VAE({"y": q_y, "z": q_z}, prior, p_x, summed=["y"]).double()


class Together(nn.Module):
    """One normal law of a and b at once, with a full covariance."""

    def __init__(self, given: tuple[str, ...] = (), size: int = 5) -> None:
        super().__init__()
        self.given, self.shapes = given, {"a": (2,), "b": (3,)}
        self.loc, self.tril = (
            nn.Parameter(torch.randn(size)),
            nn.Parameter(torch.eye(size) + 0.3 * torch.randn(size, size).tril(-1)),
        )

    def forward(self, values: pv.Values) -> Distribution:
        loc = self.loc + values["x"].sum(1, keepdim=True) if self.given else self.loc
        return td.MultivariateNormal(loc, scale_tril=self.tril.tril(), validate_args=False)


def pair(of: str) -> pv.VAE:
    """A model of the latents a and b, whose prior or posterior is one law of both."""
    torch.manual_seed(0)
    normal = pv.families.DiagonalNormal()

    def separate(given: str) -> dict[str, nn.Module]:
        return {n: pv.Conditional(mlp([(4,)], (2 * d,), (5,)), normal, given) for n, d in (("a", 2), ("b", 3))}

    p_x = pv.Conditional(mlp([(2,), (3,)], (8,), (5,)), normal, ("a", "b"))
    if of == "prior":
        return pv.VAE(separate("x"), {"both": Together()}, p_x).double()
    return pv.VAE({"both": Together(("x",))}, {"a": StandardNormal(2), "b": StandardNormal(3)}, p_x).double()
