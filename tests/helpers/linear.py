"""A linear Gaussian model whose evidence and posterior are known, with an encoder that knows nothing of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, kl_divergence

import polyvae as pv
from polyvae.data import Split
from polyvae.model.networks import mlp

D, WIDTH, SCALE = 2, 4, 0.6


class Linear(nn.Module):
    """p(x | z) = N(W z, s^2 I)."""

    given = ("z",)

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(WIDTH, D, generator=generator))

    def forward(self, values: pv.Values) -> Distribution:
        loc = values["z"] @ self.weight.T
        return Independent(Normal(loc, torch.full_like(loc, SCALE)), 1)


def linear_gaussian(family: pv.Family, count: int = 12) -> tuple[pv.VAE, Split, Tensor]:
    """Model, data and log p(x) of each example, in double precision."""
    torch.manual_seed(0)
    encoder = mlp([(WIDTH,)], (family.size(D),), (5,))
    decoder = Linear()
    model = pv.VAE(pv.Conditional(encoder, family, "x"), pv.priors.StandardNormal(D), decoder).double()
    x = torch.randn(count, WIDTH, dtype=torch.float64) * 1.5
    weight = decoder.weight.detach()
    covariance = weight @ weight.T + SCALE**2 * torch.eye(WIDTH, dtype=torch.float64)
    exact = MultivariateNormal(torch.zeros(WIDTH, dtype=torch.float64), covariance).log_prob(x)
    return model, Split({"x": x}), exact


def divergence(law: Distribution, model: pv.VAE, x: Tensor) -> Tensor:
    """KL(q || p(z | x)) of normal laws q [N], by which the plain bound is below log p(x)."""
    weight = model.heads["x"].likelihood.weight.detach()
    precision = torch.eye(D, dtype=torch.float64) + weight.T @ weight / SCALE**2
    covariance = torch.linalg.inv(precision)
    exact = MultivariateNormal(x @ weight @ covariance / SCALE**2, covariance)
    found = law.variance.diag_embed() if isinstance(law, Independent) else law.covariance_matrix
    return kl_divergence(MultivariateNormal(law.mean.detach(), found.detach()), exact)
