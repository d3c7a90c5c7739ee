"""One network of several values, each of which a network of its own reads first."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from polyvae.model.networks.layers import Shape


class Together(nn.Module):
    """[B, *x_1], [B, *x_2] ... -> [B, *output]: what each net makes of its own, joined, ReLU, one linear layer.

    `nets`: one for each input, to `features` numbers.
    """

    def __init__(self, nets: Sequence[nn.Module], features: int, output: Shape) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.output = output
        self.last = nn.Sequential(nn.ReLU(), nn.Linear(features * len(nets), prod(output)))

    def forward(self, *tensors: Tensor) -> Tensor:
        read = [net(tensor) for net, tensor in zip(self.nets, tensors, strict=True)]
        return self.last(torch.cat(read, 1)).unflatten(1, self.output)
