"""Maps drawn from a gated PixelCNN one position after the other, with every activation computed once and kept.

The vertical stack moves a row at a time, for what it says of a row is known when the row above is finished; the
horizontal one a position at a time. Each position then costs some matrix products of one column per map, where running
the network again would cost a whole map.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.checks.ranges import at_least
from polyvae.model.networks.pixelcnn import GatedLayer, GatedPixelCNN

Choose = Callable[[Tensor, int, int], Tensor]  # logits [B, codes] at a row and a column -> the codes there, int64 [B]


def draw(
    net: GatedPixelCNN, count: int, y: Tensor | None = None, temperature: float = 1.0, top_k: int | None = None
) -> Tensor:
    """`count` maps drawn from p(c | y), int64 [count, H, W]; y [count, condition], a map of such vectors, or None.

    `temperature` T: each code is drawn from p^(1/T), rescaled; 0 takes the likeliest. `top_k`: among so many likeliest
    codes only. Noise comes from torch's generator of the device, and nothing waits for the device. ValueError for a
    temperature below 0 or a `top_k` below 1.
    """
    check_sharpness(temperature, top_k)
    kept = net.codes if top_k is None else min(top_k, net.codes)
    width = net.shape[1]
    noise = net.rows.new_empty(0)

    def choose(logits: Tensor, row: int, column: int) -> Tensor:
        nonlocal noise
        if column == 0 and temperature:
            # The largest of logits plus independent Gumbel noise is a draw from their softmax. Of a row in one go.
            noise = logits.new_empty(width, len(logits), kept).exponential_().log_().mul_(-temperature)
        if kept == net.codes:
            return (logits + noise[column] if temperature else logits).argmax(1)
        values, codes = logits.topk(kept, 1)
        best = (values + noise[column] if temperature else values).argmax(1, keepdim=True)
        return codes.gather(1, best).squeeze(1)

    return walk(net, count, choose, y)


def check_sharpness(temperature: float, top_k: int | None) -> None:
    """ValueError for a temperature or a number of codes that nothing can be drawn with."""
    if not 0 <= temperature < inf:
        raise ValueError(f"temperature is at least 0 and finite; got {temperature}")
    if top_k is not None:
        at_least("top_k", top_k, 1, "codes")


def walk(net: GatedPixelCNN, count: int, choose: Choose, y: Tensor | None = None) -> Tensor:
    """`count` maps whose codes `choose` takes, position by position, from the logits given all earlier ones.

    The logits are those of the whole network at maps that hold these codes, in evaluation mode.
    """
    y = net.spread(y)
    height, width = net.shape
    with torch.no_grad(), torch.autocast(net.rows.device.type, enabled=False):
        stacks = Stacks(net, count, y)
        codes = torch.empty(count, height, width, dtype=torch.int64, device=net.rows.device)
        for row in range(height):
            stacks.enter(row)
            for column in range(width):
                chosen = choose(stacks.logits(column), row, column)
                codes[:, row, column] = chosen
                stacks.put(column, chosen)
    return codes


class Stacks:
    """The activations of both stacks for `count` maps that are made position by position.

    `enter` a row, then for each of its columns ask for `logits` and `put` the codes.
    """

    def __init__(self, net: GatedPixelCNN, count: int, y: Tensor | None = None) -> None:
        self.net = net
        width = net.shape[1]
        self.table = net.embedding.weight.detach()
        self.position = (net.rows + net.columns).detach().permute(1, 2, 0)  # [H, W, C]
        self.layers = [Layer(layer, count, width, y) for layer in _layers(net)]
        self.head = [(c.weight.flatten(1).t(), c.bias) for c in net.head if isinstance(c, nn.Conv2d)]
        self.shifts = self.position[0]

    def enter(self, row: int) -> None:
        """The vertical stack for a row, from the rows above it, and its part in every horizontal layer."""
        self.shifts = self.position[row]
        v = None
        for layer in self.layers:
            v = layer.enter(v, row)
            if layer.first:
                v = v + self.shifts

    def logits(self, column: int) -> Tensor:
        """[count, codes]."""
        h = None
        for layer in self.layers:
            h = layer.step(column, self.shifts[column] if h is None else h)
        assert h is not None
        for weight, bias in self.head:
            assert bias is not None
            h = torch.addmm(bias, h.relu(), weight)
        return h

    def put(self, column: int, codes: Tensor) -> None:
        """Takes in the codes [count] of a column; with the last one the row is finished."""
        self.layers[0].put(column, self.table.index_select(0, codes))


class Layer:
    """One layer's kernels as matrices, and what they will read again.

    `above` [count, W, depth * kernel * before] is what the vertical kernel sees at each position of the current row;
    `beside` [count, (reach + W) * before] the horizontal kernel's row so far, zeros to its left.
    """

    def __init__(self, layer: GatedLayer, count: int, width: int, y: Tensor | None) -> None:
        self.first, self.reach, self.width = layer.first, layer.reach, width
        self.depth = layer.vertical.kernel_size[0]
        self.kernel = layer.vertical.kernel_size[1]
        self.channels, self.before = layer.out.in_channels, layer.vertical.in_channels
        # Rows of a kernel from the top down, then what `_windows` puts side by side: channels, then columns.
        self.vertical = layer.vertical.weight.permute(2, 1, 3, 0).flatten(0, 2).contiguous()
        self.horizontal = layer.horizontal.weight[:, :, 0].permute(2, 1, 0).flatten(0, 1).contiguous()
        self.link, self.out = (conv.weight.flatten(1).t().contiguous() for conv in (layer.link, layer.out))
        self.above_bias, self.beside_bias = layer.vertical.bias, layer.horizontal.bias
        self.condition = (None, None)
        if layer.condition is not None and y is not None:
            self.condition = tuple(layer.condition(y).chunk(2, 3))  # [count, H or 1, W or 1, 2 * channels] each
        space = self.vertical.new_zeros
        self.above = space(count, width, self.depth * self.kernel * self.before)
        self.beside = space(count, (self.reach + width) * self.before)
        self.linked = space(count, width, 2 * self.channels)

    def enter(self, v: Tensor | None, row: int) -> Tensor:
        """The vertical stack's next row [count, W, channels] from this one of the layer below; None in the first."""
        if v is not None:
            self._push(v)
        above = _affine(self.above_bias, self.above, self.vertical)
        self.linked = _affine(self.beside_bias, above, self.link)
        of_above, of_beside = self.condition
        if of_above is not None and of_beside is not None:
            row = min(row, of_above.shape[1] - 1)
            above, self.linked = above + of_above[:, row], self.linked + of_beside[:, row]
        return _gate(above)

    def step(self, column: int, h: Tensor) -> Tensor:
        """h' [count, channels] at a column from h there; in the first layer, from what is added to it."""
        if not self.first:
            self._set(column, h)
        end = (column + self.reach + (not self.first)) * self.before
        seen = self.beside[:, column * self.before : end]
        beside = torch.addmm(self.linked[:, column], seen, self.horizontal)
        return torch.addmm(h, _gate(beside), self.out)

    def put(self, column: int, embedded: Tensor) -> None:
        """Takes in what stands at a column of the first layer's row; after the last the row moves up."""
        self._set(column, embedded)
        if column == self.width - 1:
            self._push(self.beside[:, self.reach * self.before :].unflatten(1, (self.width, self.before)))

    def _set(self, column: int, value: Tensor) -> None:
        start = (self.reach + column) * self.before
        self.beside[:, start : start + self.before] = value

    def _push(self, row: Tensor) -> None:
        """A new lowest row [count, W, before] of what the vertical kernel sees; the highest is forgotten."""
        windows = F.pad(row, (0, 0, self.reach, self.reach)).unfold(1, self.kernel, 1).flatten(2)
        self.above = windows if self.depth == 1 else torch.cat([self.above[:, :, windows.shape[2] :], windows], 2)


def _layers(net: GatedPixelCNN) -> list[GatedLayer]:
    return [layer for layer in net.layers if isinstance(layer, GatedLayer)]


def _affine(bias: Tensor | None, rows: Tensor, weight: Tensor) -> Tensor:
    assert bias is not None
    return torch.addmm(bias, rows.flatten(0, 1), weight).unflatten(0, rows.shape[:2])


def _gate(values: Tensor) -> Tensor:
    """In place: the halves of the last dimension as `pixelcnn.gate` joins them."""
    signal, opening = values.chunk(2, -1)
    return signal.tanh_().mul_(opening.sigmoid_())
