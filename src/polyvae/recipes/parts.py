"""The pieces of recipes: networks of the right sizes, families and priors by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from polyvae.checks.names import find
from polyvae.model import families
from polyvae.model.families import columns as column_families
from polyvae.model.families.real import DiagonalNormal, Point
from polyvae.model.networks import Builder, Shape, conv, mlp, network, residual
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.prepared import prepared_shape
from polyvae.model.networks.sensing import sensing
from polyvae.model.priors.autoregressive import AutoregressivePrior
from polyvae.model.priors.exemplar import ExemplarPrior
from polyvae.model.priors.flow import FlowPrior
from polyvae.model.priors.mixture import Mixture, VampPrior, unprepared
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional, Family
from polyvae.recipes.options import Gaussian

Making = Callable[[Gaussian, Conditional, Spec], nn.Module]  # a prior of so many dimensions
Beside = Mapping[str, Shape]  # what a posterior reads beside x


def is_perceptron(latent: Gaussian) -> bool:
    """Whether a vector's networks flatten what they read."""
    build = network(latent.network)
    return getattr(build, "func", build) is mlp


def reads_sensors(latent: Gaussian) -> bool:
    """Whether a vector's networks read an observation at fixed places alone."""
    return getattr(latent.network, "func", latent.network) is sensing


def network_of(latent: Gaussian) -> Builder:
    """The builder of a vector's networks, without statistics of a batch where the prior reads the encoder too."""
    build: Callable[..., Any] = network(latent.network)
    if isinstance(latent.network, str) and latent.prior in SHARING:
        build = WITHOUT_STATISTICS.get(latent.network, build)
    if latent.widths is None:
        return build
    return partial(build, **{"hidden" if is_perceptron(latent) else "channels": tuple(latent.widths)})


def encoder_family(which: str | Family | Callable[[int], Family], dimensions: int) -> Family:
    """A posterior's family for a latent of so many dimensions: by name, as it is, or of what makes one."""
    if isinstance(which, str):
        return families.posterior(which, dimensions)
    makes = callable(which) and not isinstance(which, (type, nn.Module))
    return _made(which(dimensions) if makes else which, "posterior")  # pyright: ignore[reportArgumentType]


def decoder_family(which: str | Family | None, spec: Spec) -> Family:
    """A likelihood's family, by name or as it is; by default what the data are: see `column_families`.

    Without columns a picture of two levels has Bernoulli bits; all else a normal with one learned scale.
    """
    if which is not None and not isinstance(which, str):
        return _made(which, "likelihood")
    if spec.columns:
        return column_families.by_kind(spec) if which is None else column_families.named(which, spec)
    default = "bernoulli" if spec.levels == 2 and len(spec.x) == 3 else "normal-learned"
    return families.likelihood(which or default, spec.levels, spec.x)


def _made(which: Family, name: str) -> Family:
    """The family; ValueError for its class or for anything else."""
    if not isinstance(which, type) and callable(getattr(which, "size", None)):
        return which
    raise _neither(which, name, "a family")


def _neither(which: object, name: str, other: str) -> ValueError:
    kind = getattr(which, "__name__", None)
    return ValueError(f"{name} is a name or {other}; got {which!r}" + (f": give {kind}(...)" if kind else ""))


def prior_of(latent: Gaussian, posterior: Conditional, spec: Spec, beside: Beside) -> nn.Module:
    """A vector's prior, by name, as it is, or as a `Making` makes it; `beside`: what the posterior reads beside x."""
    if not isinstance(latent.prior, str):
        if isinstance(latent.prior, type) or not callable(latent.prior):
            raise _neither(latent.prior, "prior", "a module")
        return latent.prior if isinstance(latent.prior, nn.Module) else latent.prior(latent, posterior, spec)
    return find(PRIORS, latent.prior, "prior", ", or a module")(latent, posterior, spec, beside)


def _vamp(latent: Gaussian, posterior: Conditional, spec: Spec, beside: Beside) -> VampPrior:
    # Faint noise, inside the range of pictures, and a condition between the classes, until a run begins at examples.
    start = {"x": torch.rand(latent.components, *prepared_shape(spec)) * 0.1}
    for name, shape in beside.items():
        drawn = torch.rand(latent.components, *shape)
        start[name] = drawn.softmax(1) if len(shape) == 1 else drawn
    posterior, layers = unprepared(posterior)
    return VampPrior(posterior, start, layers)


def _exemplar(latent: Gaussian, posterior: Conditional, spec: Spec, beside: Beside) -> ExemplarPrior:
    if isinstance(posterior.family, Point):
        raise ValueError("posterior: a point has no density, which an exemplar prior is a mixture of; take another one")
    return ExemplarPrior(posterior, {"x": spec.x, **beside}, latent.components)


def flow_of(flow: str = "nsf", transforms: int = 3) -> Making:
    """What makes a flow of these numbers, in the place of a prior's name."""
    return lambda latent, posterior, spec: FlowPrior(latent.dimensions, flow, transforms)


def _conditional(latent: Gaussian, posterior: Conditional, spec: Spec, beside: Beside) -> Conditional:
    shapes = beside or {"y": spec.given["y"].read}
    if any(map(is_picture, shapes.values())):
        family = DiagonalNormal()
        net = network_of(latent)(list(shapes.values()), (family.size(latent.dimensions),))
        return Conditional(net, family, tuple(shapes))
    return normal_given(tuple(shapes), tuple(shapes.values()), latent.dimensions)


def normal_given(names: tuple[str, ...], shapes: tuple[Shape, ...], dimensions: int) -> Conditional:
    """p(z | values) = N(mu, diag s^2) of so many dimensions, by a perceptron that reads values of these shapes."""
    family = DiagonalNormal()
    return Conditional(mlp(shapes, (family.size(dimensions),)), family, names)


@contextmanager
def weights_apart(number: int = 0) -> Iterator[None]:
    """Within it weights are drawn apart: what is made after it has those of a seed as without it.

    `number`: which of a recipe's networks that are drawn apart; two of one number would be born alike.
    """
    with torch.random.fork_rng(devices=[]):
        # From a seed of its own, which is drawn: the encoder's weights are made of what follows here.
        torch.default_generator.manual_seed([int(torch.randint(2**62, ())) for _ in range(number + 1)][-1])
        yield


CONDITIONAL = "conditional"
PRIORS: dict[str, Callable[[Gaussian, Conditional, Spec, Beside], nn.Module]] = {
    "standard": lambda latent, *_: StandardNormal(latent.dimensions),
    "mixture": lambda latent, *_: Mixture(latent.dimensions, latent.components),
    "vamp": _vamp,
    "flow": lambda latent, *_: FlowPrior(latent.dimensions),
    "autoregressive": lambda latent, *_: AutoregressivePrior(latent.dimensions, latent.components),
    "exemplar": _exemplar,
    CONDITIONAL: _conditional,
}

SHARING = ("vamp", "exemplar")  # the priors that are made of the posterior's own network
WITHOUT_STATISTICS: dict[str, Builder] = {
    "conv": partial(conv, norm="group"),
    "residual": partial(residual, norm="group"),
}
