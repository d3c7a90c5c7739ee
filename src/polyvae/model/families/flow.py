"""The family of inverse autoregressive flows. zuko enters here, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from polyvae.checks.ranges import at_least
from polyvae.model.distributions.law import whole
from polyvae.model.families.real import FLOOR, positive
from polyvae.model.parts import Family
from polyvae.model.precision import full

NEAR = 0.1  # what is left of the last layer's weights at the start: maps near the identity


class InverseAutoregressive(Family):
    """A normal moved by autoregressive maps whose draws take one pass: a vector of any law near a normal one.

    z = T_n(... T_1(mu + s eps, c) ..., c), log q(z) = log N(eps; 0, I) - sum_i log s_i - sum_i log |det dT_i|

    raw holds mu and s as `DiagonalNormal` does, then c. `features`: values of z; `context`: numbers of c;
    `transforms`: how many maps, each a perceptron of `widths` that starts near the identity. Values that were not drawn
    are scored by one pass for each of them. ImportError where zuko is not installed.

    Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling: Improved Variational Inference with Inverse Autoregressive
    Flow, 2016.
    """

    def __init__(self, features: int, context: int = 32, transforms: int = 2, widths: Sequence[int] = (64,)) -> None:
        super().__init__()
        library = zuko()
        self.features, self.context = at_least("features", features, 1), at_least("context", context, 1)
        flow = library.flows.MAF(features, context, transforms=transforms, hidden_features=tuple(widths))
        self.moves = library.lazy.LazyInverse(library.lazy.LazyComposedTransform(*flow.transform.transforms))
        self._law = library.distributions.NormalizingFlow
        with torch.no_grad():
            for transform in flow.transform.transforms:
                for parameter in list(transform.hyper.parameters())[-2:]:
                    parameter.mul_(NEAR)

    def size(self, features: int) -> int:
        if features != self.features:
            raise ValueError(f"the flow is one of {self.features} values; the latent has {features}")
        return 2 * features + self.context

    def forward(self, raw: Tensor) -> Distribution:
        loc, scale, context = full(raw).split([self.features, self.features, self.context], 1)
        # zuko's base checks its scale at every pass, for which a GPU waits.
        start = whole(Normal(loc, positive(scale, FLOOR), validate_args=False))
        return self._law(self.moves(context), start)


def zuko() -> Any:
    """zuko, with torch's checks of distributions as they were: it turns them off for everybody as it is imported."""
    before = Distribution._validate_args
    try:
        return import_module("zuko")
    except ImportError as error:
        raise ImportError("flows need zuko: pip install zuko") from error
    finally:
        Distribution.set_default_validate_args(before)
