"""A network that judges pictures or rows: features in a layer of it, and logits, of the whole or of each patch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from polyvae.model.groups import Group
from polyvae.model.networks.layers import Shape, Stack, Stacked, checked, checked_widths, is_picture, join, stages


@dataclass(frozen=True)
class Judging:
    """What a discriminator is made of.

    widths: channels of its convolutions of 3x3, which halve the sides, or of its fully connected layers. layer: whose
    outputs are its features, counted from 1, by default the last. patches: whether each place of the last map has
    logits of its own (Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, 2017).
    spectral: whether every layer is divided by its largest singular value (Miyato, Kataoka, Koyama, Yoshida: Spectral
    Normalization for Generative Adversarial Networks, 2018).
    """

    widths: Sequence[int] = (32, 64, 128)
    layer: int | None = None
    patches: bool = False
    spectral: bool = False


PLAIN, USUAL = Judging(), Group()


class Discriminator(nn.Module):
    """Features [N, F] and logits [N, outputs * places] of x and what is given beside it: x [N, *x], y [N, *y] ...

    Layers have leaky rectifiers and no statistics of a batch, so that no example is judged by the others. What stands
    beside a picture is a map of its own at each place. Its parameters are a group of the optimiser, `optimizer`.
    `prepare`: a layer in front of x. ValueError for a layer that it has not.
    """

    def __init__(
        self,
        inputs: Sequence[Shape],
        outputs: int = 1,
        judging: Judging = PLAIN,
        optimizer: Group = USUAL,
        prepare: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self._made_of = inputs, outputs, judging, optimizer, prepare
        inputs, _ = checked(inputs, (outputs,))
        widths = checked_widths("widths", judging.widths)
        last = len(widths) if judging.layer is None else judging.layer
        if not 1 <= last <= len(widths):
            raise ValueError(f"layer is one of the critic's {len(widths)}, counted from 1; got {judging.layer}")
        self.optimizer = optimizer
        self.prepare = nn.Identity() if prepare is None else prepare
        make = _convolutions if is_picture(inputs[0]) else _connected
        layers, head = make(inputs, widths, outputs, judging.patches)
        if judging.spectral:
            for layer in (*(each[0] for each in layers), head[-1]):
                spectral_norm(layer)
        self.lower = _reading(inputs, [each for layer in layers[:last] for each in layer])
        self.upper = Stack(*[each for layer in layers[last:] for each in layer])
        self.head = head
        # As a run lays it out: one that is loaded then sums in the same order.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor, *beside: Tensor) -> tuple[Tensor, Tensor]:
        features = self.lower(self.prepare(x), *beside)
        return features.flatten(1), self.head(self.upper(features)).flatten(1)

    def __reduce__(self) -> tuple[Any, ...]:
        # torch refuses to pickle a spectral norm: another process builds the same anew.
        return _rebuilt, (self._made_of, self.state_dict(), self.training)


def _rebuilt(made_of: tuple[Any, ...], state: dict[str, Tensor], training: bool) -> Discriminator:
    made = Discriminator(*made_of)
    made.load_state_dict(state, assign=True)
    return made.train(training)


Layers = list[list[nn.Module]]


def _convolutions(inputs: Sequence[Shape], widths: Sequence[int], outputs: int, patches: bool) -> tuple[Layers, Any]:
    (channels, height, width), *others = inputs
    before, layers, sides = channels + sum(map(prod, others)), [], (height, width)
    for stage, after in zip(stages(height, width, len(widths)), widths, strict=True):
        layers.append([nn.Conv2d(before, after, 3, stage.stride, 1), nn.LeakyReLU(0.2)])
        before, sides = after, stage.after
    whole = nn.Sequential(nn.Flatten(), nn.Linear(before * prod(sides), outputs))
    return layers, nn.Sequential(nn.Conv2d(before, outputs, 3, 1, 1)) if patches else whole


def _connected(inputs: Sequence[Shape], widths: Sequence[int], outputs: int, patches: bool) -> tuple[Layers, Any]:
    if patches:
        raise ValueError(f"patches are those of a picture; x has the shape {' x '.join(map(str, inputs[0]))}")
    sizes = pairwise((sum(map(prod, inputs)), *widths))
    layers: Layers = [[nn.Linear(before, after), nn.LeakyReLU(0.2)] for before, after in sizes]
    return layers, nn.Sequential(nn.Linear(widths[-1], outputs))


def _reading(inputs: Sequence[Shape], layers: list[nn.Module]) -> nn.Module:
    """The first layers, which read several values as one."""
    if is_picture(inputs[0]):
        flat = [(prod(shape),) for shape in inputs[1:]]
        return Stacked.over((inputs[0], *flat), lambda shape: Stack(*layers))
    return _Joined(inputs, nn.Sequential(*layers))


class _Joined(nn.Module):
    """The inputs flattened and concatenated, then `net`."""

    def __init__(self, shapes: Sequence[Shape], net: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.shapes = tuple(shapes)
        self.net = net

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.net(join(tensors, self.shapes))
