"""A PixelCNN over the grey levels of a picture, as an autoencoder whose code is the picture."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from polyvae.checks.ranges import Count, Share
from polyvae.model.networks.layers import Stacked
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.networks.pixelcnn_above import FromAbove
from polyvae.model.parts import Feature
from polyvae.model.posteriors.exact import ExactCode, ExactDecoder
from polyvae.model.priors.pixelcnn import PixelCNNPrior, map_shape
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE
from polyvae.objectives.objective import Objective
from polyvae.recipes.conditions import Condition
from polyvae.recipes.options import Conditions, Kernel, MapsAbove
from polyvae.recipes.recording import Recipe, recipe


@recipe
def pixel_cnn(
    spec: Spec,
    channels: Count = 64,
    layers: Count = 8,
    kernel_size: Kernel = 3,
    first_kernel_size: Kernel = 7,
    dropout: Share = 0.0,
    condition: Conditions = Conditions(),
    above: MapsAbove = (),
) -> Recipe:
    """log p(x) = sum_i log p(x_i | x_1 ... x_(i-1)), exactly: the bound is the likelihood itself.

    x is a picture of grey levels, taken row by row, the channels of a pixel one after the other; z is x, the posterior
    knows it and the likelihood returns it, so that the KL is the whole cost. Tables and continuous values are refused.

    `channels`: of every layer. `layers`: how many, the first included. `kernel_size`: width of their kernels, odd;
    each layer sees half as many rows and columns further. `first_kernel_size`: width of the first layer's. `dropout`:
    share of the gates left out in training. `condition`: labels or vectors y are added within every gate. `above`:
    numbers in a vector, height and width of each map that x is conditional on, p(x | above1, above2 ...); the data hold
    these maps by those names.

    van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu: Conditional Image Generation with PixelCNN
    Decoders, 2016.
    """
    if len(spec.x) != 3 or spec.levels is None:
        raise ValueError(
            f"pixel_cnn needs pictures (channels, height, width) of grey levels; got {spec.x} with "
            f"{'continuous values' if spec.levels is None else f'{spec.levels} levels'}: take another recipe"
        )
    y = Condition(spec, condition)
    read, maps = tuple(y.shapes), shapes_of(above)
    if len(read) > 1:
        y.features["given"], read = Feature(Stacked(nn.Identity()), read), ("given",)
    length = sum(shape[0] for shape in y.shapes.values()) if read else None
    kernels = (first_kernel_size, *(kernel_size,) * (layers - 1))
    net = GatedPixelCNN(map_shape(spec.x), spec.levels, channels, kernels, channels if maps else length, dropout)
    reader = FromAbove(tuple(maps.values()), map_shape(spec.x), channels, length) if maps else None
    posterior = ExactCode(spec.levels)
    prior = PixelCNNPrior(net, posterior.codebook, spec.x, (*maps, *read), reader=reader)
    return Recipe(VAE(posterior, prior, ExactDecoder(spec.levels), y.features), Objective(), y.observe)


def shapes_of(above: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The maps that x is conditional on, by name, each of three numbers; ValueError for another number of them."""
    if len(above) % 3:
        raise ValueError(f"above holds three numbers a map, as (16, 4, 4); got {len(above)}")
    return {f"above{1 + place // 3}": tuple(above[place : place + 3]) for place in range(0, len(above), 3)}
