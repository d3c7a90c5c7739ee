"""What decoders, and a prior given m, read of an observation: m, or with it what a law expects of the whole."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

from torch import nn

from polyvae.model.networks import Shape
from polyvae.model.networks.expected import Expected, NormalExpected, analysed
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.prepared import prepared_observation
from polyvae.model.spec import Spec
from polyvae.recipes.observing import noises, shown_shape
from polyvae.recipes.options import Codes, Gaussian, Mask
from polyvae.recipes.parts import reads_sensors, weights_apart
from polyvae.recipes.sensed import NAME as SENSING


@dataclass(frozen=True)
class Begun:
    """A decoder that begins at a law: the `feature` that it reads, and what makes it for pictures of a shape.

    `spread`: whether the usual likelihood of grey levels beside it has a spread for every value, as the law has.
    `apart`: the usual weight of a network of m alone.
    """

    feature: str
    build: Callable[[Shape], Expected]
    spread: bool = False
    apart: float = 0.0


# By the names of decoders; another is a line here, and its name in `options.Decoder`.
LAWS: dict[str, Begun] = {
    "analysers": Begun("analysed", analysed, apart=0.5),
    "normal-law": Begun("expected", NormalExpected, spread=True),
}


def begun_at(names: Container[str]) -> Begun | None:
    """The law whose feature is among those that are read, if any is."""
    return next((law for law in LAWS.values() if law.feature in names), None)


def read_of(spec: Spec, mask: Mask, decoder: str) -> dict[str, Shape]:
    """Its name, and its shape as networks read it."""
    if decoder not in LAWS:
        return {"m": prepared_observation(spec, shown_shape(spec, mask))}
    return {LAWS[decoder].feature: (3 * spec.x[0] + 1, *spec.x[1:])}


def features_of(spec: Spec, latent: Gaussian | Codes, decoder: str, mask: Mask) -> dict[str, nn.Module]:
    """The feature that such a decoder reads, none for another.

    ValueError, by name, for data that are no pictures of grey levels or bits, for a network of sensors, and beside
    noise of what is seen.
    """
    if decoder not in LAWS:
        return {}
    if not is_picture(spec.x) or spec.columns or spec.levels is None:
        raise ValueError(f"decoder: {decoder} is for pictures of grey levels or bits; take multiscale or flat")
    if isinstance(latent, Gaussian) and (latent.network == SENSING or reads_sensors(latent)):
        raise ValueError(f"decoder: {decoder} reads pictures, and the network sensing reads sensors; take flat")
    if any(noises(spec, mask)):
        raise ValueError(f"decoder: {decoder} takes what is seen as it is; take multiscale beside noise")
    law = LAWS[decoder]
    try:
        with weights_apart():
            return {law.feature: law.build(spec.x)}
    except ValueError as error:
        raise ValueError(f"decoder: {decoder}: {error}; take smaller pictures, analysers or multiscale") from error
