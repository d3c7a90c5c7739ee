"""The law of a mask that says which values of x are seen, given all of x, some of which was drawn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.model.distributions.bernoulli import Bernoulli
from polyvae.model.distributions.columns import Product
from polyvae.model.laws import value_log_prob


class MaskLaw(Bernoulli):
    """p(s | x) of a mask s of zeros and ones, with log odds l(x) at an x whose unseen values were drawn.

    log p(s | x) + c, c [*batch] the sum of `corrections` of what was drawn: 0, with the gradient that `drawn_with` says

    `completed` [*batch, *event] is that x.
    """

    def __init__(self, logits: Tensor, completed: Tensor, correction: Tensor) -> None:
        self.completed, self.correction = completed, correction
        super().__init__(logits, logits.ndim - 1)

    def unfold(self, samples: int) -> MaskLaw:
        new = super().unfold(samples)
        assert isinstance(new, MaskLaw)
        new.completed = self.completed.unflatten(0, (samples, -1))
        new.correction = self.correction.unflatten(0, (samples, -1))
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + self.correction


def drawn_with(law: Distribution) -> tuple[Tensor, Tensor]:
    """A draw x of a law of independent values, and what to add to its log weight, value by value, in the shape of x.

    Where a draw has no gradient, log p(x) - sg log p(x): the weight p(x) / r(x) of a draw from r = p, kept as it is
    while p is trained. It is 0, and its gradient that of the importance-weighted bound with r for a proposal. 0 where a
    gradient goes through the draw.
    """
    if isinstance(law, Product):
        parts = [drawn_with(part) for part in law.parts]
        return law.joined([x for x, _ in parts]), law.joined([weight for _, weight in parts])
    if law.has_rsample:
        x = law.rsample()
        return x, torch.zeros_like(x)
    x = law.sample()
    score = value_log_prob(law, x)
    return x, score - score.detach()
