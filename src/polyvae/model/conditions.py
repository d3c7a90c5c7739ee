"""Conditions that may be hidden: what a network reads of one, and what it reads in its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from polyvae.model.draw import Values

FLAG = "_known"


def flag(name: str) -> str:
    """The name of the truth values [B] that say in which rows a value is known."""
    return f"{name}{FLAG}"


def dispensable(inputs: Collection[str]) -> list[str]:
    """Those conditions among what a model reads that it has learned to do without: it reads their flags as well."""
    return [name for name in inputs if flag(name) in inputs]


class Shown(nn.Module):
    """A condition y [B, D, *rest] as networks read it, a feature: [B, D + 1, *rest], or what `net` makes of that.

    h = (k y, k), k = 1 where y is known, else 0; in training k = 0 too in a `dropped` share of the rows

    It reads y and, under the name of `flag`, in which rows it is known; elsewhere y may be anything.

    Ho, Salimans: Classifier-Free Diffusion Guidance, 2022.
    """

    def __init__(self, name: str, dropped: float = 0.0, net: nn.Module | None = None) -> None:
        super().__init__()
        self.given = (name, flag(name))
        self.dropped = dropped
        self.net = net

    def forward(self, values: Values) -> Tensor:
        y, known = (values[name] for name in self.given)
        known = known.to(y.dtype)
        if self.training and self.dropped:
            known = known * torch.empty_like(known).bernoulli_(1 - self.dropped)
        known = known.view(-1, *[1] * (y.ndim - 1))
        shown = torch.cat([torch.where(known > 0, y, 0.0), known.expand(-1, 1, *y.shape[2:])], 1)
        return shown if self.net is None else self.net(shown)

    def extra_repr(self) -> str:
        return f"given={self.given}, dropped={self.dropped}"


def hidden(values: Values, features: Mapping[str, nn.Module] | nn.ModuleDict) -> dict[str, Tensor]:
    """The values with every condition hidden that may be, and without the features; empty where none may be."""
    flags = [each.given[1] for each in features.values() if isinstance(each, Shown)]
    bare = {name: value for name, value in values.items() if name not in features}
    return {**bare, **{name: torch.zeros_like(bare[name]) for name in flags if name in bare}} if flags else {}
