"""Families over a vector: low rank plus diagonal and mixtures, between the diagonal normal and any law, and classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from polyvae.checks.ranges import at_least
from polyvae.model import distributions
from polyvae.model.distributions.law import whole
from polyvae.model.families.real import FLOOR, checked_floor, positive
from polyvae.model.precision import full
from polyvae.model.vae import Family

NEAR = 0.1  # of a factor: what the network says of it counts little at the start


class LowRankNormal(Family):
    """Normal with covariance diag s^2 + V V^T over a vector of d values, V [d, rank].

    z = mu + s eps + V a, eps and a standard normal

    raw holds mu and s as `DiagonalNormal` does, then 10 V, so that a new network starts near the diagonal; with V zero
    it is `DiagonalNormal`.

    Rezende, Mohamed, Wierstra: Stochastic Backpropagation, 2014, section 4.3, has rank one in the precision.
    """

    def __init__(self, rank: int = 2, floor: float = FLOOR) -> None:
        super().__init__()
        self.rank, self.floor = at_least("rank", rank, 1), checked_floor(floor)

    def size(self, features: int) -> int:
        return (2 + self.rank) * features

    def forward(self, raw: Tensor) -> Distribution:
        features, rest = divmod(raw.shape[1], 2 + self.rank)
        if raw.ndim != 2 or rest:
            raise ValueError(f"a normal of rank {self.rank} needs raw [B, d (2 + {self.rank})], got {list(raw.shape)}")
        loc, scale, factor = full(raw).split([features, features, self.rank * features], 1)
        factor = NEAR * factor.unflatten(1, (features, -1))
        return distributions.LowRankNormal(loc, factor, positive(scale, self.floor))

    def extra_repr(self) -> str:
        return f"rank={self.rank}"


class MixtureNormal(Family):
    """Mixture of normals with independent values over a vector, weights, locs and scales from the network.

    q(z) = sum_k w_k N(mu_k, diag s_k^2), w = softmax(0, raw_w)

    raw holds mu_1 and what the others add to it, s likewise before the map of `DiagonalNormal`, and the logits but the
    first; one component is `DiagonalNormal`.
    """

    def __init__(self, components: int = 5, floor: float = FLOOR) -> None:
        super().__init__()
        self.components, self.floor = at_least("components", components, 1), checked_floor(floor)

    def size(self, features: int) -> int:
        return self.components * (2 * features + 1) - 1

    def forward(self, raw: Tensor) -> Distribution:
        values = raw.shape[1] - (self.components - 1)
        if raw.ndim != 2 or values % (2 * self.components):
            raise ValueError(f"a mixture of {self.components} needs raw [B, K (2 d + 1) - 1], got {list(raw.shape)}")
        loc, scale, logits = full(raw).split([values // 2, values // 2, self.components - 1], 1)
        if self.components == 1:  # whose divergence has a closed form
            return whole(Normal(loc, positive(scale, self.floor), validate_args=False))
        loc, scale = (self._apart(each) for each in (loc, scale))
        normals = Independent(Normal(loc, positive(scale, self.floor), validate_args=False), 1, validate_args=False)
        logits = torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)
        chosen = Categorical(logits=logits, validate_args=False)
        return distributions.NormalMixture(chosen, normals, validate_args=False)

    def _apart(self, raw: Tensor) -> Tensor:
        """[B, K d] -> [B, K, d], those after the first added to it."""
        first, *others = raw.chunk(self.components, 1)
        return torch.stack([first, *(first + other for other in others)], 1)

    def extra_repr(self) -> str:
        return f"components={self.components}"


class OneHot(Family):
    """One of C classes, as a vector of zeros and a one; raw holds their logits.

    Its values can be listed: a latent of this law may be summed over.
    """

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        return distributions.OneHot(full(raw))
