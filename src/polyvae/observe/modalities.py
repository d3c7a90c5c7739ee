"""Modalities that may be missing: which rows have them, and the same rows without some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyvae.model.presence import present
from polyvae.model.spec import Spec


@dataclass(frozen=True)
class Present:
    """Say in which rows each modality is there, truth values [B] under the name of `present`: those of the batch, or
    all.

    A modality that the batch lacks is there in no row. Where one is not there, zeros of its `shapes` stand for it.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, specs: Mapping[str, Spec]) -> Present:
        """Of modalities with these specs."""
        return cls({name: spec.x for name, spec in specs.items()})

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        like = next(iter(values.values()), torch.zeros(1))
        made = dict(values)
        for name, shape in self.shapes.items():
            value, there = values.get(name), values.get(present(name))
            if value is None:
                value, there = torch.zeros(len(like), *shape, device=like.device), torch.zeros(len(like)) > 0
            elif there is None:
                there = torch.ones(len(value)) > 0
            else:
                value = torch.where(there.view(-1, *[1] * len(shape)).bool(), value, 0.0)
            made |= {name: value, present(name): there.view(-1).bool().to(like.device)}
        return made


@dataclass(frozen=True)
class Without:
    """Hide modalities in all rows."""

    names: Sequence[str]

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**values, **{present(name): torch.zeros_like(values[present(name)]) for name in self.names}}
