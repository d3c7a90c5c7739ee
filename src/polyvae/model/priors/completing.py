"""A law of a latent given what is seen, in the place of the prior of a model that was trained without it."""

from __future__ import annotations

from torch import nn
from torch.distributions import Distribution

from polyvae.model.parts import given
from polyvae.model.vae import Values


class Completing(nn.Module):
    """q(z | m), from which a completion draws z; `own` is the model's prior, by which draws can be weighed.

    `matched` was fitted to the posterior, see `polyvae.fit_completion`.

    Strauss, Oliva: Posterior Matching for Arbitrary Conditioning, 2022.
    """

    reparametrised = False

    def __init__(self, matched: nn.Module, own: nn.Module) -> None:
        super().__init__()
        self.matched, self.own = matched, own
        self.given = tuple(dict.fromkeys((*given(matched), *given(own))))

    def forward(self, values: Values) -> Distribution:
        return self.matched(values)
