"""Networks of fields that sensors see at fixed places: a linear map of what they tell, and perceptrons for the rest.

Sensors stay where they are, so that only their few values are read, not the picture that holds them. What is fixed is
taken from training examples before the first step, see `recipes.sensed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from polyvae.model.networks.layers import Shape, check_given, checked, checked_widths, is_picture
from polyvae.model.precision import full, full_precision


class FieldReader(nn.Module):
    """What is read of a field of C channels and of an observation of it, as vectors of numbers of the order of one.

    Of (x * mask, mask), C + 1 channels, or of readings and a mask of each, 2 C, the values at the sensors, (value -
    centre) / scale, 0 where one does not work, and for each flag of the mask there whether it does not. Of a whole
    field, C channels, (x - mean) leading. `pixels` [P] of the observation are counted row by row; `centre`, `scale`
    [C P]; `mean` [C H W]; `leading` [C H W, n].
    """

    pixels: Tensor
    centre: Tensor
    scale: Tensor
    mean: Tensor
    leading: Tensor

    def __init__(self, channels: int, pixels: Sequence[int], shapes: Sequence[Shape], leading: int) -> None:
        super().__init__()
        self.channels = channels
        count = channels * len(pixels)
        self.register_buffer("pixels", torch.tensor(pixels), persistent=False)
        self.register_buffer("centre", torch.zeros(count))
        self.register_buffer("scale", torch.ones(count))
        size = next((prod(shape) for shape in shapes if shape[0] == channels), 0)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("leading", torch.randn(size, min(leading, size)) / max(1, size) ** 0.5)

    def size(self, shape: Shape) -> int:
        """How many numbers are read of a picture of this shape; ValueError for one that is none of these."""
        if shape[0] == self.channels:
            return self.leading.shape[1]
        if shape[0] not in (self.channels + 1, 2 * self.channels):
            raise ValueError(
                f"network: sensing reads a field of {self.channels} channels and its observation; "
                f"got a picture of {shape[0]}"
            )
        return shape[0] * len(self.pixels)

    def told(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """The values at the sensors as they are, [B, C P], and for each whether it works, 1 or 0."""
        seen = m.flatten(2)[:, :, self.pixels]
        value, works = seen[:, : self.channels], seen[:, self.channels :]
        return value.flatten(1), works.expand_as(value).flatten(1)

    def standardised(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with values of the order of one, 0 where one does not work."""
        value, works = self.told(m)
        return (value - self.centre) / self.scale * works, works

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor | None]:
        """All that is read, [B, size], and of it the values at the sensors, None where none are read."""
        if picture.shape[1] == self.channels:
            return (picture.flatten(1) - self.mean) @ self.leading, None
        read, works = self.standardised(picture)
        flags = (picture.shape[1] - self.channels) * len(self.pixels)
        return torch.cat([read, 1 - works[:, :flags]], 1), read


class ResidualPerceptron(nn.Module):
    """h = W a, then h + W2 silu(W1 norm(h)) for each width of `hidden`, then a linear layer: [B, a] -> [B, o].

    h is as wide as the first of `hidden`. `zero`: whether it begins at 0.
    """

    def __init__(self, reads: int, makes: int, hidden: Sequence[int], zero: bool) -> None:
        super().__init__()
        wide = hidden[0]
        self.first = nn.Linear(reads, wide)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, width), nn.SiLU(), nn.Linear(width, wide))
            for width in hidden
        )
        self.last = nn.Linear(wide, makes)
        if zero:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, a: Tensor) -> Tensor:
        h = self.first(a)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


class Sensing(nn.Module):
    """A residual perceptron of vectors and of what `FieldReader` reads of pictures: [B, *input] ... -> [B, *output]."""

    def __init__(
        self, inputs: Sequence[Shape], output: Shape, readings: FieldReader, hidden: Sequence[int], makes: int
    ) -> None:
        super().__init__()
        self.inputs, self.output, self.readings = tuple(inputs), tuple(output), readings
        sizes = [readings.size(shape) if is_picture(shape) else prod(shape) for shape in inputs]
        self.perceptron = ResidualPerceptron(sum(sizes), makes, hidden, zero=is_picture(output))

    def forward(self, *tensors: Tensor) -> Tensor:
        check_given(tensors, self.inputs)
        # Fields are told to five digits and more: half precision has three.
        with full_precision(tensors[0].device):
            found, read = [], None
            for tensor in map(full, tensors):
                if tensor.ndim == 2:
                    found.append(tensor)
                else:
                    told, here = self.readings(tensor)
                    found.append(told)
                    read = here if here is not None else read
            return self._made(self.perceptron(torch.cat(found, 1)), read).unflatten(1, self.output)

    def _made(self, made: Tensor, read: Tensor | None) -> Tensor:
        return made


class SensingDecoder(Sensing):
    """mean + (read linear + units perceptron) axes: [B, *input] ... -> [B, C, H, W].

    `axes` [R, C H W]; `linear` [C P, R], of the values at the sensors where these are read; `units` [R], of what it
    leaves. `base` [C H W]: the mean.
    """

    base: Tensor
    axes: Tensor
    linear: Tensor
    units: Tensor

    def __init__(
        self, inputs: Sequence[Shape], output: Shape, readings: FieldReader, hidden: Sequence[int], modes: int
    ) -> None:
        size = prod(output)
        count = min(modes, size)
        super().__init__(inputs, output, readings, hidden, count)
        self.register_buffer("base", torch.zeros(size))
        self.register_buffer("axes", torch.randn(count, size) / count**0.5)
        self.register_buffer("linear", torch.zeros(len(readings.centre), count))
        self.register_buffer("units", torch.ones(count))

    def _made(self, made: Tensor, read: Tensor | None) -> Tensor:
        made = self.units * made
        return torch.addmm(self.base, made if read is None else made + read @ self.linear, self.axes)


def sensing(
    inputs: Sequence[Shape],
    output: Shape,
    channels: int,
    pixels: Sequence[int],
    hidden: Sequence[int] = (256, 256, 256),
    leading: int = 30,
    modes: int = 150,
) -> Sensing:
    """Build a decoder when `output` is a picture, else an encoder of what sensors at `pixels` of a field tell.

    Inputs are vectors, the field of so many `channels`, and an observation of it, (x * mask, mask) or readings and
    which of them work, whose places `pixels` are those of sensors. A residual perceptron with one block for each of
    `hidden` reads the vectors, the values at the sensors and the `leading` components of a whole field. A decoder
    writes in `modes` principal axes, which are random before a run has set them. ValueError for other pictures.
    """
    inputs, output = checked(inputs, output)
    hidden = checked_widths("hidden", hidden)
    readings = FieldReader(channels, pixels, [shape for shape in inputs if is_picture(shape)], leading)
    if not is_picture(output):
        return Sensing(inputs, output, readings, hidden, prod(output))
    if output[0] != channels:
        raise ValueError(
            f"network: sensing says one number for every place and channel, {channels} channels; the likelihood asks "
            f"for {output[0]}: take one whose scale is none of the network's, as normal-places"
        )
    return SensingDecoder(inputs, output, readings, hidden, modes)
