"""Priors of a discrete latent and of a vector below it: classes, and a normal for each of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn import functional as F

from polyvae.checks.ranges import at_least
from polyvae.model.distributions import CholeskyNormal, OneHot
from polyvae.model.distributions.law import whole
from polyvae.model.precision import full, full_precision
from polyvae.model.vae import Values

FLOOR = 1e-4  # of a normal's scale


class Classes(nn.Module):
    """p(y) over the C one-hot vectors of `count` classes, equally probable or `learned`.

    `of`: the name of the value of the data that the class is, such as their label; None where nothing names it.
    """

    logits: Tensor

    def __init__(self, count: int, learned: bool = False, of: str | None = None) -> None:
        super().__init__()
        at_least("count", count, 1, "classes")
        start = torch.zeros(count)
        if learned:
            self.logits = nn.Parameter(start)
        else:
            self.register_buffer("logits", start, persistent=False)
        self.of = of

    def forward(self, values: Values) -> Distribution:
        return OneHot(self.logits)

    def extra_repr(self) -> str:
        return f"{len(self.logits)}, of={self.of!r}"


class NormalOfClass(nn.Module):
    """p(z | c) = N(mu_c, S_c), everything learned; S_c diagonal, or any covariance where it is `full`.

    At first every class has N(0, I): all are one, until `set` puts other numbers in. `of`: the name of the latent c,
    one-hot [N, C].

    Jiang, Zheng, Tan, Tang, Zhou: Variational Deep Embedding: An Unsupervised and Generative Approach to Clustering,
    2017, whose covariances are diagonal.
    """

    def __init__(self, dimensions: int, count: int, full: bool = False, of: str = "c") -> None:
        super().__init__()
        at_least("dimensions", dimensions, 1)
        at_least("count", count, 1, "classes")
        self.given = (of,)
        self.loc = nn.Parameter(torch.zeros(count, dimensions))
        self.raw_scale = nn.Parameter(torch.full((count, dimensions), 0.5413))  # softplus -> 1
        self.lower = nn.Parameter(torch.zeros(count, dimensions, dimensions)) if full else None

    @torch.no_grad()
    def set(self, means: Tensor, covariances: Tensor) -> None:
        """Takes means [C, d] and covariances [C, d, d], of which a diagonal law keeps the variances."""
        tril = torch.linalg.cholesky(covariances)
        scale = (
            tril.diagonal(dim1=-2, dim2=-1) if self.lower is not None else covariances.diagonal(dim1=-2, dim2=-1).sqrt()
        )
        self.loc.copy_(means)
        self.raw_scale.copy_((scale - FLOOR).clamp(min=FLOOR).expm1().log())
        if self.lower is not None:
            self.lower.copy_(tril.tril(-1))

    def forward(self, values: Values) -> Distribution:
        chosen = full(values[self.given[0]])
        with full_precision(chosen.device):
            loc, scale = chosen @ self.loc, chosen @ (F.softplus(self.raw_scale) + FLOOR)
            if self.lower is None:
                return whole(Normal(loc, scale, validate_args=False))
            lower = (chosen @ self.lower.tril(-1).flatten(1)).unflatten(1, self.lower.shape[1:])
        return CholeskyNormal(loc, scale_tril=lower + scale.diag_embed(), validate_args=False)

    def extra_repr(self) -> str:
        return f"{self.loc.shape[1]}, count={self.loc.shape[0]}, full={self.lower is not None}"
