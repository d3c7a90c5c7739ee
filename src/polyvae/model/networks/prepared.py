"""The layer in front of a network that reads x or an observation of it in the user's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from polyvae.model.draw import Values
from polyvae.model.networks.layers import Stacked
from polyvae.model.networks.mlp import Perceptron
from polyvae.model.precision import full
from polyvae.model.presence import present
from polyvae.model.spec import Column, Spec

Shape = tuple[int, ...]

# The number that stands for x before it is centred and scaled.
_PLAIN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "counts": torch.log1p,
    "positive": lambda x: x.clamp(min=torch.finfo(x.dtype).tiny).log(),
}


class Standardise(nn.Module):
    """x [B, D, *rest] in the user's units -> [B, D', *rest] of the order of one.

    (T(x) - centre) / scale, T the logarithm of positive columns, log(1 + x) of counts; bits and grey levels as they
    are; a category of K labels becomes K columns of zeros and a one, in its place.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.kinds = tuple(column.kind for column in columns)
        self.classes = {n: len(column.labels) for n, column in enumerate(columns) if column.labels is not None}
        for kind in _PLAIN:
            chosen = torch.tensor([column.kind == kind for column in columns])
            self.register_buffer(kind, chosen if chosen.any() else None, persistent=False)
        for name in ("centre", "scale"):
            values = torch.tensor([getattr(column, name) for column in columns])
            self.register_buffer(name, values, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))
        for kind, plain in _PLAIN.items():
            chosen = getattr(self, kind)
            if chosen is not None:
                chosen = chosen.view(shape)
                # Where another kind stands a one is read, whose logarithm and gradient are finite.
                x = torch.where(chosen, plain(torch.where(chosen, x, 1.0)), x)
        x = (x - self.centre.view(shape)) / self.scale.view(shape)
        if not self.classes:
            return x
        parts = [self._coded(n, x[:, n : n + 1]) if n in self.classes else x[:, n : n + 1] for n in range(x.shape[1])]
        return torch.cat(parts, 1)

    def size(self) -> int:
        """D'."""
        return len(self.kinds) + sum(count - 1 for count in self.classes.values())

    def _coded(self, column: int, codes: Tensor) -> Tensor:
        count = self.classes[column]
        labels = torch.arange(count, device=codes.device).view(-1, *[1] * (codes.ndim - 2))
        return (codes.round() == labels).to(codes.dtype)  # unlike one_hot, no wait for the device

    def extra_repr(self) -> str:
        return f"{len(self.kinds)} columns to {self.size()}"


class StandardiseSeen(nn.Module):
    """An observation m = (x * mask, mask) in the user's units -> (standardised x * mask, mask)."""

    source: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self.columns = len(columns)
        self.standardise = Standardise(columns)
        classes = self.standardise.classes
        source = torch.tensor([n for n in range(self.columns) for _ in range(classes.get(n, 1))])
        self.register_buffer("source", source, persistent=False)  # of each number that is read, its column

    def forward(self, m: Tensor) -> Tensor:
        x, mask = m[:, : self.columns], m[:, self.columns :]
        wide = mask.index_select(1, self.source) if self.standardise.classes else mask
        return torch.cat([torch.where(wide > 0, self.standardise(x), 0.0), mask], 1)


class Centre(nn.Module):
    """x [B, *x] -> x less the mean of the training examples, once `start` has seen some; x as it is before.

    `of`: the name of x among the values. What is not `seen`, or is a modality that a row lacks, counts in no mean. A
    weight for each pixel learns faster from numbers around zero; convolutions,
    whose layers are normalised, do without.

    LeCun, Bottou, Orr, Müller: Efficient BackProp, 1998, section 4.3.
    """

    mean: Tensor

    def __init__(self, shape: Shape, of: str = "x") -> None:
        super().__init__()
        self.of = of
        self.register_buffer("mean", torch.zeros(shape))

    @torch.no_grad()
    def start(self, values: Values) -> None:
        """Takes up the mean of these examples."""
        x, seen = full(values[self.of]), values.get("seen", values.get(present(self.of)))
        seen = torch.ones_like(x) if seen is None else seen.to(x)
        seen = seen.view(*seen.shape, *[1] * (x.ndim - seen.ndim))
        self.mean.copy_((x * seen).sum(0) / seen.sum(0).clamp(min=1))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.mean


LAYERS: Mapping[str, Callable[[Sequence[Column]], nn.Module]] = {"x": Standardise, "m": StandardiseSeen}


class Prepared(nn.Module):
    """A network, and in front of it what some of its inputs go through first."""

    def __init__(self, layers: Sequence[nn.Module], net: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.net = net

    @property
    def shared(self) -> tuple[int, ...]:
        return getattr(self.net, "shared", ())

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.net(*[layer(tensor) for layer, tensor in zip(self.layers, tensors, strict=True)])


def prepared(net: nn.Module, spec: Spec, given: Sequence[str], of: str = "x") -> nn.Module:
    """`net`, which was built for `prepared_shape`s, as a reader of the values `given` in the user's units.

    `of`: the name of x in the data, where it is a modality. Bits stay as they are, and so does what a network of
    convolutions reads of a picture.
    """
    if spec.grey and "x" in given and isinstance(net.net if isinstance(net, Stacked) else net, Perceptron):
        return Prepared([Centre(spec.x, of) if name == "x" else nn.Identity() for name in given], net)
    if spec.unit or not spec.columns or not set(given) & set(LAYERS):
        return net
    return Prepared([LAYERS[name](spec.columns) if name in LAYERS else nn.Identity() for name in given], net)


def centring(model: nn.Module) -> list[Centre]:
    """The layers that take off a mean, which a run sets before its first step."""
    return [layer for layer in model.modules() if isinstance(layer, Centre)]


def prepared_shape(spec: Spec) -> Shape:
    """The shape of x as a network reads it: a category takes one place for each of its labels."""
    more = sum(len(column.labels) - 1 for column in spec.columns if column.labels is not None)
    return (spec.x[0] + more, *spec.x[1:])


def prepared_observation(spec: Spec, m: Shape) -> Shape:
    """The shape of an observation `m` as a network reads it."""
    return (m[0] + prepared_shape(spec)[0] - spec.x[0], *m[1:])


__all__ = [
    "Centre",
    "Prepared",
    "Standardise",
    "StandardiseSeen",
    "centring",
    "prepared",
    "prepared_observation",
    "prepared_shape",
]
