"""A law of a vector that takes one value after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log

import torch
from torch import Size, Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn import functional as F

from polyvae.model.distributions.law import Law

UNIT = log(torch.e - 1)  # whose softplus is 1
LEAST = 1e-4  # of a scale


class OneByOne(Law):
    """p(z) = prod_i p(z_i | z_1 ... z_(i-1)), each a mixture of normals: `raw` maps z [N, d] to logits, means and
    scales before softplus, [N, d, 3, C], of which row i must not depend on z_i or what follows. A draw takes d passes.

    `rows`: the batch shape, none for one law for all, or [B]: N rows are then all of them, once for every draw.
    """

    def __init__(
        self,
        raw: Callable[[Tensor], Tensor],
        like: Tensor,
        dimensions: int,
        rows: Size = Size(),  # noqa: B008
    ) -> None:
        self.raw, self.like = raw, like
        super().__init__(rows, (dimensions,))

    def log_prob(self, value: Tensor) -> Tensor:
        z = value.reshape(-1, *self.event_shape)
        return each(self.raw(z)).log_prob(z).sum(-1).view(value.shape[:-1])

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = Size((*sample_shape, *self.batch_shape, *self.event_shape))
        z = self.like.new_zeros(shape).view(-1, *self.event_shape)
        with torch.no_grad():
            for i in range(z.shape[1]):
                z[:, i] = each(self.raw(z)[:, i]).sample()
        return z.view(shape)


def each(raw: Tensor) -> MixtureSameFamily:
    """The mixtures of raw numbers [..., 3, C]."""
    logits, loc, scale = raw.unbind(-2)
    normals = Normal(loc, F.softplus(scale) + LEAST, validate_args=False)
    return MixtureSameFamily(Categorical(logits=logits, validate_args=False), normals, validate_args=False)
