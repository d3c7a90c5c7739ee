"""Networks between a field and a vector by way of principal components: linear maps, and perceptrons for the rest.

Fields of one flow lie near a few components, and what one field says of another is nearly linear. Both maps are fixed
before training, from the training examples, and a perceptron learns what they leave, in units of what they leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from polyvae.model.networks.layers import Shape, check_given, checked, checked_widths, is_picture, join
from polyvae.model.networks.mlp import mlp
from polyvae.model.precision import full, full_precision

LEADING = 24  # components that a perceptron reads, and directions in which it corrects
FAINT = 0.01  # of a perceptron's last layer: it starts near nothing, and yet learns in all its layers


class _Modes(nn.Module):
    """What both ways share: a fixed linear map of what is read, and a perceptron that is added in given units."""

    def __init__(self, inputs: Sequence[Shape], output: Shape) -> None:
        super().__init__()
        self.inputs, self.output = tuple(inputs), output

    def _perceptron(self, reads: int, makes: int, hidden: Sequence[int]) -> nn.Module:
        net = mlp([(reads,)], (makes,), hidden, nn.SiLU)
        last = net.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            for weights in last.parameters():
                weights.mul_(FAINT)
        return net

    def forward(self, *tensors: Tensor) -> Tensor:
        check_given(tensors, self.inputs)
        # Fields are told to five digits and more: half precision has three.
        with full_precision(tensors[0].device):
            return self._made([full(tensor) for tensor in tensors]).unflatten(1, self.output)

    def _made(self, tensors: list[Tensor]) -> Tensor:
        raise NotImplementedError


class ModesEncoder(_Modes):
    """(x - mean) linear + bias + units perceptron((x - mean) leading, others): [B, C, H, W] ... -> [B, *output].

    `leading` [D, n]: the first components, scaled to variance one; `linear` [D, O]; `bias`, `units` [O].
    """

    mean: Tensor
    leading: Tensor
    linear: Tensor
    bias: Tensor
    units: Tensor

    def __init__(self, inputs: Sequence[Shape], output: Shape, hidden: Sequence[int], leading: int) -> None:
        super().__init__(inputs, output)
        self.picture = next(index for index, shape in enumerate(inputs) if is_picture(shape))
        size, makes = prod(inputs[self.picture]), prod(output)
        self.others = tuple(shape for index, shape in enumerate(inputs) if index != self.picture)
        count = min(leading, size)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("leading", torch.randn(size, count) / size**0.5)
        self.register_buffer("linear", torch.zeros(size, makes))
        self.register_buffer("bias", torch.zeros(makes))
        self.register_buffer("units", torch.ones(makes))
        self.perceptron = self._perceptron(count + sum(map(prod, self.others)), makes, hidden)

    def _made(self, tensors: list[Tensor]) -> Tensor:
        x = tensors.pop(self.picture).flatten(1) - self.mean
        made = self.perceptron(torch.cat([x @ self.leading, *([join(tensors, self.others)] if tensors else [])], 1))
        return x @ self.linear + self.bias + self.units * made


class ModesDecoder(_Modes):
    """mean + z linear + perceptron(z) rest: [B, *input] ... -> [B, C, H, W].

    `linear` [d, D]; `rest` [n, D]: directions in which the perceptron corrects, each as long as it has to.
    """

    mean: Tensor
    linear: Tensor
    rest: Tensor

    def __init__(self, inputs: Sequence[Shape], output: Shape, hidden: Sequence[int], leading: int) -> None:
        super().__init__(inputs, output)
        reads, size = sum(map(prod, inputs)), prod(output)
        count = min(leading, size)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("linear", torch.zeros(reads, size))
        self.register_buffer("rest", torch.randn(count, size) / count**0.5)
        self.perceptron = self._perceptron(reads, count, hidden)

    def _made(self, tensors: list[Tensor]) -> Tensor:
        z = join(tensors, self.inputs)
        # One product, the sum of both: a field is larger than anything else here.
        both = torch.cat([z, self.perceptron(z)], 1)
        return torch.addmm(self.mean, both, torch.cat([self.linear, self.rest]))


def modes(inputs: Sequence[Shape], output: Shape, hidden: Sequence[int] = (64,), leading: int = LEADING) -> nn.Module:
    """Build a decoder when `output` is a picture, else an encoder when an input is one, else a perceptron.

    Encoder: a fixed linear map of the picture less its mean, and a perceptron with one hidden layer for each of
    `hidden` that reads its `leading` principal components and the other inputs. Decoder: mean, a fixed linear map, and
    a perceptron for as many directions. What is fixed is taken from training examples before the first step, see
    `recipes.canonical`; before that the directions are random.
    """
    inputs, output = checked(inputs, output)
    hidden = checked_widths("hidden", hidden)
    if is_picture(output):
        return ModesDecoder(inputs, output, hidden, leading)
    if any(is_picture(shape) for shape in inputs):
        return ModesEncoder(inputs, output, hidden, leading)
    return mlp(inputs, output, hidden)
