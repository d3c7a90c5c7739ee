"""Networks that read an observation m = (x * mask, mask) beside other values: to a vector, or to a map."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.model.networks.layers import Builder, Shape, is_picture, join
from polyvae.model.networks.mlp import mlp
from polyvae.model.networks.sparse import Filled
from polyvae.model.networks.vq import MapNetwork, Maps, Residual, halvings

BLOCKS = 2  # residual ones, at each scale of a map


class ToVector(nn.Module):
    """`build`'s network of m, of a picture filled in from what is seen, and of all `others` as one vector beside it.

    m [B, *m], others of any number type and shape -> [B, size].
    """

    def __init__(self, m: Shape, others: Sequence[Shape], size: int, build: Builder) -> None:
        super().__init__()
        self.others = tuple(others)
        beside = [(sum(map(prod, others)),)] if others else []
        wide = (2 * m[0] - 1, *m[1:]) if is_picture(m) else m
        net = build([wide, *beside], (size,))
        self.net = Filled(net) if is_picture(m) else net

    def forward(self, m: Tensor, *others: Tensor) -> Tensor:
        return self.net(m, *([join([each.to(m) for each in others], self.others)] if others else []))


class ToMap(nn.Module):
    """Maps [B, channels, H, W] of m, of a picture filled in from what is seen, of maps and of vectors beside it.

    Strided convolutions halve m until its sides are those of the map, or one step above; then, as for a map above,
    come residual blocks, and each place takes what lies over it. A vector, and the m of a table, stand at every place
    alike or have a perceptron. Nothing is causal: all of it is known. `size`: so many channels at last, by a 1x1
    convolution, in the place of `channels`.
    """

    def __init__(
        self, m: Shape, others: Sequence[Shape], shape: tuple[int, int], channels: int, size: int | None = None
    ) -> None:
        super().__init__()
        self.shape, self.channels = shape, channels
        self.maps = tuple(place for place, each in enumerate(others) if len(each) > 1)
        self.vectors = tuple(place for place, each in enumerate(others) if len(each) < 2)
        self.m = _of_picture(m, shape, channels) if is_picture(m) else mlp((m,), (channels, *shape))
        self.above = nn.ModuleList(_halving(_as_map(others[place]), 0, channels) for place in self.maps)
        sizes = [prod(others[place]) for place in self.vectors]
        self.vector = nn.Linear(sum(sizes), channels, bias=False) if sizes else None
        self.last = nn.Identity() if size is None else nn.Conv2d(channels, size, 1)

    def forward(self, m: Tensor, *others: Tensor) -> Tensor:
        maps = [others[place].to(m) for place in self.maps]
        maps = [each.unsqueeze(2) if each.ndim == 3 else each for each in maps]
        seen = [self.m(m), *(net(each) for net, each in zip(self.above, maps, strict=True))]
        total = torch.stack([F.interpolate(each, self.shape, mode="nearest") for each in seen]).sum(0)
        if self.vector is not None:
            vector = torch.cat([others[place].to(m).flatten(1) for place in self.vectors], 1)
            total = total + self.vector(vector)[:, :, None, None]
        return self.last(total)


def _as_map(shape: Shape) -> Shape:
    return shape if is_picture(shape) else (shape[0], 1, shape[1])


def _of_picture(m: Shape, shape: tuple[int, int], channels: int) -> nn.Module:
    steps = 0
    while m[1] >> (steps + 1) >= shape[0] and m[2] >> (steps + 1) >= shape[1] and steps < 16:
        steps += 1
    return Filled(_halving((2 * m[0] - 1, *m[1:]), steps, channels))


def _halving(shape: Shape, steps: int, channels: int) -> nn.Module:
    """`steps` strided convolutions, or one that leaves the sides as they are, and residual blocks."""
    layers: list[nn.Module] = []
    before = shape[0]
    for stage in halvings(shape[1], shape[2], steps):
        layers += [nn.Conv2d(before, channels, 3, stage.stride, 1), nn.LeakyReLU(inplace=True)]
        before = channels
    layers = layers or [nn.Conv2d(before, channels, 3, padding=1)]
    blocks = [Residual(channels) for _ in range(BLOCKS)]
    return MapNetwork(shape, Maps(*layers, *blocks, nn.LeakyReLU(inplace=True)))
