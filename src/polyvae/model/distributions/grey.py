"""Laws over grey values: the numbers 0, 1 / (levels - 1), ..., 1 that a picture of so many levels holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import lazy_property
from torch.nn import functional as F

from polyvae.model.distributions.law import Law


class GreyLevels(constraints.Constraint):
    """The `levels` grey values 0, 1 / (levels - 1), ..., 1."""

    is_discrete = True
    event_dim = 0

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def check(self, value: Tensor) -> Tensor:
        steps = value * (self.levels - 1)
        return (value >= 0) & (value <= 1) & ((steps - steps.round()).abs() < 1e-3)


class DiscretisedLogistic(Law):
    """Logistic with `loc` and `scale` in units of [0, 1], rounded to `levels` grey values; the edge bins are open.

    p(x) = F(x + h/2) - F(x - h/2), F(0 - h/2) := 0, F(1 + h/2) := 1, h = 1 / (levels - 1)

    One law per value; x must lie on the grid. With a and b the two arguments in units of the scale, the difference is
    log F(a) + log(1 - F(b)) + log(1 - exp(b - a)), which is finite everywhere.

    Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017.
    """

    def __init__(self, loc: Tensor, scale: Tensor, levels: int = 256) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape)

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> DiscretisedLogistic:
        shape = Size(batch_shape)
        return DiscretisedLogistic(self.loc.expand(shape), self.scale.expand(shape), self.levels)

    @property
    def support(self) -> constraints.Constraint:
        return GreyLevels(self.levels)

    @property
    def mean(self) -> Tensor:
        """sum_j h P(x >= j h) for up to 32 levels; above, its integral, off by less than half a grey level.

        The integral is the mean of the logistic clamped to [0, 1] but not rounded. A sum over 256 levels costs a
        hundred times as much, and unless the scale is below one grey level they differ by less than 0.02 of one.
        """
        loc, scale = self.loc, self.scale
        if self.levels > 32:
            return scale * (F.softplus(loc / scale) - F.softplus((loc - 1) / scale))
        step = 1 / (self.levels - 1)
        edges = (torch.arange(1, self.levels, dtype=loc.dtype, device=loc.device) - 0.5) * step
        return ((loc.unsqueeze(-1) - edges) / scale.unsqueeze(-1)).sigmoid().sum(-1) * step

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(Size(sample_shape))
            uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            x = self.loc + self.scale * uniform.logit(eps=torch.finfo(uniform.dtype).tiny)
            return (x.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        step = 1 / (self.levels - 1)
        centred = value - self.loc
        below = F.logsigmoid((centred + 0.5 * step) / self.scale)
        above = F.logsigmoid((0.5 * step - centred) / self.scale)
        width = (-torch.expm1(-step / self.scale)).log()
        low, high = value < 0.5 * step, value > 1 - 0.5 * step
        return torch.where(low, below, torch.where(high, above, below + above + width))


class GridCategorical(Law):
    """Any law over the grey values 0, 1 / (levels - 1), ..., 1, one per value; `logits` [*batch, levels].

    log p(x) = logits[x (levels - 1)] - logsumexp(logits). x must lie on the grid.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.levels = logits.shape[-1]
        super().__init__(logits.shape[:-1])

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> GridCategorical:
        return GridCategorical(self.logits.expand(*batch_shape, self.levels))

    @property
    def support(self) -> constraints.Constraint:
        return GreyLevels(self.levels)

    @lazy_property
    def probs(self) -> Tensor:
        return self.logits.softmax(-1)

    @property
    def mean(self) -> Tensor:
        grid = torch.linspace(0, 1, self.levels, dtype=self.logits.dtype, device=self.logits.device)
        return (self.probs * grid).sum(-1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            count = Size(sample_shape).numel()
            index = torch.multinomial(self.probs.reshape(-1, self.levels), count, replacement=True)
            shape = self._extended_shape(Size(sample_shape))
            return index.t().reshape(shape).to(self.logits) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        index = (value * (self.levels - 1)).round().long().clamp(0, self.levels - 1)
        shape = torch.broadcast_shapes(index.shape, self.batch_shape)
        chosen = self.logits.expand(*shape, self.levels).gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)
        return chosen - self.logits.logsumexp(-1)
