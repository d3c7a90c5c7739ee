"""Grey values whose colours depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Categorical, constraints

from polyvae.model.distributions.grey import DiscretisedLogistic, GreyLevels
from polyvae.model.distributions.law import Law


class CoupledLogisticMixture(Law):
    """Mixture of discretised logistics over all channels of a place, each channel's loc moved by those before it.

    p(x) = prod_places sum_k w_k prod_c DiscretisedLogistic(x_c; m_kc + sum_{b < c} a_kcb (x_b - 1/2), s_kc)

    `logits` [*batch, K, *places], `loc` and `scale` [*batch, K, C, *places], `coupling` [*batch, K, C, C, *places],
    strictly lower triangular in C x C; an event has `event_dim` dimensions, [C, *places]. x must lie on the grid. The
    channels of a place depend on each other, so that its values have no score of their own.

    Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017, whose x lie in [-1, 1].
    """

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, coupling: Tensor, levels: int = 256, event_dim: int = 3
    ) -> None:
        self.logits, self.loc, self.scale, self.coupling, self.levels = logits, loc, scale, coupling, levels
        self.channel = -event_dim
        super().__init__(loc.shape[: self.channel - 1], loc.shape[self.channel :])

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(GreyLevels(self.levels), len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """Exact in the first channel; in each other, that of the locs at the means of the channels before it.

        A loc is linear in these: what is missing is how the open bins bend a mean near 0 and 1, at 256 levels some
        tenths of a grey level, and up to ten where a law is wide and lies beyond an edge.
        """
        means = self._in_turn(self.loc, self.scale, self.coupling, lambda law: law.mean)
        weights = self.logits.softmax(self.channel).unsqueeze(self.channel)
        return (weights * means).sum(self.channel - 1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            law = Categorical(logits=self.logits.movedim(self.channel, -1), validate_args=False)
            chosen = law.sample(Size(sample_shape))  # [*sample, *batch, *places]
            loc, scale, coupling = (self._of(chosen, each) for each in (self.loc, self.scale, self.coupling))
            return self._in_turn(loc, scale, coupling, lambda law: law.sample())

    def log_prob(self, value: Tensor) -> Tensor:
        x = value.unsqueeze(self.channel - 1)  # of every component
        moved = (self.coupling * (x.unsqueeze(self.channel - 1) - 0.5)).sum(self.channel)
        scores = DiscretisedLogistic(self.loc + moved, self.scale, self.levels).log_prob(x).sum(self.channel)
        places = (scores + self.logits.log_softmax(self.channel)).logsumexp(self.channel)
        return places.sum(tuple(range(self.channel + 1, 0))) if len(self.event_shape) > 1 else places

    def _of(self, chosen: Tensor, value: Tensor) -> Tensor:
        """What belongs to the chosen component of each place, whose dimension goes."""
        own = value.ndim - self.logits.ndim + 1  # dimensions from that of components to the places
        index = chosen
        for _ in range(own):
            index = index.unsqueeze(self.channel)
        dim = self.channel - own + 1
        every = value.expand(*chosen.shape[: chosen.ndim - self.logits.ndim + 1], *value.shape)
        return every.take_along_dim(index, dim).squeeze(dim)

    def _in_turn(
        self, loc: Tensor, scale: Tensor, coupling: Tensor, read: Callable[[DiscretisedLogistic], Tensor]
    ) -> Tensor:
        """What is read off each channel's law, given what was read off those before it, [..., C, *places]."""
        found: list[Tensor] = []
        for c in range(self.event_shape[0]):
            at = loc.select(self.channel, c)
            if found:
                weights = coupling.select(self.channel - 1, c).narrow(self.channel, 0, c)
                at = at + (weights * (torch.stack(found, self.channel) - 0.5)).sum(self.channel)
            found.append(read(DiscretisedLogistic(at, scale.select(self.channel, c), self.levels)))
        return torch.stack(found, self.channel)
