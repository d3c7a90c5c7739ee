"""Models of which values are missing: p(s | x), s the mask of what is seen, given what is seen and what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.model.distributions.missingness import MaskLaw, drawn_with
from polyvae.model.networks.mlp import mlp
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.precision import full
from polyvae.model.spec import Spec
from polyvae.model.vae import Family, Values


class SelfMasking(nn.Module):
    """One logistic a column or channel: l_j = a_j + sum_i w_i x_i over the numbers i that stand for column j."""

    source: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        wide = [n for n, c in enumerate(spec.columns) for _ in range(len(c.labels or "x"))] or range(spec.x[0])
        self.register_buffer("source", torch.tensor([*wide]), persistent=False)
        self.weight = nn.Parameter(torch.zeros(len(self.source)))
        self.bias = nn.Parameter(torch.zeros(spec.x[0]))

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))
        logits = self.bias.view(shape).expand(len(x), -1, *x.shape[2:])
        return logits.index_add(1, self.source, x * self.weight.view(shape))


# log odds of being seen, of every value of x, from all of x in the units of a network
MECHANISMS: Mapping[str, Callable[[Spec], nn.Module]] = {
    "self-masking": SelfMasking,
    "linear": lambda spec: mlp([prepared_shape(spec)], spec.x, hidden=()),
    "network": lambda spec: mlp([prepared_shape(spec)], spec.x, hidden=(min(128, 8 * prod(spec.x)),)),
}


class Missingness(nn.Module):
    """p(s | x) as the likelihood of a mask s: x is what is seen, and beside it draws of p(x | z).

    With K draws of z, each with a draw of the unseen values x_m, the weights p(x_o | z) p(s | x_o, x_m) p(z) / q(z) of
    the importance-weighted bound are those of log p(x_o, s). What `family` makes of the value `given` is p(x | z).

    Ipsen, Mattei, Frellsen: not-MIWAE: Deep Generative Modelling with Missing not at Random Data, 2021.
    """

    observes = ("x", "seen")

    def __init__(self, mechanism: nn.Module, family: Family, spec: Spec, given: str = "raw") -> None:
        super().__init__()
        self.net = prepared(mechanism, spec, ("x",))
        self.family = family
        self.given = (given,)

    def forward(self, values: Values) -> Distribution:
        drawn, weight = drawn_with(self.family(full(values[self.given[0]])))
        seen = values["seen"].bool()
        x = torch.where(seen, values["x"], drawn)
        return MaskLaw(full(self.net(x)), x, torch.where(seen, 0.0, weight).flatten(1).sum(1))
