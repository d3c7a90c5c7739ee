"""The pieces of recipes: networks of the right sizes, families and priors by name, the condition y."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from polyvae.model.networks.prepared import prepared_shape
from polyvae.model.priors.autoregressive import AutoregressivePrior
from polyvae.model.priors.exemplar import ExemplarPrior
from polyvae.model.priors.flow import FlowPrior
from polyvae.model.priors.mixture import Mixture, VampPrior, unprepared
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional, Family
from polyvae.observe.transforms import Chain, OneHot, chain
from polyvae.recipes.options import Gaussian

Making = Callable[[Gaussian, Conditional, Spec], nn.Module]  # a prior of so many dimensions


class Condition:
    """What a model reads beside x: `shapes` of values by name, and the transform that makes vectors of labels.

    A conditional prior of the `latent` alone reads y too, its posterior and decoders do not.
    """

    def __init__(self, spec: Spec, wanted: bool, latent: object = None) -> None:
        self.shapes: dict[str, Shape] = {}
        self.observe = Chain()
        if wanted or (isinstance(latent, Gaussian) and latent.prior == CONDITIONAL):
            if spec.condition is None:
                reads = "condition needs" if wanted else "prior: a conditional one needs"
                raise ValueError(f"{reads} labels or vectors y; these data have none{_to_be_labels(spec)}")
            self.shapes = {"y": (spec.condition,)} if wanted else {}
            self.observe = chain(None if spec.classes is None else OneHot("y", spec.classes))


def _to_be_labels(spec: Spec) -> str:
    """What to load as labels, where columns of x could be."""
    names = [f"label={column.name!r}" for column in spec.columns if column.kind == "category" and column.name]
    return f": load them with {' or '.join(names[:3])}" if names else ""


def network_of(latent: Gaussian) -> Builder:
    """The builder of a vector's networks, without statistics of a batch where the prior reads the encoder too."""
    build: Callable[..., Any] = network(latent.network)
    if isinstance(latent.network, str) and latent.prior in SHARING:
        build = WITHOUT_STATISTICS.get(latent.network, build)
    if latent.widths is None:
        return build
    return partial(build, **{"hidden" if getattr(build, "func", build) is mlp else "channels": tuple(latent.widths)})


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


def prior_of(latent: Gaussian, posterior: Conditional, spec: Spec) -> nn.Module:
    """A vector's prior, by name, as it is, or as a `Making` makes it."""
    if not isinstance(latent.prior, str):
        if isinstance(latent.prior, type) or not callable(latent.prior):
            raise _neither(latent.prior, "prior", "a module")
        return latent.prior if isinstance(latent.prior, nn.Module) else latent.prior(latent, posterior, spec)
    return find(PRIORS, latent.prior, "prior", ", or a module")(latent, posterior, spec)


def _vamp(latent: Gaussian, posterior: Conditional, spec: Spec) -> VampPrior:
    # Faint noise, inside the range of pictures, and a condition between the classes, until a run begins at examples.
    start = {"x": torch.rand(latent.components, *prepared_shape(spec)) * 0.1}
    if "y" in posterior.given and spec.condition is not None:
        start["y"] = torch.rand(latent.components, spec.condition).softmax(1)
    posterior, layers = unprepared(posterior)
    return VampPrior(posterior, start, layers)


def _exemplar(latent: Gaussian, posterior: Conditional, spec: Spec) -> ExemplarPrior:
    if isinstance(posterior.family, Point):
        raise ValueError("posterior: a point has no density, which an exemplar prior is a mixture of; take another one")
    shapes = {"x": spec.x} | ({} if spec.condition is None else {"y": (spec.condition,)})
    return ExemplarPrior(posterior, {name: shapes[name] for name in posterior.given}, latent.components)


def flow_of(flow: str = "nsf", transforms: int = 3) -> Making:
    """What makes a flow of these numbers, in the place of a prior's name."""
    return lambda latent, posterior, spec: FlowPrior(latent.dimensions, flow, transforms)


def _conditional(latent: Gaussian, posterior: Conditional, spec: Spec) -> Conditional:
    assert spec.condition is not None  # which `Condition` has seen to
    return normal_given("y", (spec.condition,), latent.dimensions)


def normal_given(name: str, shape: Shape, dimensions: int) -> Conditional:
    """p(z | value) = N(mu, diag s^2) of so many dimensions, by a perceptron that reads a value of this shape."""
    family = DiagonalNormal()
    return Conditional(mlp((shape,), (family.size(dimensions),)), family, name)


@contextmanager
def weights_apart() -> Iterator[None]:
    """Within it weights are drawn apart: what is made after it has those of a seed as without it."""
    with torch.random.fork_rng(devices=[]):
        # From a seed of its own, which is drawn: the encoder's weights are made of what follows here.
        torch.default_generator.manual_seed(int(torch.randint(2**62, ())))
        yield


CONDITIONAL = "conditional"
PRIORS: dict[str, Making] = {
    "standard": lambda latent, posterior, spec: StandardNormal(latent.dimensions),
    "mixture": lambda latent, posterior, spec: Mixture(latent.dimensions, latent.components),
    "vamp": _vamp,
    "flow": flow_of(),
    "autoregressive": lambda latent, posterior, spec: AutoregressivePrior(latent.dimensions, latent.components),
    "exemplar": _exemplar,
    CONDITIONAL: _conditional,
}

SHARING = ("vamp", "exemplar")  # the priors that are made of the posterior's own network
WITHOUT_STATISTICS: dict[str, Builder] = {
    "conv": partial(conv, norm="group"),
    "residual": partial(residual, norm="group"),
}
