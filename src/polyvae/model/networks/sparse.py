"""Networks that read a sparse observation m = (x * mask, mask) at every scale."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.model.networks.layers import (
    LastConvolution,
    Shape,
    Stage,
    check_given,
    checked,
    checked_widths,
    is_picture,
    stages,
    to_maps,
)
from polyvae.model.networks.mlp import mlp
from polyvae.model.networks.vq import Maps, Residual


def pyramid(m: Tensor, steps: Sequence[Stage]) -> list[Tensor]:
    """What an observation says at every scale: [B, C + 1, H, W] -> [B, C + 1, h, w] for the picture and each stage.

    The last channel is the share of a cell's pixels that are seen, the others the mean of those seen (a normalised
    convolution with a box), and where a cell holds none, what the next coarser scale says, drawn out bilinearly. Scales
    go on to a single cell, so that one seen pixel is enough to fill the picture; with none all is 0.

    Gortler, Grzeszczuk, Szeliski, Cohen: The Lumigraph, 1996 (pull and push); Knutsson, Westin: Normalized and
    Differential Convolution, 1993.
    """
    # The last channel counts pixels, which cells at the edge hold fewer of.
    sums = [torch.cat([m, torch.ones_like(m[:, :1])], 1)]
    last = steps[-1].after if steps else (m.shape[2], m.shape[3])
    for stage in (*steps, *_towards(last, (1, 1), (max(last) - 1).bit_length())):
        sums.append(_pooled(sums[-1], stage))
    coarser: Tensor | None = None
    levels = []
    for level in reversed(sums):
        seen, share = level[:, :-2], level[:, -2:-1] / level[:, -1:]
        known = seen / level[:, -2:-1].clamp(min=torch.finfo(m.dtype).tiny)
        if coarser is not None:
            same = coarser.shape[2:] == level.shape[2:]
            wide = coarser if same else F.interpolate(coarser, level.shape[2:], mode="bilinear")
            known = torch.where(share > 0, known, wide)
        coarser = known
        levels.append(torch.cat([known, share], 1))
    return levels[::-1][: len(steps) + 1]


def _pooled(sums: Tensor, stage: Stage) -> Tensor:
    """Sums over the cells of a stage, up to a factor that is the same everywhere."""
    if stage.stride == (1, 1):
        return sums
    low, right = (a * s - b for a, s, b in zip(stage.after, stage.stride, stage.before, strict=True))
    return F.avg_pool2d(F.pad(sums, (0, right, 0, low)) if low or right else sums, stage.stride)


def _towards(picture: tuple[int, int], code: tuple[int, int], count: int) -> list[Stage]:
    """`count` stages that halve a side, rounding up, as long as it does not fall below that of the code's map."""
    found, sides = [], picture
    for _ in range(count):
        (high, wide), halved = sides, (-(-sides[0] // 2), -(-sides[1] // 2))
        strides = (2 if high > halved[0] >= code[0] else 1, 2 if wide > halved[1] >= code[1] else 1)
        after = (halved[0] if strides[0] == 2 else high, halved[1] if strides[1] == 2 else wide)
        found.append(Stage(sides, after, strides))
        sides = after
    return found


def _activated(layer: nn.Conv2d | nn.ConvTranspose2d, statistics: bool) -> Maps:
    """A convolution and LeakyReLU, with BatchNorm between, which makes up for a bias, or without."""
    if not statistics:
        return Maps(layer, nn.LeakyReLU(inplace=True))
    layer.bias = None
    return Maps(layer, nn.BatchNorm2d(layer.out_channels), nn.LeakyReLU(inplace=True))


class Root(nn.Module):
    """The map that a decoder begins with, made of z: one linear layer of a vector, a 3x3 convolution of a map.

    [B, *z] -> [B, *code]; a map of other sides is stretched by repeating its pixels.
    """

    def __init__(self, z: Shape, code: Shape) -> None:
        super().__init__()
        self.z, self.code = z, code
        self.layer = nn.Conv2d(z[0], code[0], 3, padding=1) if is_picture(z) else nn.Linear(prod(z), prod(code))

    def forward(self, z: Tensor) -> Tensor:
        if not is_picture(self.z):
            return to_maps(self.layer(z.flatten(1)), self.code)
        maps = self.layer(z)
        return maps if self.z[1:] == self.code[1:] else F.interpolate(maps, self.code[1:], mode="nearest")


class MultiscaleDecoder(nn.Module):
    """A decoder of z that meets an observation m at every scale: z [B, *z], m [B, C + 1, H, W] -> [B, D, H, W].

    Going down, convolutions of the strides of `steps` read m, and at each scale its `pyramid` again; going up, the maps
    made of z by `root` are joined at each scale with those features and the pyramid, before a transposed convolution.
    `channels` is in the order of `steps`, from the picture to the code.
    """

    def __init__(
        self,
        inputs: Sequence[Shape],
        output: Shape,
        steps: Sequence[Stage],
        channels: Sequence[int],
        root: nn.Module,
        statistics: bool = True,
    ) -> None:
        super().__init__()
        seen, first = inputs[1][0], channels[0]
        self.inputs, self.steps, self.root = tuple(inputs), tuple(steps), root
        looks, rises = [_activated(nn.Conv2d(seen, first, 3, padding=1), statistics)], []
        for stage, near, far in zip(steps, (first, *channels[:-1]), channels, strict=True):
            looks.append(_activated(nn.Conv2d(near + seen, far, 3, stage.stride, 1), statistics))
            up = nn.ConvTranspose2d(2 * far + seen, near, 3, stage.stride, 1, stage.output_padding)
            rises.append(_activated(up, statistics))
        self.looks, self.rises = nn.ModuleList(looks), nn.ModuleList(rises)
        self.last = Maps(LastConvolution(2 * first + seen, output[0]))

    def forward(self, *tensors: Tensor) -> Tensor:
        check_given(tensors, self.inputs)
        z, m = tensors
        levels = pyramid(m, self.steps)
        features = [self.looks[0](levels[0])]
        for look, level in zip(list(self.looks)[1:], levels[:-1], strict=True):
            features.append(look(torch.cat([features[-1], level], 1)))
        maps = self.root(z)
        for rise, feature, level in zip(self.rises[::-1], features[:0:-1], levels[:0:-1], strict=True):
            maps = rise(torch.cat([maps, feature, level], 1))
        return self.last(torch.cat([maps, features[0], levels[0]], 1)).contiguous()


def multiscale(
    inputs: Sequence[Shape],
    output: Shape,
    channels: Sequence[int] = (32, 64, 128, 256),
    blocks: int = 0,
    statistics: bool = True,
) -> nn.Module:
    """Build a decoder of pictures from `inputs` z (a vector or a map) and m, which meets m at every scale.

    `channels` is in the encoder's order, one for each stage, as in `conv`, whose rule of strides holds where z is a
    vector; a z map is met at its own sides. `blocks` counts residual blocks after the first maps made of z;
    `statistics` says whether layers have BatchNorm. Where `output` is a table it is a perceptron with one hidden layer.
    The picture may have any sides. ValueError where m is not (C + 1, H, W) with the sides of the output.
    """
    inputs, output = checked(inputs, output)
    channels = checked_widths("channels", channels)
    if not is_picture(output):
        return mlp(inputs, output)
    if len(inputs) != 2 or not is_picture(inputs[1]) or inputs[1][1:] != output[1:] or inputs[1][0] < 2:
        raise ValueError(
            f"a multiscale decoder reads z, then an observation (C + 1, {output[1]}, {output[2]}); got {list(inputs)}"
        )
    z, sides = inputs[0], (output[1], output[2])
    steps = _towards(sides, (z[1], z[2]), len(channels)) if is_picture(z) else list(stages(*sides, len(channels)))
    root = nn.Sequential(Root(z, (channels[-1], *steps[-1].after)), *[Residual(channels[-1]) for _ in range(blocks)])
    return MultiscaleDecoder(inputs, output, steps, channels, root, statistics)


class Filled(nn.Module):
    """An observation [B, C + 1, H, W] and beside it the picture filled in by `pyramid`, [B, 2 C + 1, H, W], then `net`.

    A convolution sees little but zeros in a sparse picture; the filled one has something to say everywhere.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, m: Tensor, *others: Tensor) -> Tensor:
        return self.net(torch.cat([m, pyramid(m, [])[0][:, :-1]], 1), *others)
