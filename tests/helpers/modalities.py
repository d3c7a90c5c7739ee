"""Small models of several modalities whose laws are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.model.families.real import DiagonalNormal, Laplace
from polyvae.model.posteriors.experts import Experts
from polyvae.model.presence import present
from polyvae.model.spec import Modality
from polyvae.model.vae import Conditional

NAMES = ("a", "b", "c")


def spec(names: Sequence[str] = NAMES, size: int = 3) -> pv.Spec:
    """A spec of vectors of several sizes under these names."""
    held = (Modality(name, pv.Spec((size + n,), levels=None)) for n, name in enumerate(names))
    return pv.Spec(classes=3, levels=None, modalities=tuple(held))


def batch(names: Sequence[str] = NAMES, rows: int = 8, size: int = 3, seed: int = 0) -> dict[str, Tensor]:
    """Rows that lack modalities in every pattern, NaN where one is missing."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {"y": torch.arange(rows) % 3}
    for n, name in enumerate(names):
        there = torch.arange(rows) >> n & 1 == 0
        x = torch.randn(rows, size + n, generator=generator, dtype=torch.float64)
        found |= {name: torch.where(there[:, None], x, torch.nan), present(name): there}
    return found


def experts(names: Sequence[str] = NAMES, size: int = 3, dimensions: int = 2, law: str = "normal") -> dict[str, Any]:
    """Linear experts of the vectors of `batch`, in double precision."""
    made = {}
    torch.manual_seed(7)
    for n, name in enumerate(names):
        family = DiagonalNormal() if law == "normal" else Laplace("network")
        made[name] = Conditional(nn.Linear(size + n, 2 * dimensions), family, name).double()
    return made


def observed(values: dict[str, Tensor], names: Sequence[str] = NAMES) -> dict[str, Tensor]:
    """The batch as models read it."""
    from polyvae.observe.modalities import Present

    return Present({name: tuple(values[name].shape[1:]) for name in names})(values)


def joined(names: Sequence[str] = NAMES, **options: Any) -> Experts:
    """Experts of the vectors of `batch`."""
    return Experts(experts(names), **options).double()
