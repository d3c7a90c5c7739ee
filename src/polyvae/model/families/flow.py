"""The family of inverse autoregressive flows. zuko enters here, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from polyvae.checks.ranges import at_least
from polyvae.model.parts import Family
from polyvae.model.precision import full


class InverseAutoregressive(Family):
    """A normal moved by autoregressive maps whose draws take one pass: a vector of any law near a normal one.

    z = T_n(... T_1(eps, c) ..., c), log q(z) = log N(eps; 0, I) - sum_i log |det dT_i|, c the network's output

    `features`: values of z; `context`: numbers of c; `transforms`: how many maps, each a perceptron of `widths`. Values
    that were not drawn are scored by one pass for each of them. ImportError where zuko is not installed.

    Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling: Improved Variational Inference with Inverse Autoregressive
    Flow, 2016.
    """

    def __init__(self, features: int, context: int = 32, transforms: int = 2, widths: Sequence[int] = (64,)) -> None:
        super().__init__()
        library = zuko()
        self.features, self.context = at_least("features", features, 1), at_least("context", context, 1)
        flow = library.flows.MAF(features, context, transforms=transforms, hidden_features=tuple(widths))
        inverse = library.lazy.LazyInverse(library.lazy.LazyComposedTransform(*flow.transform.transforms))
        self.flow = library.flows.Flow(inverse, flow.base)

    def size(self, features: int) -> int:
        if features != self.features:
            raise ValueError(f"the flow is one of {self.features} values; the latent has {features}")
        return self.context

    def forward(self, raw: Tensor) -> Distribution:
        return self.flow(full(raw))


def zuko() -> Any:
    """zuko, with torch's checks of distributions as they were: it turns them off for everybody as it is imported."""
    before = Distribution._validate_args
    try:
        return import_module("zuko")
    except ImportError as error:
        raise ImportError("flows need zuko: pip install zuko") from error
    finally:
        Distribution.set_default_validate_args(before)
