"""Small data of several modalities whose classes are plain to see, and models of them whose laws are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import polyvae as pv
from polyvae.data import Data, Split
from polyvae.model.parts import Head
from polyvae.model.presence import present
from polyvae.model.spec import Modality

CLASSES = 3


def centres(size: int = 4) -> Tensor:
    """The middle of every class, [classes, size]: a one at another place each."""
    return torch.eye(CLASSES, size)


def rows(count: int, seed: int) -> dict[str, Tensor]:
    """Vectors a and b of a class y each, and a picture c with a bright stripe at the height of its class."""
    draws = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (count,), generator=draws)
    found = {name: centres()[y] + 0.05 * torch.randn(count, 4, generator=draws) for name in ("a", "b")}
    picture = 0.1 * torch.rand(count, 1, 9, 9, generator=draws)
    for place in range(3):
        picture[torch.arange(count), 0, 3 * y + place] += 0.8
    return {**found, "c": picture, "y": y}


def triples(train: int = 240, test: int = 90) -> Data:
    """`rows` as data of three modalities."""
    specs = [Modality(name, pv.Spec((4,), levels=None)) for name in ("a", "b")]
    specs.append(Modality("c", pv.Spec((1, 9, 9))))
    spec = pv.Spec(classes=CLASSES, levels=None, modalities=tuple(specs))
    made = [Split(rows(count, seed)) for seed, count in enumerate((train, 30, test))]
    return Data("triples", *made, spec=spec)


class Nearest(nn.Module):
    """q(z | a, b): a narrow law at the mean of what is there of a and b; N(0, I) where neither is."""

    given = ("a", "b", present("a"), present("b"))

    def __init__(self, heedless: bool = False) -> None:
        super().__init__()
        self.heedless = heedless  # of the flags

    def forward(self, values: pv.Values) -> Independent:
        there = torch.stack([values[present(name)] for name in ("a", "b")], 1).float().unsqueeze(2)
        there = torch.ones_like(there) if self.heedless else there
        both = torch.stack([values["a"], values["b"]], 1)
        count = there.sum(1)
        loc = (both * there).sum(1) / count.clamp(min=1)
        return Independent(Normal(loc, torch.where(count > 0, 0.01, 1.0).expand_as(loc)), 1)


class Same(nn.Module):
    """p(x | z) = N(z, 0.05^2 I)."""

    given = ("z",)

    def forward(self, values: pv.Values) -> Independent:
        return Independent(Normal(values["z"], torch.full_like(values["z"], 0.05)), 1)


class Classes(nn.Module):
    """p(z): narrow normals at the centres of the classes, alike."""

    def forward(self, values: pv.Values) -> torch.distributions.MixtureSameFamily:
        parts = Independent(Normal(centres(), torch.full((CLASSES, 4), 0.05)), 1)
        return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(CLASSES)), parts)


def copying(heedless: bool = False) -> pv.VAE:
    """A model of a and b that copies one into the other through z, drawn near its class."""
    heads = {name: Head(Same(), of=name, where=present(name)) for name in ("a", "b")}
    return pv.VAE(Nearest(heedless), Classes(), heads)
