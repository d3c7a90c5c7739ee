"""The pieces of recipes: networks of the right sizes, families and priors by name, the condition y."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from polyvae import families
from polyvae.core import Conditional, Family
from polyvae.families import DiagonalNormal
from polyvae.networks import Builder, Shape, conv, mirrored, mlp, network, residual
from polyvae.observe import Chain, OneHot, chain
from polyvae.priors import Mixture, StandardNormal, VampPrior
from polyvae.spec import Spec


class Condition:
    """What a part reads beside x: `names`, their `shapes` and the batch transform that makes vectors of labels."""

    def __init__(self, spec: Spec, wanted: bool) -> None:
        self.names: tuple[str, ...] = ()
        self.shapes: tuple[Shape, ...] = ()
        self.observe = Chain()
        if wanted:
            if spec.condition is None:
                raise ValueError("a conditional model needs labels or vectors y; these data have none")
            self.names, self.shapes = ("y",), ((spec.condition,),)
            self.observe = chain(None if spec.classes is None else OneHot("y", spec.classes))


def encoder_net(
    which: str | Builder, widths: Sequence[int] | None, inputs: Sequence[Shape], latent: int, family: Family
) -> nn.Module:
    """The network from `inputs` to the numbers that `family` needs for `latent` dimensions."""
    return _builder(which, widths)(inputs, (family.size(latent),))


def decoder_net(
    which: str | Builder, widths: Sequence[int] | None, inputs: Sequence[Shape], x: Shape, family: Family
) -> nn.Module:
    """The mirrored network from `inputs` to the numbers that `family` needs for values of shape `x`."""
    return mirrored(_builder(which, widths))(inputs, (family.size(x[0]), *x[1:]))


def encoder_family(which: str | Family) -> Family:
    """A posterior's family, by name or as it is."""
    return families.posterior(which) if isinstance(which, str) else which


def decoder_family(which: str | Family | None, spec: Spec) -> Family:
    """A likelihood's family, by name or as it is; by default Bernoulli for pictures, a learned normal for tables."""
    if which is None:
        which = "bernoulli" if len(spec.x) == 3 else "normal-learned"
    return families.likelihood(which, spec.levels) if isinstance(which, str) else which


def shared_network(which: str | Builder, prior: str | nn.Module) -> str | Builder:
    """The encoder's network as it is, or by its name without statistics of a batch where the prior reads it too."""
    if isinstance(which, str) and isinstance(prior, str) and prior in SHARING:
        return WITHOUT_STATISTICS.get(which, which)
    return which


def named_prior(which: str | nn.Module, posterior: Conditional, spec: Spec, latent: int, components: int) -> nn.Module:
    """A prior by name, or as it is."""
    if not isinstance(which, str):
        return which
    if which not in PRIORS:
        raise ValueError(f"prior is one of {', '.join(PRIORS)}, or a module; got {which!r}")
    return PRIORS[which](posterior, spec, latent, components)


def _vamp(posterior: Conditional, spec: Spec, latent: int, components: int) -> VampPrior:
    # Started as faint noise, inside the range of pictures; a condition starts between the classes.
    start = {"x": torch.rand(components, *spec.x) * 0.1}
    if "y" in posterior.given and spec.condition is not None:
        start["y"] = torch.rand(components, spec.condition).softmax(1)
    return VampPrior(posterior, start)


def _conditional(posterior: Conditional, spec: Spec, latent: int, components: int) -> Conditional:
    if spec.condition is None:
        raise ValueError("a conditional prior needs labels or vectors y; these data have none")
    family = DiagonalNormal()
    return Conditional(encoder_net("mlp", None, ((spec.condition,),), latent, family), family, "y")


PRIORS: dict[str, Callable[[Conditional, Spec, int, int], nn.Module]] = {
    "standard": lambda posterior, spec, latent, components: StandardNormal(latent),
    "mixture": lambda posterior, spec, latent, components: Mixture(latent, components),
    "vamp": _vamp,
    "conditional": _conditional,
}

SHARING = ("vamp",)  # the priors that are made of the posterior's own network
WITHOUT_STATISTICS: dict[str, Builder] = {
    "conv": partial(conv, norm="group"),
    "residual": partial(residual, norm="group"),
}


def _builder(which: str | Builder, widths: Sequence[int] | None) -> Builder:
    build: Callable[..., Any] = network(which)
    if widths is None:
        return build
    return partial(build, **{"hidden" if build is mlp else "channels": tuple(widths)})
