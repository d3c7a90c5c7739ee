"""A normalising flow as a prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.names import find
from polyvae.checks.ranges import at_least
from polyvae.model.families.flow import zuko
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import Values

FLOWS = {"nsf": "NSF", "maf": "MAF"}  # what zuko calls them


class FlowPrior(nn.Module):
    """p(z) = N(T(z); 0, I) |det dT/dz|, T autoregressive maps one after the other, everything learned.

    `flow`: "nsf", monotonic splines between -5 and 5 and the identity beyond, or "maf", affine maps. `transforms`: how
    many maps, whose orders of the dimensions alternate, each a masked perceptron of `widths`. A density takes one pass
    through each map, a draw one pass for each of d `dimensions`. ImportError where zuko is not installed.

    Durkan, Bekasov, Murray, Papamakarios: Neural Spline Flows, 2019; Papamakarios, Pavlakou, Murray: Masked
    Autoregressive Flow for Density Estimation, 2017; of latents: Kingma et al.: Improved Variational Inference with
    Inverse Autoregressive Flow, 2016; Chen et al.: Variational Lossy Autoencoder, 2017.
    """

    always: Tensor | None

    def __init__(
        self, dimensions: int, flow: str = "nsf", transforms: int = 3, widths: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__()
        at_least("transforms", transforms, 1)
        self.base = StandardNormal(dimensions)
        library = zuko()
        build: Any = getattr(library.flows, find(FLOWS, flow, "flow"))
        # One dimension has none before it that a map could read: it reads a one.
        alone = dimensions == 1
        self.register_buffer("always", torch.ones(1) if alone else None, persistent=False)
        self.maps = build(dimensions, int(alone), transforms=transforms, hidden_features=tuple(widths)).transform
        self.law = library.distributions.NormalizingFlow

    def forward(self, values: Values) -> Distribution:
        return self.law(self.maps(self.always), self.base(values))
