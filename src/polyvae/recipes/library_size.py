"""The library size of counts as recipes put it together: none, the observed total, or a latent of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from polyvae.checks.names import find
from polyvae.model.families.counts import COUNTS, Link
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks.library import LogNormalSize, LogTotal, Shares, SizeEncoder
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional, Values
from polyvae.observe.transforms import Chain, Total
from polyvae.recipes.options import Gaussian
from polyvae.recipes.parts import network_of
from polyvae.recipes.recording import UNCHANGED


@dataclass(frozen=True)
class Library:
    """What a model gains by a library size: a value that its decoder reads, and where that comes from.

    `log_size` makes the logarithm of the size of that value, None where there is none; `start` belongs into
    `Recipe.start`.
    """

    names: tuple[str, ...] = ()
    log_size: nn.Module | None = None
    observe: Chain = UNCHANGED
    posterior: Mapping[str, nn.Module] = field(default_factory=dict)
    prior: Mapping[str, nn.Module] = field(default_factory=dict)
    start: Callable[[Values], None] | None = None

    def shared(self, decoder: Conditional, features: int) -> Conditional:
        """The decoder, its means the shares of the library size; ValueError for a family not of counts."""
        if self.log_size is None:
            return decoder
        link = getattr(decoder.family, "link", None)
        if not isinstance(link, Link):
            raise ValueError(
                f"library: its size scales counts, of which the likelihoods are {', '.join(COUNTS)}; "
                f"got {type(decoder.family).__name__}"
            )
        net = Shares(decoder.net, features, self.log_size, link.log_start, link.spread)
        return Conditional(net, decoder.family, (*decoder.given, *self.names))


def _observed(spec: Spec, latent: Gaussian) -> Library:
    return Library(("library",), LogTotal(), Chain((Total(),)))


def _latent(spec: Spec, latent: Gaussian) -> Library:
    size, family = LogNormalSize(), DiagonalNormal()
    net = network_of(latent)((prepared_shape(spec), (1,)), (family.size(1),))
    return Library(
        ("l",),
        size,
        posterior={"l": Conditional(SizeEncoder(prepared(net, spec, ("x", "l")), size), family, "x")},
        prior={"l": StandardNormal(1)},
        start=size.start,
    )


LIBRARIES: Mapping[str, Callable[[Spec, Gaussian], Library]] = {
    "none": lambda spec, latent: Library(),
    "observed": _observed,
    "latent": _latent,
}


def library_of(name: str, spec: Spec, latent: Gaussian) -> Library:
    """The library size of that name in `LIBRARIES`; ValueError with the known names if there is none."""
    return find(LIBRARIES, name, "library")(spec, latent)
