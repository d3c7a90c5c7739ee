"""Mixtures of laws of one family, drawn evenly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from polyvae.model.distributions.law import HALF_LOG_TWO_PI
from polyvae.model.precision import wide


class Stratified(MixtureSameFamily):
    """A mixture whose draws are spread over its components as evenly as their weights allow.

    Of n draws at once component m has w_m n, rounded up or down; their order is random, and so is which are rounded
    up, so that a single draw follows the mixture's law. Fewer groups are missed, and means of draws vary less.

    Normals that stand for every row alike are scored by matrix products, in double precision where the device has it.

    Systematic sampling: Cochran: Sampling Techniques, 1977, chapter 8.
    """

    alike: Distribution | None = None  # the components [M], where every row has the same ones

    def log_prob(self, value: Tensor) -> Tensor:
        normals = self._normals()
        if normals is None or value.device.type == "mps":  # single precision would lose the digits of the difference
            return super().log_prob(value)
        z, (loc, scale) = wide(value), normals
        precision = scale.square().reciprocal()
        squares = z.square() @ precision.T - 2 * z @ (loc * precision).T + (loc.square() * precision).sum(1)
        size = scale.log().sum(1) + loc.shape[1] * HALF_LOG_TWO_PI
        weights = self.mixture_distribution.logits.log_softmax(-1)
        return (weights - 0.5 * squares - size).logsumexp(-1).to(value.dtype)

    def _normals(self) -> tuple[Tensor, Tensor] | None:
        """Locs and scales of the components [M, d], where they are normals of independent values, the same for every
        row."""
        law = self.component_distribution if self.alike is None else self.alike
        base = law.base_dist if isinstance(law, Independent) else None
        if not isinstance(base, Normal) or base.loc.ndim != 2:
            return None
        return wide(base.loc), wide(base.scale)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            shape, batch = Size(sample_shape), self.batch_shape
            weights = self.mixture_distribution.probs
            weights = weights.expand(*batch, weights.shape[-1]).reshape(batch.numel(), -1)
            chosen = systematic(weights, shape.numel())
            # Of each component as many draws as one needs at most: the k-th time that it is chosen takes its k-th.
            counts, place = _occurrences(chosen, weights.shape[1])
            most = int(counts.max()) if counts.numel() else 0
            pool = self.component_distribution.sample((most,))
            pool = pool.reshape(most, batch.numel(), weights.shape[1], *self.event_shape)
            rows = torch.arange(batch.numel(), device=chosen.device)
            return pool[place, rows, chosen].reshape(*shape, *batch, *self.event_shape)

    def sample_apart(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws that are independent, for what compares them with one another: spread ones are of unlike components
        more often than by chance."""
        return super().sample(Size(sample_shape))


def systematic(weights: Tensor, count: int, ordered: bool = False) -> Tensor:
    """So many numbers of components [count, B] by weights [B, M], spread as evenly as these allow, independent from row
    to row, in random order, or `ordered` by component."""
    ends = weights.double().cumsum(-1) if weights.device.type != "mps" else weights.cumsum(-1)
    first = torch.rand(len(weights), 1, dtype=ends.dtype, device=ends.device)
    points = (torch.arange(count, device=ends.device) + first) / max(1, count) * ends[..., -1:]
    chosen = torch.searchsorted(ends, points, right=True)
    # Rounding may take a point to the very end, where no component is left, or onto one without weight.
    last = (weights > 0).to(torch.int64).cumsum(-1).argmax(-1, keepdim=True)
    if ordered:
        return chosen.minimum(last).T
    order = torch.rand(len(weights), count, device=ends.device).argsort(-1)
    return chosen.minimum(last).gather(1, order).T


def _occurrences(chosen: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Of numbers [n, B]: how often each occurs [B, M], and of each one how often it did before it [n, B]."""
    numbers = chosen.T
    order = numbers.argsort(stable=True, dim=-1)
    counts = numbers.new_zeros(len(numbers), components).scatter_add_(-1, numbers, torch.ones_like(numbers))
    begins = counts.cumsum(-1) - counts
    ranks = torch.arange(len(chosen), device=chosen.device) - begins.gather(-1, numbers.gather(-1, order))
    return counts, torch.empty_like(ranks).scatter_(-1, order, ranks).T


def mixture(logits: Tensor, components: Distribution) -> Stratified:
    """sum_m softmax(logits)_m p_m of logits [M] or [B, M], from components with batch shape [M], or [B, M] of their own
    for every row."""
    weights = Categorical(logits=logits, validate_args=False)
    if components.batch_shape == logits.shape:
        return Stratified(weights, components, validate_args=False)
    law = Stratified(weights, components.expand(logits.shape), validate_args=False)
    law.alike = components  # the gradient of one row of what is expanded would be as large as all of them
    return law
