"""The networks of a ladder, scale by scale from the bottom: up from x, down from the top, laws of both, the way out.

Whether of vectors or of maps, a scale has one shape for the values of both paths and one for its latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from polyvae.model.networks.layers import LastConvolution, Shape, Stack, Stacked, Stage, activated, stages
from polyvae.model.networks.mlp import Perceptron, mlp
from polyvae.model.networks.residual import Block

NORM = "group"  # which holds no statistics of a batch, and K draws are normalised each by itself


class Rungs(ABC):
    """Networks of every scale, 0 at the bottom."""

    def __init__(self, widths: Sequence[int], latents: Sequence[int], blocks: int) -> None:
        self.widths, self.latents, self.blocks = tuple(widths), tuple(latents), blocks

    @abstractmethod
    def path(self, scale: int) -> Shape:
        """The shape of what goes up and down at a scale."""

    @abstractmethod
    def latent(self, scale: int) -> Shape:
        """The shape of a latent there."""

    @abstractmethod
    def up(self, inputs: Sequence[Shape], scale: int) -> nn.Module:
        """From x, or from the scale below, to the path of a scale."""

    @abstractmethod
    def down(self, inputs: Sequence[Shape], above: int, scale: int, onto: bool) -> nn.Module:
        """From a latent of the scale `above`, or `onto` the path there, which then is the first input, to a scale."""

    @abstractmethod
    def raw(self, inputs: Sequence[Shape], scale: int, count: int) -> nn.Module:
        """From paths of a scale to `count` numbers for each value of a latent there."""

    @abstractmethod
    def out(self, output: Shape) -> nn.Module:
        """From the path of the bottom to what a likelihood reads."""


class Vectors(Rungs):
    """Perceptrons: `blocks` layers on either path at each step, and a linear map to each law."""

    def __init__(
        self,
        widths: Sequence[int],
        latents: Sequence[int],
        blocks: int = 1,
        activation: Callable[[], nn.Module] = nn.ReLU,
        centred: bool = False,
    ) -> None:
        super().__init__(widths, latents, blocks)
        self.activation, self.centred = activation, centred

    def path(self, scale: int) -> Shape:
        return (self.widths[scale],)

    def latent(self, scale: int) -> Shape:
        return (self.latents[scale],)

    def up(self, inputs: Sequence[Shape], scale: int) -> nn.Module:
        width = self.widths[scale]
        made = mlp(inputs, (width,), (width,) * (self.blocks - 1), self.activation)
        return Perceptron(made.inputs, made.output, made.layers.append(self.activation()))

    def down(self, inputs: Sequence[Shape], above: int, scale: int, onto: bool) -> nn.Module:
        return self.up(inputs, scale)

    def raw(self, inputs: Sequence[Shape], scale: int, count: int) -> nn.Module:
        return mlp(inputs, (count * self.latents[scale],), ())

    def out(self, output: Shape) -> nn.Module:
        return mlp([self.path(0)], output, (), self.activation, self.centred)


class Maps(Rungs):
    """Convolutions over pictures of (height, width), each scale half the one below; `blocks` on either path at a step.

    `residual`: whether a block has a shortcut and two convolutions, or is one alone; before each stands GroupNorm.
    """

    def __init__(
        self,
        widths: Sequence[int],
        latents: Sequence[int],
        sides: tuple[int, int],
        blocks: int = 1,
        residual: bool = True,
    ) -> None:
        super().__init__(widths, latents, blocks)
        self.stages = tuple(stages(*sides, len(self.widths)))
        self.step = Block if residual else _plain

    def path(self, scale: int) -> Shape:
        return (self.widths[scale], *self.stages[scale].after)

    def latent(self, scale: int) -> Shape:
        return (self.latents[scale], *self.stages[scale].after)

    def up(self, inputs: Sequence[Shape], scale: int) -> nn.Module:
        width, stage = self.widths[scale], self.stages[scale]

        def build(shape: Shape) -> nn.Module:
            before = self.widths[scale - 1] if scale else width
            first = [] if scale else [nn.Conv2d(shape[0], width, 3, padding=1)]
            change = self.step(before, width, stage, False, NORM)
            return Stack(*first, change, *self._still(scale, self.blocks - 1))

        return Stacked.over(inputs, build)

    def down(self, inputs: Sequence[Shape], above: int, scale: int, onto: bool) -> nn.Module:
        change = [] if above == scale else [self._step(above, scale)]
        layers = Stack(*change, *self._still(scale, self.blocks - len(change)))
        return Onto(inputs, self.widths[above], onto, layers)

    def raw(self, inputs: Sequence[Shape], scale: int, count: int) -> nn.Module:
        width, target = self.widths[scale], count * self.latents[scale]

        def build(shape: Shape) -> nn.Module:
            mixed = [] if len(inputs) == 1 else [nn.Conv2d(shape[0], width, 3, padding=1, bias=False)]
            normed = [*activated(shape[0], NORM), *mixed, *(activated(width, NORM) if mixed else [])]
            return Stack(*normed, nn.Conv2d(width, target, 1))

        return Stacked.over(inputs, build)

    def out(self, output: Shape) -> nn.Module:
        width, stage = self.widths[0], self.stages[0]
        grown = self.step(width, width, stage, True, NORM)
        return Stack(grown, *activated(width, NORM), LastConvolution(width, output[0]))

    def _step(self, above: int, scale: int) -> nn.Module:
        return self.step(self.widths[above], self.widths[scale], self.stages[above], True, NORM)

    def _still(self, scale: int, count: int) -> list[nn.Module]:
        width, stage = self.widths[scale], self.stages[scale].still
        return [self.step(width, width, stage, False, NORM) for _ in range(count)]


class Onto(nn.Module):
    """layers(h + W [z, ...]), or layers(W [z, ...]) without a path h, W a 1 x 1 convolution; a vector is everywhere."""

    def __init__(self, inputs: Sequence[Shape], width: int, onto: bool, layers: nn.Module) -> None:
        super().__init__()
        self.onto, self.layers = onto, layers
        self.project = Stacked.over(inputs[onto:], lambda shape: nn.Conv2d(shape[0], width, 1))

    def forward(self, *tensors: Tensor) -> Tensor:
        added = self.project(*tensors[self.onto :])
        return self.layers(tensors[0] + added if self.onto else added)


def _plain(before: int, after: int, stage: Stage, up: bool, norm: str) -> nn.Module:
    """The convolution of a block without a shortcut."""
    if up:
        change = nn.ConvTranspose2d(before, after, 3, stage.stride, 1, stage.output_padding, bias=False)
    else:
        change = nn.Conv2d(before, after, 3, stage.stride, 1, bias=False)
    return nn.Sequential(*activated(before, norm), change)
