"""Laws that several experts make together: a product of normals, and a mixture drawn stratum by stratum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Categorical, Independent, Laplace, Normal

from polyvae.model.distributions.mixture import Stratified, systematic

Located = Normal | Laplace  # laws of a loc and a scale


class Joined(Independent):
    """A normal law of independent values that several experts made together, and those that made it.

    `experts`: their laws, batch shape [B, M], of values [d]. `there`: which of them had something to read, [B, M].
    """

    base_dist: Normal

    def __init__(self, base: Normal, experts: Independent, there: Tensor) -> None:
        super().__init__(base, 1, validate_args=False)
        self.experts = experts
        self.there = there


class Strata(Stratified):
    """sum_s w_s p_s over laws p_s of independent values, each a loc and a scale: a draw moves with those of its law.

    The weights are constants: the gradient of an expectation is then that along the draws' own path. Draws come in the
    order of the components, n at once as evenly as the weights allow: of M components that weigh alike the first n / M
    are of the first. Rounding is random, so that a single draw follows the law.

    Shi, Siddharth, Paige, Torr: Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models,
    2019.
    """

    has_rsample = True

    def __init__(self, weights: Tensor, components: Located) -> None:
        """`weights` [B, S], which sum to 1; `components` with batch shape [B, S, d]."""
        chosen = Categorical(probs=weights, validate_args=False)
        super().__init__(chosen, Independent(components, 1, validate_args=False), validate_args=False)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape, law = Size(sample_shape), self._components
        chosen = systematic(self.mixture_distribution.probs, shape.numel(), ordered=True)
        rows = torch.arange(len(law.loc), device=chosen.device)
        drawn = type(law)(law.loc[rows, chosen], law.scale[rows, chosen], validate_args=False)
        return drawn.rsample().reshape(*shape, *self.batch_shape, *self.event_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    @property
    def _components(self) -> Located:
        return self.component_distribution.base_dist  # pyright: ignore[reportAttributeAccessIssue]


def product(loc: Tensor, scale: Tensor, there: Tensor, prior: bool) -> Normal:
    """The normal that is proportional to the product of those normals [*, M, d] that are `there` [*, M].

    1 / s^2 = sum_m 1 / s_m^2, mu = s^2 sum_m mu_m / s_m^2, and N(0, 1) one factor more with a `prior`; of none at all
    the product is N(0, 1).

    Hinton: Training Products of Experts by Minimizing Contrastive Divergence, 2002; Wu, Goodman: Multimodal Generative
    Models for Scalable Weakly-Supervised Learning, 2018.
    """
    precision = there.to(loc.dtype).unsqueeze(-1) / scale.square()
    alone = ~there.any(-1, keepdim=True) | prior
    total = precision.sum(-2) + alone
    return Normal((precision * loc).sum(-2) / total, total.rsqrt(), validate_args=False)
