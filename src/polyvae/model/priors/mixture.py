"""Mixture priors: of learned normals, and of posteriors at learned pseudo-inputs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.nn import functional as F

from polyvae.checks.ranges import at_least
from polyvae.model.distributions.mixture import mixture
from polyvae.model.networks.prepared import Prepared
from polyvae.model.vae import Conditional, Values

NOISE = 0.01  # of the pseudo-inputs that begin at an example again; Tomczak and Welling's, of all of them


class Mixture(nn.Module):
    """p(z) = sum_m w_m N(mu_m, diag s_m^2), everything learned, started at s = 1 and means drawn from N(0, 4 / d I).

    They are as far apart in any number d of dimensions: of many, means from N(0, I) would have nothing between them.
    """

    reparametrised = False

    def __init__(self, dimensions: int, components: int = 10) -> None:
        super().__init__()
        at_least("dimensions", dimensions, 1)
        at_least("components", components, 1)
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, dimensions) * (2 / dimensions**0.5))
        self.raw_scale = nn.Parameter(torch.full((components, dimensions), 0.5413))  # softplus -> 1

    def forward(self, values: Values) -> Distribution:
        scale = F.softplus(self.raw_scale) + 1e-4
        components = Independent(Normal(self.loc, scale, validate_args=False), 1, validate_args=False)
        return mixture(self.logits, components)

    def extra_repr(self) -> str:
        return f"{self.loc.shape[1]}, components={self.loc.shape[0]}"


class FullMixture(nn.Module):
    """p(z) = sum_m w_m N(mu_m, S_m) with full covariances, which are set and not learned by gradient.

    At first every component is N(0, I). A law of [M] shares, means [M, d] and covariances [M, d, d] is put in by `set`.
    """

    logits: Tensor
    loc: Tensor
    scale_tril: Tensor

    def __init__(self, dimensions: int, components: int = 10) -> None:
        super().__init__()
        at_least("dimensions", dimensions, 1)
        at_least("components", components, 1)
        self.register_buffer("logits", torch.zeros(components))
        self.register_buffer("loc", torch.zeros(components, dimensions))
        self.register_buffer("scale_tril", torch.eye(dimensions).repeat(components, 1, 1))

    @torch.no_grad()
    def set(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        """Takes the numbers of a mixture, of any precision and of any number of components."""
        self.logits, self.loc = weights.log().to(self.logits), means.to(self.loc)
        self.scale_tril = torch.linalg.cholesky(covariances).to(self.scale_tril)

    def forward(self, values: Values) -> Distribution:
        return mixture(self.logits, MultivariateNormal(self.loc, scale_tril=self.scale_tril, validate_args=False))

    def extra_repr(self) -> str:
        return f"{self.loc.shape[1]}, components={self.loc.shape[0]}"


class VampPrior(nn.Module):
    """p(z) = 1/M sum_m q(z | u_m): the posterior's mixture over M learned pseudo-inputs.

    `posterior` is the model's own; `pseudo_inputs` holds, for each name the posterior reads, the M starting values
    [M, ...]. Training and sampling see the same u_m and no nonlinearity is applied to them. With `layers`, see
    `unprepared`, a run begins at M of its training examples in their place.

    Tomczak, Welling: VAE with a VampPrior, 2018.
    """

    reparametrised = False

    def __init__(
        self, posterior: nn.Module, pseudo_inputs: Mapping[str, Tensor], layers: Mapping[str, nn.Module] | None = None
    ) -> None:
        super().__init__()
        names = tuple(getattr(posterior, "given", pseudo_inputs))
        if set(names) != set(pseudo_inputs):
            raise ValueError(f"the posterior reads {list(names)}, pseudo-inputs are given for {sorted(pseudo_inputs)}")
        if len({len(value) for value in pseudo_inputs.values()}) != 1:
            raise ValueError("every pseudo-input needs the same number of components along its first dimension")
        self.posterior = posterior
        self.pseudo_inputs = nn.ParameterDict({n: nn.Parameter(v.detach().clone()) for n, v in pseudo_inputs.items()})
        self.layers = None if layers is None else nn.ModuleDict(layers)

    @torch.no_grad()
    def start(self, values: Values) -> None:
        """Puts the first M of these examples in the place of the pseudo-inputs, where there are `layers`."""
        if self.layers is not None:
            for name, first in begun(values, len(self.weights()), dict(self.layers.items())).items():
                self.pseudo_inputs[name].copy_(first)

    def forward(self, values: Values) -> Distribution:
        components = self.posterior(dict(self.pseudo_inputs.items()))
        return mixture(self.weights(), components)

    def weights(self) -> Tensor:
        """The mixture's logits [M], all equal."""
        first = next(iter(self.pseudo_inputs.values()))
        return first.new_zeros(len(first))


def unprepared(posterior: Conditional) -> tuple[Conditional, dict[str, nn.Module]]:
    """A posterior without what stands in front of its network, and that by the name of what goes through it.

    Pseudo-inputs are learned in the units that the network reads.
    """
    if isinstance(posterior.net, Prepared):
        layers = dict(zip(posterior.given, posterior.net.layers, strict=True))
        return Conditional(posterior.net.net, posterior.family, posterior.given), layers
    return posterior, {name: nn.Identity() for name in posterior.given}


def begun(values: Values, count: int, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The first `count` examples as a network behind these layers reads them: what pseudo-inputs begin as.

    Fewer examples come over again, with normal noise of 0.01: copies would take the same steps for good.
    """
    found = {}
    for name, layer in layers.items():
        rows = layer(values[name][:count])
        copies = rows[torch.arange(len(rows), count, device=rows.device) % len(rows)]
        found[name] = torch.cat([rows, copies + NOISE * torch.randn_like(copies)])
    return found
