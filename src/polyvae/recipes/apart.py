"""A network of m that speaks by itself, and z, which adds to what it says: two likelihoods of x, and their training."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from polyvae.model.networks import Shape
from polyvae.model.networks.beside import CHANNELS, Alone, Beside, Leading
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.parts import Feature, Head
from polyvae.model.spec import Spec
from polyvae.model.vae import Family
from polyvae.objectives.objective import Objective, Weighted
from polyvae.objectives.schedules import Linear
from polyvae.objectives.terms import Reconstruction
from polyvae.recipes.decoders import decoder_of
from polyvae.recipes.latents import LatentPart
from polyvae.recipes.options import Gaussian
from polyvae.recipes.parts import reads_sensors

ALONE, WITHOUT_Z = "alone", "x_without_z"  # the feature that both likelihoods read, and the head that reads no z
RISE = 400  # steps in which the divergence comes to count: before m has said its own, z seems worth nothing


def heads_apart(
    spec: Spec, latent: Gaussian, likelihood: str | Family | None, z: LatentPart, read: Mapping[str, Shape]
) -> tuple[dict[str, nn.Module], dict[str, Head]]:
    """The feature `ALONE`, and the heads "x", of z and that, and `WITHOUT_Z`, of that alone; `read`: what it reads.

    ValueError where x is no picture, or z reads sensors.
    """
    ((name, shape),) = read.items()
    if not is_picture(spec.x) or reads_sensors(latent):
        raise ValueError("apart: a network of m alone is for pictures that are seen pixel by pixel; leave apart out")
    widths = CHANNELS if latent.widths is None else latent.widths
    # An observation has a channel of what is seen beside those of x; others say something at every place.
    dense = shape[0] - prepared_shape(spec)[0] - 1
    without = decoder_of(spec, likelihood, lambda _, x: Leading(x[0]), {ALONE: shape, name: shape}, own=True)
    numbers = without.family.size(spec.x[0])
    alone = Feature(prepared(Alone(shape, numbers, widths, dense), spec, (name,)), name)
    given = {"z": z.shape, ALONE: (numbers + widths[0], *spec.x[1:]), name: shape}
    p = decoder_of(spec, likelihood, lambda read, x: Beside(read[0], read[1], x[0], widths), given)
    return {ALONE: alone}, {"x": Head(p), WITHOUT_Z: Head(without, of="x")}


def taught_apart(share: float, z: LatentPart) -> Objective:
    """share E[-log p(x | m)] + (1 - share) (E[-log p(x | z, m)] + KL), the latter rising over the first `RISE` steps.

    Bowman et al.: Generating Sentences from a Continuous Space, 2016 (the rise).
    """
    of_z = 1 - share
    terms = {
        "reconstruction": Weighted(Reconstruction(("x",)), of_z),
        "without_z": Weighted(Reconstruction((WITHOUT_Z,)), share),
        **{name: Weighted(each.term, Linear(0.0, of_z, RISE)) for name, each in z.terms.items()},
    }
    return Objective(terms)
