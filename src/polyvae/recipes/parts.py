"""The pieces of recipes: networks of the right sizes, families and priors by name, the condition y."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from polyvae.model import families
from polyvae.model.families import columns as column_families
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks import Builder, Shape, conv, mlp, network, residual
from polyvae.model.networks.prepared import Prepared, prepared, prepared_shape
from polyvae.model.priors.mixture import Mixture, VampPrior
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional, Family
from polyvae.observe.transforms import Chain, OneHot, chain


class Condition:
    """What a model reads beside x: `shapes` of values by name, and the transform that makes vectors of labels."""

    def __init__(self, spec: Spec, wanted: bool) -> None:
        self.shapes: dict[str, Shape] = {}
        self.observe = Chain()
        if wanted:
            if spec.condition is None:
                raise ValueError(f"condition needs labels or vectors y; these data have none{_to_be_labels(spec)}")
            self.shapes = {"y": (spec.condition,)}
            self.observe = chain(None if spec.classes is None else OneHot("y", spec.classes))


def _to_be_labels(spec: Spec) -> str:
    """What to load as labels, where columns of x could be."""
    names = [f"label={column.name!r}" for column in spec.columns if column.kind == "category" and column.name]
    return f": load them with {' or '.join(names[:3])}" if names else ""


def built_by(which: str | Builder, widths: Sequence[int] | None) -> Builder:
    """A network's builder, by name or as it is, with these widths or channels."""
    build: Callable[..., Any] = network(which)
    if widths is None:
        return build
    return partial(build, **{"hidden" if build is mlp else "channels": tuple(widths)})


def encoder_net(
    which: str | Builder, widths: Sequence[int] | None, inputs: Sequence[Shape], latent: int, family: Family
) -> nn.Module:
    """The network from `inputs` to the numbers that `family` needs for `latent` dimensions."""
    return built_by(which, widths)(inputs, (family.size(latent),))


def reader_of_x(
    spec: Spec,
    which: str | Builder,
    widths: Sequence[int] | None,
    beside: Mapping[str, Shape],
    latent: int,
    family: Family,
) -> Conditional:
    """A posterior of `latent` dimensions given x, in the user's units, and the values of these shapes `beside` it."""
    names = ("x", *beside)
    net = encoder_net(which, widths, (prepared_shape(spec), *beside.values()), latent, family)
    return Conditional(prepared(net, spec, names), family, names)


def encoder_family(which: str | Family) -> Family:
    """A posterior's family, by name or as it is."""
    return families.posterior(which) if isinstance(which, str) else which


def decoder_family(which: str | Family | None, spec: Spec) -> Family:
    """A likelihood's family, by name or as it is; by default what the data are: see `column_families`.

    Without columns a picture of two levels has Bernoulli bits; all else a normal with one learned scale.
    """
    if isinstance(which, Family):
        return which
    if spec.columns:
        return column_families.by_kind(spec) if which is None else column_families.named(which, spec)
    default = "bernoulli" if spec.levels == 2 and len(spec.x) == 3 else "normal-learned"
    return families.likelihood(which or default, spec.levels)


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
    # Started as faint noise, inside the range of pictures; a condition starts between the classes. What stands before
    # the network is left out: pseudo-inputs are learned in the units that it reads.
    start = {"x": torch.rand(components, *prepared_shape(spec)) * 0.1}
    if "y" in posterior.given and spec.condition is not None:
        start["y"] = torch.rand(components, spec.condition).softmax(1)
    if isinstance(posterior.net, Prepared):
        posterior = Conditional(posterior.net.net, posterior.family, posterior.given)
    return VampPrior(posterior, start)


def _conditional(posterior: Conditional, spec: Spec, latent: int, components: int) -> Conditional:
    if spec.condition is None:
        raise ValueError(
            f"prior: a conditional one needs labels or vectors y; these data have none{_to_be_labels(spec)}"
        )
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
