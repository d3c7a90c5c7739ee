"""What the picture networks share: the rule of sides, flattening, memory layout, and the two shells around a stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import gcd, prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
Builder = Callable[[Sequence[Shape], Shape], nn.Module]


def is_picture(shape: Shape) -> bool:
    """Whether a shape is that of a picture, (channels, height, width)."""
    return len(shape) == 3


def checked(inputs: Sequence[Shape], output: Shape) -> tuple[tuple[Shape, ...], Shape]:
    """Return the shapes as tuples of integers; ValueError without inputs or with a side below 1."""
    shapes = tuple(tuple(int(side) for side in shape) for shape in inputs)
    output = tuple(int(side) for side in output)
    if not shapes:
        raise ValueError("a network needs at least one input; got none")
    for shape in (*shapes, output):
        if any(side < 1 for side in shape):
            raise ValueError(f"every side of a shape is at least 1; got inputs {list(shapes)} and output {output}")
    return shapes, output


def checked_widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    """Return the widths of a stack as a tuple; ValueError when empty or below 1."""
    widths = tuple(int(width) for width in widths)
    if not widths or min(widths) < 1:
        raise ValueError(f"{name} is one width a layer, each at least 1; got {widths}")
    return widths


def _group_norm(channels: int) -> nn.GroupNorm:
    # Groups of eight channels or more: where maps shrink to a pixel, a group of one would be normalised to nothing.
    return nn.GroupNorm(gcd(channels, max(1, channels // 8)), channels)


NORMS: Mapping[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "group": _group_norm}


def activated(channels: int, norm: str) -> list[nn.Module]:
    """A normalisation and LeakyReLU; in place, since neither layer's gradient needs what is overwritten.

    "batch": by the statistics of a batch in training and by running ones in evaluation. "group": each example by
    itself, the same in both (Wu, He: Group Normalization, 2018).
    """
    return [NORMS[norm](channels), nn.LeakyReLU(inplace=True)]


class Stage(NamedTuple):
    """One step of a stack: `before` and `after` are (height, width) at the encoder's side of it and at the code's."""

    before: tuple[int, int]
    after: tuple[int, int]
    stride: tuple[int, int]

    @property
    def output_padding(self) -> tuple[int, int]:
        """What a 3x3 transposed convolution must add to return from `after` to exactly `before`."""
        height, width = (int(step == 2 and side % 2 == 0) for step, side in zip(self.stride, self.before, strict=True))
        return height, width

    @property
    def still(self) -> Stage:
        """The stage that stays at this one's code side."""
        return Stage(self.after, self.after, (1, 1))


def stages(height: int, width: int, count: int) -> Iterator[Stage]:
    """Yield the stages of a stack over a picture: stride 2 while a side is even else 1, each axis by itself.

    28 -> 14 -> 7 -> 7 -> 7; 32 -> 16 -> 8 -> 4 -> 2. Odd sides above 16 are halved too, rounding up (89 -> 45 -> 23 ->
    12 -> 6), or a large odd picture would keep its full size to the last, widest layer.
    """
    sides = (height, width)
    for _ in range(count):
        steps = tuple(2 if side % 2 == 0 or side > 16 else 1 for side in sides)
        after = tuple(-(-side // step) for side, step in zip(sides, steps, strict=True))
        yield Stage(sides, after, steps)  # pyright: ignore[reportArgumentType]
        sides = after


def join(tensors: Sequence[Tensor], shapes: Sequence[Shape]) -> Tensor:
    """Flatten the tensors and concatenate them: [B, *shape] each -> [B, sum of sizes]."""
    flat = [tensor.reshape(tensor.shape[0], prod(shape)) for tensor, shape in zip(tensors, shapes, strict=True)]
    return flat[0] if len(flat) == 1 else torch.cat(flat, 1)


def check_given(tensors: Sequence[Tensor], shapes: Sequence[Shape]) -> None:
    """ValueError unless the tensors have the shapes that the network was built for."""
    given = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
    if given != tuple(shapes):
        raise ValueError(f"the network reads values of shapes {list(shapes)} after the batch; got {list(given)}")


@torch.no_grad()
def set_buffers(module: nn.Module, **values: Tensor) -> None:
    """Sets buffers of these names, each as far as the value reaches, the rest zero."""
    for name, value in values.items():
        held = module.get_buffer(name)
        held.zero_()
        held[tuple(slice(side) for side in value.shape)] = value.to(held)


def to_rows(maps: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H W C], channels innermost: a free view in channels-last layout, a copy otherwise."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def to_maps(rows: Tensor, shape: Shape) -> Tensor:
    """[B, H W C] -> [B, C, H, W] in channels-last layout, always a view.

    A tensor of one channel counts as contiguous in both layouts, so `contiguous(memory_format=...)` leaves it as it is,
    and its strides then tell the next convolution "not channels last". Built this way the strides are unambiguous.
    """
    channels, height, width = shape
    return rows.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)


class Stacked(nn.Module):
    """The first `count` inputs, or all, joined along dimension 1, then `net`, which reads them as one.

    Channels of pictures or columns of tables; a vector beside maps stands at each of their places. A bare `conv` would
    flatten a second picture into its last layer.
    """

    def __init__(self, net: nn.Module, count: int | None = None) -> None:
        super().__init__()
        self.net = net
        self.count = count

    @property
    def shared(self) -> tuple[int, ...]:
        return tuple(place + self.count - 1 for place in getattr(self.net, "shared", ()) if place > 0 and self.count)

    @classmethod
    def over(cls, shapes: Sequence[Shape], build: Callable[[Shape], nn.Module]) -> nn.Module:
        """What `build` makes of values of these shapes joined, or of the only one, as it is."""
        first, *others = shapes
        channels = (shape[0] if len(shape) == len(first) else prod(shape) for shape in shapes)
        net = build((sum(channels), *first[1:]))
        return cls(net, len(shapes)) if others else net

    def forward(self, *tensors: Tensor) -> Tensor:
        first, *others = tensors[: self.count]
        places = first.shape[2:]
        wide = [each if each.ndim == first.ndim else each.view(*each.shape, *[1] * len(places)) for each in others]
        joined = torch.cat([first, *(each.expand(-1, -1, *places) for each in wide)], 1)
        return self.net(joined, *(() if self.count is None else tensors[self.count :]))


class Met(nn.Module):
    """The first `count` inputs, vectors, joined, and the others, pictures of one size, joined with a channel of ones.

    `net` is called with both: a decoder that meets the pictures as it would an observation in which all is seen.
    """

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__()
        self.net = net
        self.count = count

    def forward(self, *tensors: Tensor) -> Tensor:
        maps = tensors[self.count :]
        vectors = torch.cat([each.flatten(1) for each in tensors[: self.count]], 1)
        return self.net(vectors, torch.cat([*maps, torch.ones_like(maps[0][:, :1])], 1))


class Stack(nn.Sequential):
    """A sequence of picture layers that runs in the memory layout of its weights, whatever the layout of its input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        telling = (name for name, layer in self.named_modules() if any(map(_tells, layer.parameters(recurse=False))))
        self.telling = next(telling, None)

    @property
    def channels_last(self) -> bool:
        """Whether the weights were converted by `.to(memory_format=torch.channels_last)`."""
        if self.telling is None:
            return False
        # what the layer holds, and not its weight, which a parametrisation such as a spectral norm computes when asked
        return not next(filter(_tells, self.get_submodule(self.telling).parameters())).is_contiguous()

    def forward(self, input: Tensor) -> Tensor:
        if self.channels_last:
            return super().forward(to_maps(to_rows(input), tuple(input.shape[1:])))
        return super().forward(input.contiguous())


def _tells(parameter: nn.Parameter) -> bool:
    """Whether its layout can be seen: a weight of one channel or of one pixel looks the same in both."""
    return parameter.ndim == 4 and parameter.shape[1] > 1 and parameter.shape[2] * parameter.shape[3] > 1


class LastConvolution(nn.Conv2d):
    """A 3x3 convolution to the few channels of a picture, the size kept.

    It is computed as the transposed convolution with the kernel turned round, the same sum: on CPUs its forward and
    backward pass together then take 6.3 ms instead of 10.2 ms (32 maps of 32x32, batch 128, two cores).
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        if not input.is_cpu:
            return super().forward(input)
        turned = self.weight.flip(2, 3).transpose(0, 1)
        return nn.functional.conv_transpose2d(input, turned, self.bias, padding=1)


class PictureEncoder(nn.Module):
    """A stack over the first picture among the inputs; its flattened maps, the other inputs, one linear layer.

    [B, C, H, W] and [B, *other] ... -> [B, *output]. `code` is the shape (channels, height, width) the stack ends with.
    """

    def __init__(self, inputs: Sequence[Shape], output: Shape, stack: Stack, code: Shape) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.output = output
        self.picture = next(index for index, shape in enumerate(inputs) if is_picture(shape))
        self.joined = ((prod(code),), *self.inputs[: self.picture], *self.inputs[self.picture + 1 :])
        self.stack = stack
        self.linear = nn.Linear(sum(map(prod, self.joined)), prod(output))

    def forward(self, *tensors: Tensor) -> Tensor:
        check_given(tensors, self.inputs)
        rest = list(tensors)
        rows = to_rows(self.stack(rest.pop(self.picture)))
        return self.linear(join([rows, *rest], self.joined)).unflatten(1, self.output)


class PictureDecoder(nn.Module):
    """The inputs flattened and concatenated, one linear layer, and a stack that ends in the picture.

    [B, *input] ... -> [B, C, H, W]. `code` is the shape (channels, height, width) the stack begins with.
    """

    def __init__(self, inputs: Sequence[Shape], stack: nn.Module, code: Shape) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.code = code
        self.linear = nn.Linear(sum(map(prod, self.inputs)), prod(code))
        self.stack = stack

    def forward(self, *tensors: Tensor) -> Tensor:
        check_given(tensors, self.inputs)
        maps = to_maps(self.linear(join(tensors, self.inputs)), self.code)
        return self.stack(maps).contiguous()
