"""Families of a posterior that is told beside its prior: both raws come together, the posterior's own first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from polyvae.model.distributions.law import whole
from polyvae.model.families.real import FLOOR, checked_floor, positive
from polyvae.model.parts import Family
from polyvae.model.precision import full


class _Relative(Family):
    """A normal law made of two, both as `DiagonalNormal` reads them: one's own, and the prior's."""

    def __init__(self, floor: float = FLOOR) -> None:
        super().__init__()
        self.floor = checked_floor(floor)

    def size(self, features: int) -> int:
        return 4 * features

    def forward(self, raw: Tensor) -> Distribution:
        loc, scale, prior_loc, prior_scale = full(raw).chunk(4, 1)
        found = self.made(loc, positive(scale, self.floor), prior_loc, positive(prior_scale, self.floor))
        return whole(Normal(*found, validate_args=False))

    def made(self, loc: Tensor, scale: Tensor, prior_loc: Tensor, prior_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Loc and scale of the posterior."""
        raise NotImplementedError


class ResidualNormal(_Relative):
    """q = N(m + s mu, diag (s sigma)^2), in units of the prior N(m, diag s^2): at raw 0 the posterior is the prior.

    KL(q || p) = 1/2 sum mu^2 + sigma^2 - 1 - log sigma^2, whatever the prior is.

    raw [B, 4 F, *rest] holds mu and sigma as `DiagonalNormal` does, then m and s.

    Vahdat, Kautz: NVAE: A Deep Hierarchical Variational Autoencoder, 2020, whose mean is m + mu: here the shift counts
    in the prior's scale too, so that the divergence does not depend on it.
    """

    def made(self, loc: Tensor, scale: Tensor, prior_loc: Tensor, prior_scale: Tensor) -> tuple[Tensor, Tensor]:
        return prior_loc + prior_scale * loc, prior_scale * scale


class PrecisionNormal(_Relative):
    """q proportional to N(z; mu, diag sigma^2) N(z; m, diag s^2): what is seen and the prior, by their precisions.

    1 / v = 1 / sigma^2 + 1 / s^2, mean v (mu / sigma^2 + m / s^2), v its variance

    raw [B, 4 F, *rest] holds mu and sigma as `DiagonalNormal` does, then m and s. With the prior's own N(m, s^2) and a
    likelihood that is N(mu; z, sigma^2) of z this is Bayes' rule.

    Sonderby, Raiko, Maaloe, Sonderby, Winther: Ladder Variational Autoencoders, 2016.
    """

    def made(self, loc: Tensor, scale: Tensor, prior_loc: Tensor, prior_scale: Tensor) -> tuple[Tensor, Tensor]:
        share = prior_scale.square() / (scale.square() + prior_scale.square())  # of what is seen
        return prior_loc + share * (loc - prior_loc), scale * share.sqrt()


class Beside(nn.Module):
    """net(*inputs) and the last value beside it, along dimension 1: what a relative family reads.

    The last value is the prior's raw, which the network does not see.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *tensors: Tensor) -> Tensor:
        *given, prior = tensors
        return torch.cat([self.net(*given), prior], 1)
