"""A convolution over two sets of maps, one of which stands for many rows of the other."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from polyvae.model.networks.vq import Maps, in_layout


class Meeting(Maps):
    """Picture layers, a convolution L first, over maps a [k n, A, h, w] joined with b [n, B, h, w], each for k rows.

    L(a, b) = L_a a + L_b b: what b says is computed once. In evaluation, BatchNorm is a factor and a sum, the factor
    multiplied into L_a.
    """

    def forward(self, maps: Tensor, others: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.joined(self.own(maps), self.other(others))

    def own(self, maps: Tensor) -> Tensor:
        """What a says, [k n, ...]."""
        first, norm = self._first, self._settled
        weight = first.weight.narrow(self._inputs, 0, maps.shape[1])
        if norm is not None:
            assert norm.running_var is not None
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            weight = weight * scale.view(-1, *[1] * (2 + self._inputs))  # of either layer, along the other dimension
        bias = {} if first.bias is None else {"bias": torch.zeros_like(first.bias)}
        return functional_call(first, {"weight": weight, **bias}, (in_layout(maps),))

    def other(self, maps: Tensor) -> Tensor:
        """What b says, [n, ...]."""
        first, norm = self._first, self._settled
        weight = first.weight.narrow(self._inputs, first.in_channels - maps.shape[1], maps.shape[1])
        made = functional_call(first, {"weight": weight}, (in_layout(maps),))
        return made if norm is None else norm(made)

    def joined(self, own: Tensor, other: Tensor) -> Tensor:
        """What both say, [k n, ...]; the first is overwritten."""
        maps = own.unflatten(0, (-1, len(other))).add_(other).flatten(0, 1)
        for layer in list(self)[1 if self._settled is None else 2 :]:
            maps = layer(maps)
        return maps

    @property
    def _first(self) -> nn.Conv2d | nn.ConvTranspose2d:
        return cast(Any, self[0])

    @property
    def _inputs(self) -> int:
        """The dimension of the first layer's weight that runs over what it reads."""
        return 0 if isinstance(self._first, nn.ConvTranspose2d) else 1

    @property
    def _settled(self) -> nn.BatchNorm2d | None:
        """The BatchNorm, where it does not depend on the batch."""
        norm = self[1] if len(self) > 1 else None
        return norm if isinstance(norm, nn.BatchNorm2d) and not norm.training else None
