"""Convolutions of 4x4 and stride 2 without normalisation: small, quick, and each picture by itself."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from polyvae.model.networks.layers import (
    PictureDecoder,
    PictureEncoder,
    Shape,
    Stack,
    checked,
    checked_widths,
    is_picture,
)
from polyvae.model.networks.mlp import mlp

LEAST = 4  # a side that is halved no further


def strided(inputs: Sequence[Shape], output: Shape, channels: Sequence[int] = (32, 64, 128)) -> nn.Module:
    """Build a decoder when `output` is a picture, else an encoder when an input is one, else a perceptron.

    Encoder: for each of `channels` a 4x4 convolution of stride 2 with ReLU, as long as both sides are even and above 4,
    then 3x3 ones of stride 1; flattened, concatenated with the other inputs, one linear layer. Decoder: one linear
    layer with ReLU, then the same backwards with transposed convolutions. On 32x32 pictures these are the networks of
    Shi, Siddharth, Paige, Torr: Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models,
    2019, for SVHN, whose decoder ends in a sigmoid. `channels` is in the encoder's order for both.
    """
    inputs, output = checked(inputs, output)
    channels = checked_widths("channels", channels)
    picture = output if is_picture(output) else next((shape for shape in inputs if is_picture(shape)), None)
    if picture is None:
        return mlp(inputs, output)
    depth, *sides = picture
    halved: list[bool] = []
    for _ in channels:
        halved.append(all(side % 2 == 0 and side > LEAST for side in sides))
        sides = [side // 2 for side in sides] if halved[-1] else sides
    code = (channels[-1], *sides)
    layers: list[nn.Module] = []
    if picture is output:
        for half, before, after in zip(reversed(halved), reversed(channels), (*channels[-2::-1], depth), strict=True):
            size = (4, 2, 1) if half else (3, 1, 1)
            layers += [nn.ReLU(inplace=True), nn.ConvTranspose2d(before, after, *size)]
        return PictureDecoder(inputs, Stack(*layers), code)
    for half, before, after in zip(halved, (depth, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, after, *((4, 2, 1) if half else (3, 1, 1))), nn.ReLU(inplace=True)]
    return PictureEncoder(inputs, output, Stack(*layers), code)
