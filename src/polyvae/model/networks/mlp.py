"""Perceptrons: fully connected layers between any shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from polyvae.model.networks.layers import Builder, Shape, check_given, checked, checked_widths, join


class Perceptron(nn.Module):
    """The inputs flattened and concatenated, then fully connected layers: [B, *input] ... -> [B, *output].

    `centred`: whether, where it decodes, its outputs begin around the mean of the data; see `begin_at`.
    """

    def __init__(self, inputs: Sequence[Shape], output: Shape, layers: nn.Sequential, centred: bool = False) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.output = output
        self.layers = layers
        self.centred = centred

    def forward(self, *tensors: Tensor) -> Tensor:
        check_given(tensors, self.inputs)
        flat = join(tensors, self.inputs)
        return self.layers(flat).view(
            flat.shape[0], *self.output
        )  # len() would fix the batch size of an exported model

    @torch.no_grad()
    def begin_at(self, raw: Tensor) -> None:
        """Makes `raw`, [*output], what it returns where the last hidden layer is 0."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        last.bias.copy_(raw.flatten())


def mlp(
    inputs: Sequence[Shape],
    output: Shape,
    hidden: Sequence[int] = (512,),
    activation: Callable[[], nn.Module] = nn.ReLU,
    centred: bool = False,
) -> Perceptron:
    """Build a perceptron from `inputs` to `output` with one hidden layer per entry of `hidden`, in this order.

    `hidden` may be empty: a linear map. `activation` makes a new module for each hidden layer. A decoder that mirrors
    an encoder takes the widths in reverse, see `mirrored`. `centred`: a decoder's outputs begin at the mean of the
    training examples, where the likelihood's family knows how, which that of bits does. Saturating activations want it:
    the quickest way to a mean is else through z, which takes them to where they learn no more, and a learned prior
    follows. ValueError for an empty or non-positive shape or width.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016, have decoders of tanh begin at it.
    """
    inputs, output = checked(inputs, output)
    widths = (sum(map(prod, inputs)), *(checked_widths("hidden", hidden) if hidden else ()))
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return Perceptron(inputs, output, nn.Sequential(*layers, nn.Linear(widths[-1], prod(output))), centred)


def mirrored(build: Builder) -> Builder:
    """Return the builder of the mirrored decoder of an encoder's builder.

    The widths of `partial(mlp, hidden=(500, 200))` are reversed; `conv` and `residual` are given the encoder's channels
    on both sides and mirror by themselves, so they and a user's own builder come back unchanged.
    """
    if isinstance(build, partial) and "hidden" in build.keywords:
        return partial(build, hidden=tuple(reversed(build.keywords["hidden"])))
    return build
