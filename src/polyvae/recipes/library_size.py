"""The library size of counts as recipes put it together: none, the observed total, or a latent of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from polyvae.checks.names import find
from polyvae.model.families.counts import COUNTS, Link
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks import Builder
from polyvae.model.networks.library import LogNormalSize, LogTotal, Shares, SizeEncoder
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional, Values
from polyvae.observe.transforms import Chain, Total
from polyvae.recipes.parts import encoder_net
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


def _observed(spec: Spec, network: str | Builder, widths: Sequence[int] | None) -> Library:
    return Library(("library",), LogTotal(), Chain((Total(),)))


def _latent(spec: Spec, network: str | Builder, widths: Sequence[int] | None) -> Library:
    size, family = LogNormalSize(), DiagonalNormal()
    net = encoder_net(network, widths, (prepared_shape(spec), (1,)), 1, family)
    return Library(
        ("l",),
        size,
        posterior={"l": Conditional(SizeEncoder(prepared(net, spec, ("x", "l")), size), family, "x")},
        prior={"l": StandardNormal(1)},
        start=lambda values: size.start(values["x"]),
    )


LIBRARIES: Mapping[str, Callable[[Spec, str | Builder, Sequence[int] | None], Library]] = {
    "none": lambda spec, network, widths: Library(),
    "observed": _observed,
    "latent": _latent,
}


def library_of(name: str, spec: Spec, network: str | Builder, widths: Sequence[int] | None) -> Library:
    """The library size of that name in `LIBRARIES`; ValueError with the known names if there is none."""
    return find(LIBRARIES, name, "library")(spec, network, widths)
