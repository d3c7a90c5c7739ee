"""Families of normals whose values depend on each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.checks.ranges import at_least
from polyvae.model import distributions
from polyvae.model.distributions.structured import later
from polyvae.model.families.scales import HIGHEST, LOWEST, between
from polyvae.model.parts import Family, features_of
from polyvae.model.precision import full

_MOST = 2.0  # of a weight, either way: the smoothest continuation of a picture, down + right - down and right, needs 1
_GAIN = 1 / 8  # of a weight: as many as there are add up, and a picture starts near independent residuals


class StructuredNormal(Family):
    """Normal of a picture whose residuals depend on their neighbours', all of it from the network.

    x_i - mu_i = sum_j w_ij (x_j - mu_j) + s_i eps_i, w = 2 tanh(raw / 16)

    j runs over the later channels of the same place and all channels of those later places, in row-major order, that
    lie at most `neighbourhood` rows and columns away. The scales are those of `PixelNormal("network")`, which it is
    where the weights are zero. `neighbourhood` 0 couples the channels of each place alone; of a table, which is one
    place, these are all its columns. See `distributions.StructuredNormal`.

    Dorta, Vicente, Agapito, Campbell, Simpson: Structured Uncertainty Prediction Networks, 2018; Training VAEs Under
    Structured Residuals, 2018.
    """

    def __init__(self, neighbourhood: int = 1) -> None:
        super().__init__()
        self.neighbourhood = at_least("neighbourhood", neighbourhood, 0, "rows and columns")
        self.places = len(later(neighbourhood))

    def size(self, features: int) -> int:
        return 2 * features + features * (features - 1) // 2 + self.places * features**2

    def forward(self, raw: Tensor) -> Distribution:
        channels, rest = features_of(self, raw.shape[1]), raw.shape[2:]
        sizes = [channels, channels, channels * (channels - 1) // 2, self.places * channels**2]
        loc, scale, within, around = full(raw).split(sizes, 1)
        row, column = torch.triu_indices(channels, channels, 1, device=raw.device)
        own = loc.new_zeros(len(raw), channels, channels, *rest)
        own[:, row, column] = _weight(within)
        around = _weight(around).unflatten(1, (self.places, channels, channels))
        weights = torch.cat([own.unsqueeze(1), around], 1)
        scale = between(scale, LOWEST, HIGHEST)
        return distributions.StructuredNormal(loc, scale, weights, self.neighbourhood, raw.ndim - 1)

    def extra_repr(self) -> str:
        return f"neighbourhood={self.neighbourhood}"


def _weight(raw: Tensor) -> Tensor:
    return _MOST * (_GAIN / _MOST * raw).tanh()


class LowRankResiduals(Family):
    """Normal with covariance diag s^2 + V V^T over all values of a picture or a table, all of it from the network.

    x = mu + s eps + V a, eps and a standard normal, V [D, rank]

    What many values share, such as the light on a picture, is one of the `rank` numbers a. The scales are those of
    `PixelNormal("network")`, which it is where V is zero. See `distributions.LowRankNormal`.

    Monteiro, Le Folgoc, de Castro, et al.: Stochastic Segmentation Networks, 2020.
    """

    def __init__(self, rank: int = 5) -> None:
        super().__init__()
        self.rank = at_least("rank", rank, 1)

    def size(self, features: int) -> int:
        return (2 + self.rank) * features

    def forward(self, raw: Tensor) -> Distribution:
        loc, scale, *columns = full(raw).unflatten(1, (2 + self.rank, -1)).unbind(1)
        factor = torch.stack([column.flatten(1) for column in columns], -1)
        scale = between(scale, LOWEST, HIGHEST).flatten(1)
        return distributions.Reshaped(distributions.LowRankNormal(loc.flatten(1), factor, scale), loc.shape[1:])

    def extra_repr(self) -> str:
        return f"rank={self.rank}"
