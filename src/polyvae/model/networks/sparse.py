"""Networks that read a sparse observation m = (x * mask, mask) at every scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import cast

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
    to_rows,
)
from polyvae.model.networks.meeting import Meeting
from polyvae.model.networks.mlp import mlp
from polyvae.model.networks.vq import Maps, Residual

CACHED = 2**18  # pixels of the decoder's largest maps at once: of all draws' together, a CPU's cache holds few


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


def layers(layer: nn.Conv2d | nn.ConvTranspose2d, statistics: bool) -> list[nn.Module]:
    """A convolution and LeakyReLU, with BatchNorm between, which makes up for a bias, or without."""
    if not statistics:
        return [layer, nn.LeakyReLU(inplace=True)]
    layer.bias = None
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.LeakyReLU(inplace=True)]


def looks(
    m: Shape, steps: Sequence[Stage], channels: Sequence[int], statistics: bool, dense: int = 0
) -> Iterator[Maps]:
    """The layers of `looked`, from the picture's scale to the code's, `channels` in the order of `steps`."""
    seen, first = m[0] - dense, channels[0]
    yield Maps(*layers(nn.Conv2d(m[0], first, 3, padding=1), statistics))
    for stage, near, far in zip(steps, (first, *channels[:-1]), channels, strict=True):
        yield Maps(*layers(nn.Conv2d(near + seen, far, 3, stage.stride, 1), statistics))


def looked(looks: nn.ModuleList, m: Tensor, steps: Sequence[Stage], dense: int = 0) -> list[Tensor]:
    """What layers make of an observation at every scale, the finest first, each joined with its `pyramid` there.

    The first `dense` channels say something at every place, and are read at the picture's scale alone.
    """
    levels = pyramid(m[:, dense:], steps)
    features = [looks[0](torch.cat([m[:, :dense], levels[0]], 1) if dense else levels[0])]
    for look, level in zip(list(looks)[1:], levels[:-1], strict=True):
        features.append(look(torch.cat([features[-1], level], 1)))
    return [torch.cat(pair, 1) for pair in zip(features, levels, strict=True)]


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
    """A decoder of z that meets an observation m at every scale: z [k n, *z], m [n, C + 1, H, W] -> [k n, D, H, W].

    Going down, convolutions of the strides of `steps` read m, and at each scale its `pyramid` again; going up, the maps
    made of z by `root` are joined at each scale with those features and the pyramid, before a transposed convolution.
    `channels` is in the order of `steps`, from the picture to the code. `dense`: channels before those of m that say
    something at every place, which are read at the picture's scale alone. Of k draws of z for each observation, all
    rows for the first draw stand before those for the second, and what is made of m alone is made once.
    """

    shared = (1,)

    def __init__(
        self,
        inputs: Sequence[Shape],
        output: Shape,
        steps: Sequence[Stage],
        channels: Sequence[int],
        root: nn.Sequential,
        statistics: bool = True,
        dense: int = 0,
    ) -> None:
        super().__init__()
        seen, first = inputs[1][0] - dense, channels[0]
        self.inputs, self.steps, self.root, self.dense = tuple(inputs), tuple(steps), root, dense
        looking = looks(inputs[1], steps, channels, statistics, dense)
        found, rises = [next(looking)], []
        for stage, near, far in zip(steps, (first, *channels[:-1]), channels, strict=True):
            found.append(next(looking))  # in this order, in which a seed's weights are drawn
            up = nn.ConvTranspose2d(2 * far + seen, near, 3, stage.stride, 1, stage.output_padding)
            rises.append(Meeting(*layers(up, statistics)))
        self.looks, self.rises = nn.ModuleList(found), nn.ModuleList(rises)
        self.last = Meeting(LastConvolution(2 * first + seen, output[0]))

    def forward(self, *tensors: Tensor) -> Tensor:
        check_given(tensors, self.inputs)
        z, m = tensors
        if len(z) % len(m):
            raise ValueError(f"z has a row, or as many for each, beside every row of m; got {len(z)} beside {len(m)}")
        # From the code to the picture: what meets the maps of z at each scale, and what m says there.
        meetings = cast(list[Meeting], [*self.rises[::-1], self.last])
        read = looked(self.looks, m, self.steps, self.dense)[::-1]
        said = [meeting.other(maps) for meeting, maps in zip(meetings, read, strict=True)]
        pieces = [self._up(piece, meetings, said) for piece in z.split(self._rows(len(z), m))]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _rows(self, rows: int, m: Tensor) -> int:
        """How many rows of z rise together: all, or on a CPU some draws, whose maps stay in its cache."""
        if self.training or not m.is_cpu:
            return rows
        return len(m) * max(1, CACHED // m[:, 0].numel())

    def _up(self, z: Tensor, meetings: Sequence[Meeting], said: Sequence[Tensor]) -> Tensor:
        maps = meetings[0].joined(self._rooted(z, meetings[0].own), said[0])
        for meeting, other in zip(meetings[1:], said[1:], strict=True):
            maps = meeting.joined(meeting.own(maps), other)
        return maps.contiguous()

    def _rooted(self, z: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """The first maps made of z after a linear layer, [B, ...].

        Where they are affine in a vector z, its unit vectors go through, if they are fewer than the rows.
        """
        size = prod(self.inputs[0])
        if len(self.root) > 1 or is_picture(self.inputs[0]) or len(z) <= size + 1:
            return layer(self.root(z))
        units = torch.cat([z.new_zeros(1, size), torch.eye(size, dtype=z.dtype, device=z.device)])
        made = layer(self.root(units))
        rows = to_rows(made)
        return to_maps(torch.addmm(rows[0], z.flatten(1), rows[1:] - rows[0]), tuple(made.shape[1:]))


def multiscale(
    inputs: Sequence[Shape],
    output: Shape,
    channels: Sequence[int] = (32, 64, 128, 256),
    blocks: int = 0,
    statistics: bool = True,
    dense: int = 0,
) -> nn.Module:
    """Build a decoder of pictures from `inputs` z (a vector or a map) and m, which meets m at every scale.

    `channels` is in the encoder's order, one for each stage, as in `conv`, whose rule of strides holds where z is a
    vector; a z map is met at its own sides. `blocks` counts residual blocks after the first maps made of z;
    `statistics` says whether layers have BatchNorm. `dense`: channels before those of m that say something at every
    place, such as what is expected there. Where `output` is a table it is a perceptron with one hidden layer.
    The picture may have any sides. ValueError where m is not (C + 1, H, W) with the sides of the output.
    """
    inputs, output = checked(inputs, output)
    channels = checked_widths("channels", channels)
    if not is_picture(output):
        return mlp(inputs, output)
    if len(inputs) != 2 or not is_picture(inputs[1]) or inputs[1][1:] != output[1:] or inputs[1][0] < 2 + dense:
        raise ValueError(
            f"a multiscale decoder reads z, then an observation (C + 1, {output[1]}, {output[2]}); got {list(inputs)}"
        )
    z, sides = inputs[0], (output[1], output[2])
    steps = _towards(sides, (z[1], z[2]), len(channels)) if is_picture(z) else list(stages(*sides, len(channels)))
    root = nn.Sequential(Root(z, (channels[-1], *steps[-1].after)), *[Residual(channels[-1]) for _ in range(blocks)])
    return MultiscaleDecoder(inputs, output, steps, channels, root, statistics, dense)


class Filled(nn.Module):
    """An observation [B, C + 1, H, W] and beside it the picture filled in by `pyramid`, [B, 2 C + 1, H, W], then `net`.

    A convolution sees little but zeros in a sparse picture; the filled one has something to say everywhere.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, m: Tensor, *others: Tensor) -> Tensor:
        return self.net(torch.cat([m, pyramid(m, [])[0][:, :-1]], 1), *others)
