"""What decoders, and a prior given m, read of an observation: m, or with it what analysers expect of the whole."""

from __future__ import annotations

from torch import nn

from polyvae.model.networks import Shape
from polyvae.model.networks.analysed import analysed
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.prepared import prepared_observation
from polyvae.model.spec import Spec
from polyvae.recipes.observing import noises, shown_shape
from polyvae.recipes.options import Codes, Gaussian, Mask
from polyvae.recipes.parts import reads_sensors, weights_apart
from polyvae.recipes.sensed import NAME as SENSING

ANALYSERS, ANALYSED = "analysers", "analysed"  # the decoder's name, and that of the feature that it reads


def read_of(spec: Spec, mask: Mask, decoder: str) -> dict[str, Shape]:
    """Its name, and its shape as networks read it."""
    if decoder != ANALYSERS:
        return {"m": prepared_observation(spec, shown_shape(spec, mask))}
    return {ANALYSED: (3 * spec.x[0] + 1, *spec.x[1:])}


def features_of(spec: Spec, latent: Gaussian | Codes, decoder: str, mask: Mask) -> dict[str, nn.Module]:
    """The feature that the decoder "analysers" reads, none for another.

    ValueError, by name, for data that are no pictures of grey levels or bits, for a network of sensors, and beside
    noise of what is seen.
    """
    if decoder != ANALYSERS:
        return {}
    if not is_picture(spec.x) or spec.columns or spec.levels is None:
        raise ValueError("decoder: analysers are of pictures of grey levels or bits; take multiscale or flat")
    if isinstance(latent, Gaussian) and (latent.network == SENSING or reads_sensors(latent)):
        raise ValueError("decoder: analysers read pictures, and the network sensing reads sensors; take flat")
    if any(noises(spec, mask)):
        raise ValueError("decoder: analysers take what is seen as it is; take multiscale beside noise")
    with weights_apart():
        return {ANALYSED: analysed(spec.x)}
