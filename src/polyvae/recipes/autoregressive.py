"""A PixelCNN over the grey levels of a picture, as an autoencoder whose code is the picture."""

from __future__ import annotations

from torch import nn

from polyvae.checks.ranges import Count, Share
from polyvae.model.networks.layers import Stacked
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.parts import Feature
from polyvae.model.posteriors.exact import ExactCode, ExactDecoder
from polyvae.model.priors.pixelcnn import PixelCNNPrior, map_shape
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE
from polyvae.objectives.objective import Objective
from polyvae.recipes.conditions import Condition
from polyvae.recipes.options import Conditions, Kernel
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
) -> Recipe:
    """log p(x) = sum_i log p(x_i | x_1 ... x_(i-1)), exactly: the bound is the likelihood itself.

    x is a picture of grey levels, taken row by row, the channels of a pixel one after the other; z is x, the posterior
    knows it and the likelihood returns it, so that the KL is the whole cost. Tables and continuous values are refused.

    `channels`: of every layer. `layers`: how many, the first included. `kernel_size`: width of their kernels, odd;
    each layer sees half as many rows and columns further. `first_kernel_size`: width of the first layer's. `dropout`:
    share of the gates left out in training. `condition`: labels or vectors y are added within every gate.

    van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu: Conditional Image Generation with PixelCNN
    Decoders, 2016.
    """
    if len(spec.x) != 3 or spec.levels is None:
        raise ValueError(
            f"pixel_cnn needs pictures (channels, height, width) of grey levels; got {spec.x} with "
            f"{'continuous values' if spec.levels is None else f'{spec.levels} levels'}: take another recipe"
        )
    y = Condition(spec, condition)
    read = tuple(y.shapes)
    if len(read) > 1:
        y.features["given"], read = Feature(Stacked(nn.Identity()), read), ("given",)
    length = sum(shape[0] for shape in y.shapes.values()) if read else None
    kernels = (first_kernel_size, *(kernel_size,) * (layers - 1))
    net = GatedPixelCNN(map_shape(spec.x), spec.levels, channels, kernels, length, dropout)
    posterior = ExactCode(spec.levels)
    prior = PixelCNNPrior(net, posterior.codebook, spec.x, read)
    return Recipe(VAE(posterior, prior, ExactDecoder(spec.levels), y.features), Objective(), y.observe)
