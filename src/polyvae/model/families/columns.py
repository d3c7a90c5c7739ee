"""Families for columns of known kinds: each kind its law, in the user's units, whatever the columns' scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import expm1, hypot

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.checks.names import find
from polyvae.model.distributions.columns import Categories, Product, Standardised
from polyvae.model.families.counts import COUNTS
from polyvae.model.families.named import LIKELIHOODS, likelihood
from polyvae.model.families.pixels import Bernoulli
from polyvae.model.families.scales import learned_scale
from polyvae.model.precision import full
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import Family


class ColumnNormal(Family):
    """Normal with loc from the network and one learned scale s_j for every column or channel j.

    s_j = 0.001 + exp(10 a_j), a_j learned, 0 at the start; see `scales.learned_scale`
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.raw_scale = nn.Parameter(torch.zeros(columns))

    def size(self, features: int) -> int:
        return features

    def forward(self, raw: Tensor) -> Distribution:
        loc = full(raw)
        scale = learned_scale(self.raw_scale).view(-1, *[1] * (loc.ndim - 2)).expand_as(loc)
        return Independent(Normal(loc, scale, validate_args=False), loc.ndim - 1, validate_args=False)


class StandardisedFamily(Family):
    """`family` over standardised numbers, as a law over the user's: x = centre + scale y, or its exponential."""

    centre: Tensor
    scale: Tensor

    def __init__(self, family: Family, columns: Sequence[Column], log: bool = False) -> None:
        super().__init__()
        self.family, self.log = family, log
        self.register_buffer("centre", torch.tensor([column.centre for column in columns]), persistent=False)
        self.register_buffer("scale", torch.tensor([column.scale for column in columns]), persistent=False)

    def size(self, features: int) -> int:
        return self.family.size(features)

    def forward(self, raw: Tensor) -> Distribution:
        law = self.family(raw)
        shape = (-1, *[1] * (len(law.event_shape) - 1))
        return Standardised(law, self.centre.view(shape), self.scale.view(shape), self.log)

    def plain(self, x: Tensor) -> Tensor:
        """The numbers that `family` is of, which stand for the user's x [B, *x]."""
        shape = (-1, *[1] * (x.ndim - 2))
        return ((x.log() if self.log else x) - self.centre.view(shape)) / self.scale.view(shape)

    def extra_repr(self) -> str:
        return f"log={self.log}"


class CategoryCodes(Family):
    """Codes of columns of K_j categories each, the raw output the logits of one column after the other."""

    sizes: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        counts = [len(column.labels or ()) for column in columns]
        self.counts = counts
        self.register_buffer("sizes", torch.tensor(counts), persistent=False)

    def size(self, features: int) -> int:
        return sum(self.counts)

    def forward(self, raw: Tensor) -> Distribution:
        logits = nn.utils.rnn.pad_sequence([part.T for part in full(raw).split(self.counts, 1)])
        return Categories(logits.permute(2, 1, 0), self.sizes)


class ColumnFamily(Family):
    """Several families side by side: `parts[k]` makes the law of the columns `places[k]`."""

    def __init__(self, parts: Sequence[Family], places: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.lengths = [len(place) for place in places]
        self.sizes = [part.size(length) for part, length in zip(parts, self.lengths, strict=True)]
        for number, place in enumerate(places):
            self.register_buffer(f"place{number}", torch.tensor(place), persistent=False)

    def size(self, features: int) -> int:
        return sum(self.sizes)

    def forward(self, raw: Tensor) -> Distribution:
        laws = [part(piece) for part, piece in zip(self.parts, raw.split(self.sizes, 1), strict=True)]
        return Product(laws, [self.get_buffer(f"place{number}") for number in range(len(laws))])


def _counts(columns: Sequence[Column], which: str = "negative-binomial") -> Family:
    """The law of that name over counts, started at what the columns' centres and scales stand for, where known."""
    start = [expm1(column.centre) if column.centre > 0 else 1.0 for column in columns]
    return COUNTS[which](start=start, spread=list(map(_spread, columns, start)))


def _spread(column: Column, mean: float) -> float:
    """How far log mu and what a count says of it lie apart; of small counts, whose log(1 + x) hides it, at least 1."""
    return max(column.scale, min(1.0, hypot(column.scale, mean**-0.5)))


# The law of a kind where nothing else is asked for.
DEFAULTS: Mapping[str, Callable[[Sequence[Column]], Family]] = {
    "bits": lambda columns: Bernoulli(),
    "category": CategoryCodes,
    "counts": _counts,
    "positive": lambda columns: StandardisedFamily(ColumnNormal(len(columns)), columns, log=True),
    "real": lambda columns: StandardisedFamily(ColumnNormal(len(columns)), columns),
    "grey": lambda columns: ColumnNormal(len(columns)),
}
# What each law by name is a law of; those of real numbers are laws of what was standardised.
NORMAL = ("normal", "normal-learned", "normal-network", "normal-optimal", "normal-places", "low-rank")
LAWS: Mapping[str, tuple[str, ...]] = {
    "bits": ("bernoulli",),
    "counts": tuple(COUNTS),
    "positive": NORMAL,
    "real": (*NORMAL, "laplace", "student-t", "structured"),
    "category": (),
    "grey": tuple(LIKELIHOODS),
}


def by_kind(spec: Spec) -> Family:
    """The family of x, each kind of its columns by its default law."""
    places = {kind: [n for n, column in enumerate(spec.columns) if column.kind == kind] for kind in spec.kinds}
    parts = [DEFAULTS[kind]([spec.columns[n] for n in place]) for kind, place in places.items()]
    return parts[0] if len(parts) == 1 else ColumnFamily(parts, list(places.values()))


def named(which: str, spec: Spec) -> Family:
    """The likelihood of that name over columns of one kind. Raises ValueError where it is no law of theirs."""
    find(LIKELIHOODS, which, "likelihood")
    check(which, spec)
    if spec.kinds == ("counts",):
        return _counts(spec.columns, which)
    return standardised(likelihood(which, spec.levels, spec.x), spec)


def is_law(which: str, spec: Spec) -> bool:
    """Whether the likelihood of that name is a law of all columns."""
    return all(which in LAWS[kind] for kind in spec.kinds) and len(spec.kinds) == 1


def check(which: str, spec: Spec) -> None:
    """Raises ValueError where the likelihood of that name is no law of the columns."""
    kind, *others = spec.kinds
    if others:
        raise ValueError(
            f"likelihood {which!r} is one law for all columns, and these are {', '.join(spec.kinds)}: take "
            "vae, which gives each kind its own where no likelihood is named"
        )
    if which not in LAWS[kind]:
        known = f"{', '.join(LAWS[kind])} are" if LAWS[kind] else "none by name is"
        raise ValueError(
            f"likelihood {which!r} is no law of {_NUMBERS[kind]}, which the data hold; of these, {known}. "
            "Or say that they are of another kind"
        )


def standardised(family: Family, spec: Spec) -> Family:
    """A family of real numbers as that of the columns' standardised ones; as it is where the columns are not real."""
    real = set(spec.kinds) in ({"real"}, {"positive"})
    return StandardisedFamily(family, spec.columns, spec.kinds == ("positive",)) if real else family


_NUMBERS = {
    "bits": "bits",
    "category": "categories",
    "counts": "counts",
    "positive": "positive numbers",
    "real": "real numbers",
    "grey": "grey levels",
}
