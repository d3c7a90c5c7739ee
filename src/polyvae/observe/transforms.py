"""Batch transforms: functions of the named values of a batch, without parameters, applied on the values' device.

Each returns a new dict and leaves its argument alone. Noise comes from torch's global generator of the device, so that
a seeded run repeats itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from polyvae.checks.names import one_of
from polyvae.checks.ranges import at_least
from polyvae.model.conditions import flag

Transform = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def _threshold(x: Tensor) -> Tensor:
    return (x > 0.5).to(x.dtype)


_BINARISE: dict[str, Callable[[Tensor], Tensor]] = {"threshold": _threshold, "dynamic": torch.bernoulli}


@dataclass(frozen=True)
class Binarise:
    """Make pictures of zeros and ones out of values in [0, 1].

    threshold: 1 where x > 1/2. dynamic: a fresh draw of Bernoulli(x) at every call, so that the expected picture is x.
    Shapes: any; raises ValueError for another mode. Source: Salakhutdinov and Murray, On the quantitative analysis of
    deep belief networks, 2008.
    """

    mode: str = "threshold"
    name: str = "x"

    def __post_init__(self) -> None:
        one_of(_BINARISE, self.mode, "Binarise.mode")

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**values, self.name: _BINARISE[self.mode](values[self.name])}


@dataclass(frozen=True)
class Dequantise:
    """Spread each of `levels` grey levels evenly over its own interval of [0, 1), so that a density fits the data.

    x = k / (levels - 1) becomes (k + u) / levels with u uniform on [0, 1); k is floor(levels x') again. The expected
    log-density of the result, less log(levels) a pixel, bounds the log-probability of k from below. Shapes: any; raises
    ValueError below two levels. Source: Theis, van den Oord and Bethge, A note on the evaluation of generative
    models, 2016.
    """

    levels: int = 256
    name: str = "x"

    def __post_init__(self) -> None:
        at_least("Dequantise.levels", self.levels, 2, "the grey levels")

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x = values[self.name]
        # (k + u) / levels must not round to another level: u keeps from 0 and 1 by a unit in the last place of levels.
        edge = self.levels * torch.finfo(x.dtype).eps
        noisy = (x * (self.levels - 1)).round_() + torch.rand_like(x).mul_(1 - 2 * edge).add_(edge)
        return {**values, self.name: noisy.div_(self.levels)}


@dataclass(frozen=True)
class OneHot:
    """Turn integer labels [B] into vectors [B, classes] of zeros and a one; torch raises for a label out of range.

    Labels that the batch says are not known, under `NAME_known`, may be anything.
    """

    name: str = "y"
    classes: int = 10

    def __post_init__(self) -> None:
        at_least("OneHot.classes", self.classes, 1, "the labels")

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        labels, known = values[self.name], values.get(flag(self.name))
        labels = labels if known is None else torch.where(known.view(-1).bool(), labels, 0)
        # scatter, since torch.nn.functional.one_hot waits for the device to check the range.
        vectors = torch.zeros(len(labels), self.classes, device=labels.device).scatter_(1, labels[:, None], 1.0)
        return {**values, self.name: vectors}


@dataclass(frozen=True)
class Labels:
    """Turn the labels y [B] of a batch into "label", one-hot [B, classes], and "y_known", which of them are known.

    All are, where the batch does not say in "y_known", boolean [B]; a batch without labels is left as it is. y itself,
    which may be anything where it is not known, goes no further.
    """

    classes: int

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rest = {name: value for name, value in values.items() if name != "y"}
        if "y" not in values:
            return rest
        known = values.get(flag("y"), torch.ones_like(values["y"], dtype=torch.bool)).bool()
        held = {"y": values["y"], flag("y"): known}
        return {**rest, "label": OneHot("y", self.classes)(held)["y"], flag("y"): known}


@dataclass(frozen=True)
class Total:
    """Add the total of each example's values, [B, ...] -> [B, 1]: the observed library size of counts.

    A total that is there already, [B] or [B, 1], is kept: of a part of the values it cannot be computed.
    """

    name: str = "x"
    to: str = "library"

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.to in values:
            total = values[self.to].reshape(-1, 1)
            return {**values, self.to: total if total.is_floating_point() else total.float()}
        return {**values, self.to: values[self.name].flatten(1).sum(1, keepdim=True)}


@dataclass(frozen=True)
class Chain:
    """Apply transforms one after the other, each to what the one before returned."""

    transforms: tuple[Transform, ...] = ()

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for transform in self.transforms:
            values = transform(values)
        return dict(values)


def chain(*transforms: Transform | None) -> Chain:
    """One transform out of several, first to last; None and nested chains are taken apart, an empty chain copies."""
    flat: list[Transform] = []
    for transform in transforms:
        if transform is not None:
            flat.extend(transform.transforms if isinstance(transform, Chain) else (transform,))
    return Chain(tuple(flat))
