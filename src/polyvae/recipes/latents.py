"""A latent as recipes put it together: posterior, prior, decoders of it, the terms that train them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, singledispatch
from math import prod

from torch import nn

from polyvae.model.distributions.codes import depth_of
from polyvae.model.families.real import Point
from polyvae.model.networks import Shape, mirrored
from polyvae.model.networks.layers import Met, Stacked, is_picture
from polyvae.model.networks.prepared import prepared, prepared_shape
from polyvae.model.networks.sparse import multiscale
from polyvae.model.networks.vq import downsampling, flat, upsampling
from polyvae.model.posteriors.quantiser import Quantiser
from polyvae.model.priors.uniform import UniformPrior
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional, Values
from polyvae.objectives.objective import Weighted
from polyvae.objectives.terms import KL
from polyvae.recipes.begun import LAWS
from polyvae.recipes.options import Codes, Gaussian
from polyvae.recipes.parts import encoder_family, is_perceptron, network_of, prior_of, reads_sensors
from polyvae.recipes.quantisers import coder_of

Reader = Callable[[Sequence[Shape], Shape], nn.Module]


@dataclass(frozen=True)
class LatentPart:
    """One latent of a recipe: its posterior and prior, the shape of z, its terms of the objective by name.

    `decoders`: the networks that read z, then other values, by name. `prior` makes the prior, after the decoders, so
    that the same seed draws the same weights whichever prior is chosen. `start`, where set, belongs into
    `Recipe.start`.
    """

    posterior: nn.Module
    prior: Callable[[], nn.Module]
    shape: Shape
    terms: Mapping[str, Weighted]
    decoders: Mapping[str, Reader]
    start: Callable[[Values], None] | None = None


@singledispatch
def latent_part(latent: object, spec: Spec, beside: Mapping[str, Shape]) -> LatentPart:
    """The part that a `Gaussian` or `Codes` asks for, whose posterior reads x and the values of these shapes beside it.

    Both squared errors of codes, terms "codebook" and "commitment", are summed over z and weighed by D_x / D_z, the
    numbers of values in x and z, the commitment by `beta` too: beside a squared error summed over x they stand as means
    of elements do beside a mean over pixels. Moving averages have no codebook term. Other quantisers have other terms:
    see `quantisers`.
    """
    raise TypeError(f"latent is Gaussian(...) or Codes(...); got {type(latent).__name__}")


@latent_part.register
def _gaussian(latent: Gaussian, spec: Spec, beside: Mapping[str, Shape]) -> LatentPart:
    x, family = prepared_shape(spec), encoder_family(latent.posterior, latent.dimensions)
    maps = {} if is_perceptron(latent) else {name: shape for name, shape in beside.items() if shape[1:] == x[1:] != ()}
    given = ("x", *maps, *(name for name in beside if name not in maps))
    wide = (x[0] + sum(shape[0] for shape in maps.values()), *x[1:])
    others = [beside[name] for name in given[1 + len(maps) :]]
    net = network_of(latent)((wide, *others), (family.size(latent.dimensions),))
    net = Stacked(net, 1 + len(maps)) if maps else net
    q = Conditional(prepared(net, spec, given), family, given)
    decoders = vector_decoders(latent, spec)
    return LatentPart(q, lambda: prior_of(latent, q, spec, beside), (latent.dimensions,), divergence(q), decoders)


def divergence(q: Conditional) -> dict[str, Weighted]:
    """The term "kl", which a point has not."""
    return {} if isinstance(q.family, Point) else {"kl": Weighted(KL())}


def vector_decoders(latent: Gaussian, spec: Spec) -> dict[str, Reader]:
    """The networks that read a vector z: the encoder's mirrored, and of pictures one that meets m at every scale."""

    def own(inputs: Sequence[Shape], output: Shape) -> nn.Module:
        return mirrored(network_of(latent))(inputs, output)

    def scales(inputs: Sequence[Shape], output: Shape, dense: int = 0) -> nn.Module:
        build = multiscale if latent.widths is None else partial(multiscale, channels=latent.widths)
        return _meeting(inputs, lambda z, m: build((z, m), output, dense=dense))

    def maps(inputs: Sequence[Shape], output: Shape) -> nn.Module:
        vectors = [prod(shape) for shape in inputs if not is_picture(shape)]
        met = (1 + sum(shape[0] for shape in inputs if is_picture(shape)), *output[1:])
        build = multiscale if latent.widths is None else partial(multiscale, channels=latent.widths)
        return Met(build(((sum(vectors),), met), output), len(vectors))

    decoders = {
        "flat": own,
        "map": own,
        "multiscale": scales if is_picture(spec.x) and not reads_sensors(latent) else own,
        **dict.fromkeys(LAWS, partial(scales, dense=2 * spec.x[0])),
    }
    return {**decoders, "maps": own if is_perceptron(latent) else maps}


@latent_part.register
def _codes(latent: Codes, spec: Spec, beside: Mapping[str, Shape]) -> LatentPart:
    widths, blocks = latent.widths, latent.blocks
    coder = coder_of(latent)
    net, shape = downsampling(prepared_shape(spec), coder.dim, widths, blocks, tuple(beside.values()))
    words = coder.build()
    given = ("x", *beside)
    posterior = Quantiser(prepared(net, spec, given), words, given)
    start = posterior.start if latent.kmeans and hasattr(words, "start") else None
    positions, terms = (*depth_of(words), *shape[1:]), coder.terms(spec.dimensions, prod(shape), None)
    decoders = map_decoders(latent, spec)
    return LatentPart(posterior, lambda: UniformPrior(words, positions), shape, terms, decoders, start)


def map_decoders(latent: Codes, spec: Spec) -> dict[str, Reader]:
    """The networks that read a map of words: convolutions alone, flattened first, or meeting m at every scale."""
    widths, blocks = latent.widths, latent.blocks

    def flattened(inputs: Sequence[Shape], output: Shape) -> nn.Module:
        return flat(inputs, output, widths, blocks)

    def mapped(inputs: Sequence[Shape], output: Shape) -> nn.Module:
        return Stacked.over(inputs, lambda z: upsampling(z, output, widths, blocks))

    def scales(inputs: Sequence[Shape], output: Shape, dense: int = 0) -> nn.Module:
        return _meeting(inputs, lambda z, m: multiscale((z, m), output, widths, blocks, False, dense))

    met = scales if is_picture(spec.x) else flattened
    laws = dict.fromkeys(LAWS, partial(scales, dense=2 * spec.x[0]))
    return {"flat": flattened, "map": mapped, "multiscale": met, **laws}


def _meeting(inputs: Sequence[Shape], build: Callable[[Shape, Shape], nn.Module]) -> nn.Module:
    """A decoder of z and m, the last of the inputs; what stands between is joined to z."""
    *first, m = inputs
    return Stacked.over(first, lambda z: build(z, m))
