"""The gated PixelCNN: the probability of a map of codes, one position after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GatedLayer(nn.Module):
    """One layer of the two stacks; what a position may not see lies outside the kernels, so no weight is masked.

    v' = tanh(a) sigmoid(b), (a, b) = V * v;  h' = h + W tanh(c) sigmoid(d), (c, d) = H * h + L (V * v)

    V reaches `kernel` // 2 rows up and as far to both sides, H as far to the left. In the `first` layer (type A) they
    end above the own row and before the own position, and nothing is carried past them; in the others (type B) they
    include both, which by then hold what is above and left. v, h [B, before, H, W] -> [B, channels, H, W]; a condition
    [B, H or 1, W or 1, condition] is added to all four of a, b, c, d.
    """

    def __init__(
        self, before: int, channels: int, kernel: int, first: bool, condition: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.reach = kernel // 2
        self.first = first
        depth = self.reach if first else self.reach + 1
        self.vertical = nn.Conv2d(before, 2 * channels, (depth, kernel))
        self.horizontal = nn.Conv2d(before, 2 * channels, (1, depth))
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.condition = None if condition is None else nn.Linear(condition, 4 * channels, bias=False)
        self.dropout = nn.Dropout(dropout)
        # No bias: the next layer's horizontal kernel has one, and the first layer's place is taken by the position.
        self.out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, v: Tensor, h: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        end = -1 if self.first else 0
        above = self.vertical(F.pad(v, (self.reach, self.reach, self.reach, end)))
        beside = self.horizontal(F.pad(h, (self.reach, end))) + self.link(above)
        if self.condition is not None:
            assert y is not None
            of_above, of_beside = self.condition(y).movedim(-1, 1).chunk(2, 1)
            above, beside = above + of_above, beside + of_beside
        step = self.out(self.dropout(gate(beside)))
        return gate(above), step if self.first else h + step


class GatedPixelCNN(nn.Module):
    """p(c) = prod_i p(c_i | c_1 ... c_(i-1)) over maps of codes, row by row and from left to right.

    `shape` is (height, width), `codes` their number, `kernels` the width of each layer's kernel (odd), the first of
    them that of the layer of type A. Codes are embedded. A `condition` is the length of a vector y that is added within
    every gate; for a one-hot y that is an embedding of its label. y may be a map [B, condition, h, w] instead, of sides
    that divide the map's: each of its vectors goes to the positions that it covers. `dropout` acts on the gates of the
    horizontal stack. A learned row and a learned column tell a position where it is, and which channel where channels
    are interleaved. Integer maps [B, H, W] -> logits [B, H, W, codes]. ValueError for sizes that make no such network.

    van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu: Conditional Image Generation with PixelCNN
    Decoders, 2016.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        codes: int,
        channels: int = 64,
        kernels: Sequence[int] = (7, 3, 3, 3, 3, 3, 3, 3),
        condition: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        height, width = shape
        kernels = tuple(kernels)
        if min(height, width, codes, channels) < 1:
            raise ValueError(f"shape, codes and channels are at least 1; got {shape}, {codes} and {channels}")
        if not kernels or any(kernel < 3 or kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"kernels are one odd number of at least 3 a layer; got {kernels}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a share from 0 up to 1; got {dropout}")
        self.shape, self.codes, self.condition = (height, width), codes, condition
        first = min(codes, channels)  # more would not say more of a code
        self.embedding = nn.Embedding(codes, first)
        self.rows = nn.Parameter(torch.zeros(channels, height, 1))
        self.columns = nn.Parameter(torch.zeros(channels, 1, width))
        self.layers = nn.ModuleList(
            GatedLayer(channels if place else first, channels, kernel, not place, condition, dropout)
            for place, kernel in enumerate(kernels)
        )
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, 2 * channels, 1), nn.ReLU(), nn.Conv2d(2 * channels, codes, 1)
        )

    def forward(self, codes: Tensor, y: Tensor | None = None) -> Tensor:
        return self.logits(self.embedding(codes), y)

    def logits(self, embedded: Tensor, y: Tensor | None = None) -> Tensor:
        """The logits [B, H, W, codes] of maps of embedded codes [B, H, W, E]."""
        y = self.spread(y)
        v = embedded.movedim(-1, 1)  # channels last in memory, which costs nothing here
        h = v = v.contiguous() if v.device.type == "mps" else v
        for layer in self.layers:
            v, h = layer(v, h, y)
            if layer.first:
                position = self.rows + self.columns
                v, h = v + position, h + position
        return self.head(h).movedim(1, -1)

    def spread(self, y: Tensor | None) -> Tensor | None:
        """A condition as the layers read it, [B, 1, 1, condition] or [B, H, W, condition].

        ValueError unless y is [B, condition], a map of such vectors, or None where the network has none.
        """
        given = None if y is None else y.shape[1]
        if given != self.condition:
            raise ValueError(f"the network's condition is a vector of {self.condition} numbers; got {given}")
        if y is None or y.ndim == 2:
            return None if y is None else y[:, None, None]
        height, width = self.shape
        if y.ndim != 4 or height % y.shape[2] or width % y.shape[3]:
            raise ValueError(f"a condition of {list(y.shape[1:])} does not cover a map of {height} x {width} evenly")
        y = y.repeat_interleave(height // y.shape[2], 2).repeat_interleave(width // y.shape[3], 3)
        return y.movedim(1, -1)

    def extra_repr(self) -> str:
        return f"shape={self.shape}, codes={self.codes}, condition={self.condition}"


def gate(maps: Tensor) -> Tensor:
    """tanh of the first half of the channels times the sigmoid of the second."""
    signal, opening = maps.chunk(2, 1)
    return signal.tanh() * opening.sigmoid()
