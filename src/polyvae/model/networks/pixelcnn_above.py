"""What a PixelCNN reads of the maps above its own: a condition for each of its positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.model.networks.layers import Shape
from polyvae.model.networks.vq import MapNetwork, Maps, Residual

BLOCKS = 2  # each map is seen three places to every side


class FromAbove(nn.Module):
    """Conditions [B, channels, H, W] of every position of a map of `shape` (H, W), from all of the maps above it.

    Each of those `above`, vectors [B, D, h, w], or [B, D, w] where h is 1, goes through a 3x3 convolution and two
    residual blocks at its own scale and is stretched to H x W, each position taking the place that it lies in; their
    sum and that of a vector y, or of a label, are the conditions. Nothing here is causal: all of those maps is known.

    Razavi, van den Oord, Vinyals: Generating Diverse High-Fidelity Images with VQ-VAE-2, 2019.
    """

    def __init__(
        self, above: Sequence[Shape], shape: tuple[int, int], channels: int, condition: int | None = None
    ) -> None:
        super().__init__()
        self.above, self.shape = tuple(tuple(each) for each in above), shape
        self.nets = nn.ModuleList(_seeing(each, channels) for each in self.above)
        self.vector = None if condition is None else nn.Linear(condition, channels, bias=False)

    def forward(self, *values: Tensor) -> Tensor:
        maps = [each.unsqueeze(2) if each.ndim == 3 else each for each in values[: len(self.above)]]
        seen = [net(each) for net, each in zip(self.nets, maps, strict=True)]
        total = torch.stack([F.interpolate(each, self.shape, mode="nearest") for each in seen]).sum(0)
        if self.vector is None:
            return total
        return total + self.vector(as_vectors(values[-1], self.vector.in_features, total))[:, :, None, None]


def as_vectors(y: Tensor, length: int, like: Tensor) -> Tensor:
    """Integer labels [B] as vectors of a one and zeros, of the type of another tensor; vectors as they are."""
    if y.is_floating_point():
        return y
    zeros = torch.zeros(len(y), length, dtype=like.dtype, device=y.device)
    return zeros.scatter_(1, y[:, None], 1.0)


def _seeing(shape: Shape, channels: int) -> nn.Module:
    blocks = [Residual(channels) for _ in range(BLOCKS)]
    return MapNetwork(shape, Maps(nn.Conv2d(shape[0], channels, 3, padding=1), *blocks, nn.LeakyReLU(inplace=True)))
