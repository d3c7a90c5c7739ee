"""The convolutional encoder and decoder of the multitask study."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from polyvae.checks.names import one_of
from polyvae.model.networks.layers import (
    NORMS,
    LastConvolution,
    PictureDecoder,
    PictureEncoder,
    Shape,
    Stack,
    activated,
    checked,
    checked_widths,
    is_picture,
    stages,
)
from polyvae.model.networks.mlp import mlp


def _encoder(inputs: Sequence[Shape], output: Shape, channels: tuple[int, ...], norm: str) -> PictureEncoder:
    before, height, width = next(shape for shape in inputs if is_picture(shape))
    layers: list[nn.Module] = []
    for stage, after in zip(stages(height, width, len(channels)), channels, strict=True):
        # no bias: the normalisation has its own
        layers += [nn.Conv2d(before, after, 3, stage.stride, 1, bias=False), *activated(after, norm)]
        before, height, width = after, *stage.after
    return PictureEncoder(inputs, output, Stack(*layers), (before, height, width))


def _decoder(inputs: Sequence[Shape], output: Shape, channels: tuple[int, ...], norm: str) -> PictureDecoder:
    depth, height, width = output
    steps = list(stages(height, width, len(channels)))
    layers: list[nn.Module] = []
    # the mirror of (C -> c0 -> c1 ...) ends in c0 -> c0: the last convolution then makes the C channels of the picture
    for stage, before, after in zip(reversed(steps), reversed(channels), (*channels[-2::-1], channels[0]), strict=True):
        up = nn.ConvTranspose2d(before, after, 3, stage.stride, 1, stage.output_padding, bias=False)
        layers += [up, *activated(after, norm)]
    layers.append(LastConvolution(channels[0], depth))
    return PictureDecoder(inputs, Stack(*layers), (channels[-1], *steps[-1].after))


def conv(
    inputs: Sequence[Shape], output: Shape, channels: Sequence[int] = (32, 64, 128, 256), norm: str = "batch"
) -> nn.Module:
    """Build the study's decoder when `output` is a picture, else its encoder when an input is one, else a perceptron.

    Encoder: a 3x3 convolution for each of `channels` with BatchNorm and LeakyReLU, stride 2 while a side is even else 1
    (28 ends at 7, 32 at 2; odd sides above 16 are halved as well, rounding up); flattened, concatenated with the other
    inputs (a second picture is flattened) and one linear layer. Decoder: the inputs flattened and concatenated, one
    linear layer, then the stages backwards as transposed convolutions of the same strides, which return to each side
    exactly, and a convolution without activation. `channels` is in the encoder's order for both. `norm`: "batch", the
    study's, or "group", GroupNorm in BatchNorm's place, which holds no statistics of a batch.

    The study says "mirrored transposed convolutions, last a convolution without activation". Its first stage has stride
    2 at 28 and 32, which a convolution cannot undo, so the convolution is read as following the four transposed ones.
    Where the maps shrink to one pixel (16x16, 8x8) BatchNorm needs at least two pictures to train on.
    """
    inputs, output = checked(inputs, output)
    channels, norm = checked_widths("channels", channels), one_of(NORMS, norm, "norm")
    if is_picture(output):
        return _decoder(inputs, output, channels, norm)
    if any(is_picture(shape) for shape in inputs):
        return _encoder(inputs, output, channels, norm)
    return mlp(inputs, output)
