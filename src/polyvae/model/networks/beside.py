"""A network of an observation m that speaks by itself, and one of z that adds to what it says, at the picture's scale.

What depends on m alone is then most of a decoder, which is computed once for all draws, and trained by every example
whatever z is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polyvae.model.networks.layers import LastConvolution, Shape, Stage, check_given, checked_widths, is_picture, stages
from polyvae.model.networks.meeting import Meeting
from polyvae.model.networks.sparse import CACHED, Root, layers, looked, looks
from polyvae.model.networks.vq import Maps

CHANNELS = (32, 64, 128, 256)  # of the usual networks
LEAST = 8  # channels of maps made of z, of which there are half as many as of those made of m
MIXED = 16  # channels of what both say


class Alone(nn.Module):
    """m [B, M, H, W] -> a picture's raw numbers and the maps that they are made of, [B, R + channels[0], H, W].

    Convolutions halve m and its `pyramid` and go back beside what was there, as `MultiscaleDecoder` does with z. The
    raw numbers are zero before the first step. `channels` is in the order of scales, from the picture on. `dense`: as
    there.

    Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.
    """

    def __init__(self, m: Shape, numbers: int, channels: Sequence[int] = CHANNELS, dense: int = 0) -> None:
        super().__init__()
        channels = checked_widths("channels", channels)
        if not is_picture(m) or m[0] < 2 + dense:
            raise ValueError(f"an observation of a picture is (C + 1, H, W), after {dense} dense channels; got {m}")
        self.m, self.dense = tuple(m), dense
        self.steps = tuple(stages(m[1], m[2], len(channels)))
        self.looks = nn.ModuleList(looks(m, self.steps, channels, True, dense))
        rises, above, seen = [], 0, m[0] - dense
        for stage, near, far in reversed(list(zip(self.steps, (channels[0], *channels[:-1]), channels, strict=True))):
            up = nn.ConvTranspose2d(above + far + seen, near, 3, stage.stride, 1, stage.output_padding)
            rises.append(Maps(*layers(up, True)))
            above = near
        self.rises = nn.ModuleList(rises)
        self.last = LastConvolution(2 * channels[0] + seen, numbers)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, m: Tensor) -> Tensor:
        check_given((m,), (self.m,))
        first, *others = looked(self.looks, m, self.steps, self.dense)[::-1]
        maps = self.rises[0](first)
        for rise, read in zip(list(self.rises)[1:], others[:-1], strict=True):
            maps = rise(torch.cat([maps, read], 1))
        return torch.cat([self.last(torch.cat([maps, others[-1]], 1)), maps], 1)


class Leading(nn.Module):
    """The first `count` channels of the first value, [B, count, H, W]."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, value: Tensor, *others: Tensor) -> Tensor:
        return value[:, : self.count].contiguous()


class Beside(nn.Module):
    """z [k n, *z] and what `Alone` says of m, [n, R + A, H, W] -> its raw numbers and what z adds, [k n, R, H, W].

    Maps made of z, which is a vector or a map, rise to the picture's sides and meet those made of m there. Of k draws
    of z for each observation all rows for the first stand before those for the second. What comes third is not read.
    """

    shared = (1, 2)

    def __init__(self, z: Shape, alone: Shape, numbers: int, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        channels = [max(LEAST, width // 2) for width in checked_widths("channels", channels)]
        steps: list[Stage] = list(stages(alone[1], alone[2], len(channels)))
        self.inputs, self.numbers = (tuple(z), tuple(alone)), numbers
        self.root = Root(z, (channels[-1], *steps[-1].after))
        rises: list[nn.Module] = []
        for stage, near, far in reversed(list(zip(steps, (channels[0], *channels[:-1]), channels, strict=True))):
            rises += layers(nn.ConvTranspose2d(far, near, 3, stage.stride, 1, stage.output_padding), True)
        self.rises = Maps(*rises)
        self.meeting = Meeting(*layers(nn.Conv2d(channels[0] + alone[0] - numbers, MIXED, 3, padding=1), True))
        self.last = LastConvolution(MIXED, numbers)

    def forward(self, z: Tensor, alone: Tensor, *others: Tensor) -> Tensor:
        check_given((z, alone), self.inputs)
        if len(z) % len(alone):
            raise ValueError(f"z has a row, or as many for each, beside every row of m; got {len(z)} and {len(alone)}")
        raw, maps = alone[:, : self.numbers], self.meeting.other(alone[:, self.numbers :])
        pieces = [self._added(piece, maps) for piece in z.split(self._rows(len(z), alone))]
        added = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        return (added.unflatten(0, (-1, len(raw))) + raw).flatten(0, 1)

    def _added(self, z: Tensor, maps: Tensor) -> Tensor:
        own = self.meeting.own(self.rises(self.root(z)))
        return self.last(self.meeting.joined(own, maps)).contiguous()

    def _rows(self, rows: int, alone: Tensor) -> int:
        """How many rows of z rise together: all, or on a CPU some draws, whose maps stay in its cache."""
        if self.training or not alone.is_cpu:
            return rows
        return len(alone) * max(1, CACHED // alone[:, 0].numel())
