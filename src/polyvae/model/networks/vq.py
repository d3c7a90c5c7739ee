"""Networks between a value and a map of vectors: strided convolutions, residual blocks, no statistics of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from polyvae.checks.ranges import at_least
from polyvae.model.networks.layers import (
    PictureDecoder,
    Shape,
    Stacked,
    Stage,
    check_given,
    checked,
    checked_widths,
    is_picture,
    to_maps,
    to_rows,
)
from polyvae.model.networks.mlp import Perceptron, mlp


class Maps(nn.Sequential):
    """Picture layers that run channels last, where convolutions know it, whatever the layout of input and weights.

    A model as it was trained and one that was loaded, whose weights lie differently, then agree to the last bit.
    """

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(in_layout(input))


def in_layout(maps: Tensor) -> Tensor:
    """Maps as `Maps` reads them: channels last, where convolutions know it."""
    return maps.contiguous() if maps.device.type == "mps" else to_maps(to_rows(maps), tuple(maps.shape[1:]))


class Residual(nn.Module):
    """x + F(x), F an activation, a 3x3 convolution, an activation and a 1x1 convolution.

    van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LeakyReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, input: Tensor) -> Tensor:
        return input + self.layers(input)


class MapNetwork(nn.Module):
    """A stack between pictures and maps of vectors, nothing fully connected: [B, *input] -> [B, C, H, W]."""

    def __init__(self, input: Shape, stack: Maps) -> None:
        super().__init__()
        self.input = input
        self.stack = stack

    def forward(self, input: Tensor) -> Tensor:
        check_given((input,), (self.input,))
        return self.stack(input).contiguous()


def halvings(height: int, width: int, count: int) -> Iterator[Stage]:
    """Yield the stages of a stack: stride 2 on each axis that has more than one row, rounding up (28, 14, 7, 4)."""
    sides = (height, width)
    for _ in range(count):
        steps = tuple(2 if side > 1 else 1 for side in sides)
        after = tuple(-(-side // step) for side, step in zip(sides, steps, strict=True))
        yield Stage(sides, after, steps)  # pyright: ignore[reportArgumentType]
        sides = after  # pyright: ignore[reportAssignmentType]


def code_shape(x: Shape, dim: int, widths: Sequence[int]) -> Shape:
    """The shape (D, h, w) of the map that `downsampling` makes of a picture; (D, half the columns) of a table."""
    if not is_picture(x):
        columns = 1
        for side in x:
            columns *= side
        return dim, -(-columns // 2)
    *_, last = halvings(x[1], x[2], len(widths))
    return dim, *last.after


def downsampling(
    x_shape: Shape, dim: int, widths: Sequence[int], blocks: int, beside: Sequence[Shape] = ()
) -> tuple[nn.Module, Shape]:
    """Return the encoder of a value, and of vectors `beside` it, to a map of vectors, and the map's shape.

    Pictures: a 3x3 convolution of stride 2 and a LeakyReLU for each of `widths`, `blocks` residual blocks, a 1x1
    convolution to `dim` channels. No BatchNorm, so that the loss is the same in training and evaluation and for every
    batch size. Anything else: a perceptron with these widths. ValueError for a bad shape, width or count.
    """
    inputs, code = checked((x_shape, *beside), code_shape(x_shape, dim, _checked(widths, blocks)))
    widths = tuple(widths)
    if not is_picture(inputs[0]):
        return mlp(inputs, code, widths), code

    def strided(x: Shape) -> nn.Module:
        return MapNetwork(x, Maps(*_downwards(x, widths, blocks), nn.Conv2d(widths[-1], dim, 1)))

    return Stacked.over(inputs, strided), code


def pyramid(x: Shape, widths: Sequence[int], scales: int) -> list[Shape]:
    """The shapes of the features of a value at so many scales, the finest first, where `downsampling` ends."""
    shapes = [code_shape(x, widths[-1], widths)]
    while len(shapes) < scales:
        last = shapes[-1] if is_picture(x) else shapes[-1][1:]
        shapes.append(code_shape(last, widths[-1], widths[-1:]))
    return shapes


def features(inputs: Sequence[Shape], widths: Sequence[int], blocks: int) -> nn.Module:
    """Return `downsampling` without its last layer: from a value, and what stands beside it, to activated features.

    The strides of pictures are as many as `widths`, their features as wide as the last of these, with residual `blocks`
    after them. Of tables a perceptron, to `pyramid`'s first shape.
    """
    inputs, _ = checked(inputs, ())
    widths = _checked(widths, blocks)
    if not is_picture(inputs[0]):
        return mlp(inputs, pyramid(inputs[0], widths, 1)[0], widths)
    return Stacked.over(inputs, lambda x: MapNetwork(x, Maps(*_downwards(x, widths, blocks))))


def halved(features: Shape) -> nn.Module:
    """Return what takes features to those of half their sides, or of a table's row of half its length."""
    width = features[0]
    if not is_picture(features):
        return mlp((features,), pyramid(features[1:], (width,), 1)[0], (width,))
    return MapNetwork(features, Maps(*_downwards(features, (width,), 0)))


def coded(inputs: Sequence[Shape], dim: int) -> nn.Module:
    """Return what takes features of one scale, joined, to a map of vectors: one 1x1 convolution, or a perceptron."""
    if not is_picture(inputs[0]):
        return mlp(inputs, (dim, *inputs[0][1:]), inputs[0][:1])
    return Stacked.over(inputs, lambda joined: MapNetwork(joined, Maps(nn.Conv2d(joined[0], dim, 1))))


def doubled(inputs: Sequence[Shape], output: Shape) -> nn.Module:
    """Return what takes maps of one scale, joined, to activated features of the next finer one, the mirrored `halved`.

    A 1x1 convolution to the width of `output` and a transposed 3x3 convolution of stride 2.
    """
    width = output[0]
    if not is_picture(output):
        return mlp(inputs, output, (width,))

    def widened(joined: Shape) -> nn.Module:
        first = [nn.Conv2d(joined[0], width, 1), nn.LeakyReLU(inplace=True)]
        return MapNetwork(joined, Maps(*first, *_upwards(output, (width,), 0), nn.LeakyReLU(inplace=True)))

    return Stacked.over(inputs, widened)


def upsampling(code: Shape, output: Shape, widths: Sequence[int], blocks: int) -> nn.Module:
    """Return the decoder of a map of vectors, `downsampling` read backwards; `widths` in the encoder's order.

    A 1x1 convolution, `blocks` residual blocks and a transposed 3x3 convolution of stride 2 for each of `widths`, the
    last into the picture and without activation; nothing is fully connected. A perceptron where `output` is no picture.
    """
    (code,), output = checked((code,), output)
    widths = _checked(widths, blocks)
    if not is_picture(output):
        return _perceptron((code,), output, widths)
    stack = _upwards(output, widths, blocks)
    if code[1:] != (reached := code_shape(output, code[0], widths)[1:]):
        raise ValueError(f"{len(widths)} strides take {output[1:]} to {reached}, the code is {code}")
    return MapNetwork(code, Maps(nn.Conv2d(code[0], widths[-1], 1), nn.LeakyReLU(inplace=True), *stack))


def flat(inputs: Sequence[Shape], output: Shape, widths: Sequence[int], blocks: int) -> nn.Module:
    """Return the decoder that flattens and concatenates its inputs, then one linear layer and `upsampling`'s stack."""
    inputs, output = checked(inputs, output)
    widths = _checked(widths, blocks)
    if not is_picture(output):
        return _perceptron(inputs, output, widths)
    stack = _upwards(output, widths, blocks)
    return PictureDecoder(inputs, Maps(nn.LeakyReLU(inplace=True), *stack), code_shape(output, widths[-1], widths))


def _downwards(x: Shape, widths: tuple[int, ...], blocks: int) -> list[nn.Module]:
    """From a picture to activated maps of the last width."""
    layers: list[nn.Module] = []
    for stage, (before, after) in zip(halvings(x[1], x[2], len(widths)), pairwise((x[0], *widths)), strict=True):
        layers += [nn.Conv2d(before, after, 3, stage.stride, 1), nn.LeakyReLU(inplace=True)]
    return layers + _residuals(widths[-1], blocks)


def _upwards(output: Shape, widths: tuple[int, ...], blocks: int) -> list[nn.Module]:
    """From activated maps of the last width to the picture, which the last layer leaves without activation."""
    channels, height, width = output
    steps = reversed(list(halvings(height, width, len(widths))))
    layers = _residuals(widths[-1], blocks)
    for stage, (before, after) in zip(steps, pairwise((*reversed(widths), channels)), strict=True):
        up = nn.ConvTranspose2d(before, after, 3, stage.stride, 1, stage.output_padding)
        layers += [up, nn.LeakyReLU(inplace=True)]
    return layers[:-1]


def _residuals(channels: int, blocks: int) -> list[nn.Module]:
    layers: list[nn.Module] = [Residual(channels) for _ in range(blocks)]
    return [*layers, nn.LeakyReLU(inplace=True)] if blocks else []


def _perceptron(inputs: Sequence[Shape], output: Shape, widths: tuple[int, ...]) -> Perceptron:
    return mlp(inputs, output, widths[::-1])


def _checked(widths: Sequence[int], blocks: int) -> tuple[int, ...]:
    at_least("blocks", blocks, 0, "the residual blocks")
    return checked_widths("widths", widths)
