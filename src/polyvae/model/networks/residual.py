"""Residual encoder and decoder with pre-activation blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from polyvae.checks.names import one_of
from polyvae.checks.ranges import at_least
from polyvae.model.networks.layers import (
    NORMS,
    LastConvolution,
    PictureDecoder,
    PictureEncoder,
    Shape,
    Stack,
    Stage,
    activated,
    checked,
    checked_widths,
    is_picture,
    stages,
)
from polyvae.model.networks.mlp import mlp


class Block(nn.Module):
    """A pre-activation residual block: shortcut(x) + F(x), F twice `norm`, LeakyReLU, 3x3 convolution.

    `up` turns it round: a block up is the block down read backwards. The shortcut is the identity, or average pooling
    and a 1x1 convolution (down), or a 1x1 convolution and each pixel repeated (up). No biases: the next
    normalisation has its own. Source: He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", 2016.
    """

    def __init__(self, before: int, after: int, stage: Stage, up: bool = False, norm: str = "batch") -> None:
        super().__init__()
        narrow, wide = (after, before) if up else (before, after)
        same = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        if up:
            change = nn.ConvTranspose2d(wide, narrow, 3, stage.stride, 1, stage.output_padding, bias=False)
        else:
            change = nn.Conv2d(narrow, wide, 3, stage.stride, 1, bias=False)
        first, second = (same, change) if up else (change, same)
        middle = wide
        self.residue = nn.Sequential(*activated(before, norm), first, *activated(middle, norm), second)
        project = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)
        resize = nn.Identity()
        if stage.stride != (1, 1):
            resize = Repeat(stage) if up else nn.AvgPool2d(stage.stride, ceil_mode=True)
        self.shortcut = nn.Sequential(project, resize) if up else nn.Sequential(resize, project)

    def forward(self, input: Tensor) -> Tensor:
        return self.shortcut(input) + self.residue(input)


class Repeat(nn.Module):
    """Repeat each pixel as often as the stage's stride says and cut to its size: [B, C, *after] -> [B, C, *before]."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, input: Tensor) -> Tensor:
        stretched = nn.functional.interpolate(input, scale_factor=self.stage.stride, mode="nearest")
        return stretched[:, :, : self.stage.before[0], : self.stage.before[1]]


def _encoder(
    inputs: Sequence[Shape], output: Shape, channels: tuple[int, ...], blocks: int, norm: str
) -> PictureEncoder:
    depth, height, width = next(shape for shape in inputs if is_picture(shape))
    layers: list[nn.Module] = [nn.Conv2d(depth, channels[0], 3, padding=1, bias=False)]
    before = channels[0]
    for stage, after in zip(stages(height, width, len(channels)), channels, strict=True):
        layers.append(Block(before, after, stage, norm=norm))
        layers += [Block(after, after, stage.still, norm=norm) for _ in range(blocks - 1)]
        before, height, width = after, *stage.after
    return PictureEncoder(inputs, output, Stack(*layers, *activated(before, norm)), (before, height, width))


def _decoder(
    inputs: Sequence[Shape], output: Shape, channels: tuple[int, ...], blocks: int, norm: str
) -> PictureDecoder:
    depth, height, width = output
    steps = list(stages(height, width, len(channels)))
    layers: list[nn.Module] = []
    for stage, before, after in zip(reversed(steps), reversed(channels), (*channels[-2::-1], channels[0]), strict=True):
        layers += [Block(before, before, stage.still, True, norm) for _ in range(blocks - 1)]
        layers.append(Block(before, after, stage, True, norm))
    layers += [*activated(channels[0], norm), LastConvolution(channels[0], depth)]
    return PictureDecoder(inputs, Stack(*layers), (channels[-1], *steps[-1].after))


def residual(
    inputs: Sequence[Shape],
    output: Shape,
    channels: Sequence[int] = (32, 64, 128, 256),
    blocks: int = 1,
    norm: str = "batch",
) -> nn.Module:
    """Build a residual decoder when `output` is a picture, else an encoder when an input is one, else a perceptron.

    A 3x3 convolution to the first width, then `blocks` pre-activation residual blocks for each of `channels`, the first
    of which changes the width and halves the sides by the rule of `conv`; the rest and `norm` as in `conv`. The
    decoder is the encoder read backwards, layer by layer. ValueError for an empty or non-positive shape, width or
    count.
    """
    inputs, output = checked(inputs, output)
    channels, norm = checked_widths("channels", channels), one_of(NORMS, norm, "norm")
    at_least("blocks", blocks, 1, "the residual blocks of a stage")
    if is_picture(output):
        return _decoder(inputs, output, channels, blocks, norm)
    if any(is_picture(shape) for shape in inputs):
        return _encoder(inputs, output, channels, blocks, norm)
    return mlp(inputs, output)
