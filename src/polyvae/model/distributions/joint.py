"""Laws of vectors and laws of values in other shapes, one made of the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from polyvae.model.distributions.law import Law


class SideBySide(Law):
    """Independent laws of values of any shapes as one law of a vector, their values flattened one after the other.

    log p(z) = sum_i log p_i(z_i)
    """

    def __init__(self, laws: Sequence[Distribution]) -> None:
        self.laws = tuple(laws)
        self.sizes = [law.event_shape.numel() for law in self.laws]
        batch = torch.broadcast_shapes(*(law.batch_shape for law in self.laws))
        super().__init__(Size(batch), (sum(self.sizes),))

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(law.has_rsample for law in self.laws)

    @property
    def mean(self) -> Tensor:
        return self._row([law.mean for law in self.laws], self.batch_shape)

    @property
    def variance(self) -> Tensor:
        return self._row([law.variance for law in self.laws], self.batch_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._drawn("rsample", Size(sample_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self._drawn("sample", Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        found = []
        for law, part in zip(self.laws, value.split(self.sizes, -1), strict=True):
            found.append(law.log_prob(part.unflatten(-1, law.event_shape) if law.event_shape else part.squeeze(-1)))
        return torch.stack(torch.broadcast_tensors(*found)).sum(0)

    def _drawn(self, how: str, shape: Size) -> Tensor:
        # A law of fewer batch dimensions is drawn anew for each row.
        draws = [getattr(law, how)(shape + self.batch_shape[: self._missing(law)]) for law in self.laws]
        return self._row(draws, shape + self.batch_shape)

    def _missing(self, law: Distribution) -> int:
        return len(self.batch_shape) - len(law.batch_shape)

    def _row(self, values: Sequence[Tensor], lead: Size) -> Tensor:
        flat = [
            value.reshape(*value.shape[: value.ndim - len(law.event_shape)], -1)
            for value, law in zip(values, self.laws, strict=True)
        ]
        return torch.cat([each.expand(*lead, each.shape[-1]) for each in flat], -1)


class Reshaped(Law):
    """A law of a vector of real numbers as one of values in another shape, row by row."""

    def __init__(self, base: Distribution, shape: Sequence[int]) -> None:
        self.base = base
        self.has_rsample = base.has_rsample
        super().__init__(base.batch_shape, shape)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        return self._shaped(self.base.mean)

    @property
    def variance(self) -> Tensor:
        return self._shaped(self.base.variance)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._shaped(self.base.rsample(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value.flatten(-len(self.event_shape)))

    def _shaped(self, vector: Tensor) -> Tensor:
        return vector.unflatten(-1, self.event_shape)
