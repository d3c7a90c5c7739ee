"""A U-Net that reads (picture, mask) and says the picture: the regression that a practitioner would train."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.checks.ranges import Positive, Widths
from polyvae.model.networks import Shape
from polyvae.model.networks.prepared import prepared_observation
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE
from polyvae.objectives.objective import Objective
from polyvae.objectives.terms import Reconstruction
from polyvae.observe.masks import observation_shape
from polyvae.recipes.conditions import Condition
from polyvae.recipes.decoders import decoder_of, finished
from polyvae.recipes.observing import observed, usual_counts
from polyvae.recipes.options import Conditions, Likelihood, Mask
from polyvae.recipes.recording import Recipe
from polyvae.recipes.without_z import Zero

WIDTHS = (32, 64, 128, 192)
GROUPS = 8


class UNet(nn.Module):
    """Convolutions that halve the sides between two `widths`, and go back beside what was there: [B, C, H, W].

    Of each width two convolutions with GroupNorm and SiLU on the way down and one on the way up; sides of any size. The
    usual widths have 1.3 million parameters.

    Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.
    """

    def __init__(self, inputs: Sequence[Shape], output: Shape, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, pairs = widths[0], list(pairwise(widths))
        self.first = nn.Sequential(_layer(inputs[0][0], first), _layer(first, first))
        self.down = nn.ModuleList(nn.Sequential(_layer(near, far, 2), _layer(far, far)) for near, far in pairs)
        self.narrow = nn.ModuleList(nn.Conv2d(far, near, 1) for near, far in pairs)
        self.up = nn.ModuleList(_layer(2 * near, near) for near, _ in pairs)
        self.last = nn.Conv2d(first, output[0], 1)

    def forward(self, m: Tensor) -> Tensor:
        maps = [self.first(m)]
        for layers in self.down:
            maps.append(layers(maps[-1]))
        risen = maps.pop()
        for narrow, layer in zip(list(self.narrow)[::-1], list(self.up)[::-1], strict=True):
            beside = maps.pop()
            wide = F.interpolate(cast(Tensor, narrow(risen)), beside.shape[2:], mode="nearest")
            risen = layer(torch.cat([wide, beside], 1))
        return self.last(risen)


def _layer(before: int, after: int, stride: int = 1) -> nn.Sequential:
    norm = nn.GroupNorm(GROUPS if after % (4 * GROUPS) == 0 else 1, after)
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), norm, nn.SiLU(inplace=True))


def unet(
    spec: Spec, likelihood: Likelihood | None = None, exponent: Positive | None = None, widths: Widths = WIDTHS
) -> Recipe:
    """log p(x | m) of a `UNet` that reads m = (x mask, mask), a model without z, trained and completed like the others.

    `likelihood`: whose mean is the network's answer; by default bits for grey pictures, which a cross-entropy teaches,
    and squared error for colours. `exponent`: of how many pixels are seen in training, as of `arbitrary_conditioning`,
    and drawn as there where it is not said.
    """
    shape = prepared_observation(spec, observation_shape(spec.x))
    name = ("bernoulli" if spec.unit and spec.x[0] == 1 else "normal-learned") if likelihood is None else likelihood
    p = decoder_of(spec, name, lambda inputs, output: UNet(inputs, output, widths), {"m": shape})
    model = VAE(Zero((1,), "m"), Zero((1,), "m"), p)
    masks = observed(spec, Mask(exponent=exponent), Condition(spec, Conditions()), usual_counts(spec))
    return finished(model, Objective({"reconstruction": Reconstruction()}), masks)
