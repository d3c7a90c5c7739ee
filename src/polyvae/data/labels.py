"""Labels that are hidden on purpose, to learn from few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from polyvae.data.columns.labels import KNOWN
from polyvae.data.cuts import permutation
from polyvae.data.memory_maps import having
from polyvae.data.whole import Cut, Whole


def balanced(labels: Tensor, count: int, seed: int) -> Tensor:
    """Sorted places of `count` of the labels [N], as many of each class as there are, as evenly as possible, seeded."""
    order = permutation(len(labels), seed)
    _, inverse, sizes = torch.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = torch.argsort(inverse, stable=True)
    rank = torch.empty(len(order), dtype=torch.int64)
    rank[by_class] = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[inverse[by_class]]
    # One of every class, then a second: the classes in a seeded order, since the last round may not reach all.
    first = permutation(len(sizes), seed)[inverse]
    return order[torch.argsort(rank * len(sizes) + first)[:count]].sort().values


def few_labels(whole: Whole, cuts: Mapping[str, Cut], count: int, seed: int) -> Whole:
    """The whole with the labels of `count` training examples, the same number of each class; the others are hidden.

    So are those of the validation part, which would choose the model. Those of the test part stay. A hidden label is
    overwritten. ValueError for data without classes, or fewer labels than classes or more than there are.
    """
    classes = whole.spec.classes
    if classes is None:
        raise ValueError(f"labels: so many of them are kept, and {whole.name} has none; name their column with label")
    parts = dict(whole.parts)
    keep: dict[str, Tensor] = {}
    for part in ("train", "validation"):
        origin, index = cuts[part]
        y = parts[origin]["y"]
        index = torch.arange(len(y)) if index is None else index
        before = parts[origin].get(KNOWN, torch.ones(len(y), dtype=torch.bool))
        found = keep.setdefault(origin, before.clone())
        found[index] = False
        if part == "train":
            index = index[before[index]]
            if not classes <= count <= len(index):
                raise ValueError(
                    f"labels: at least one for each of the {classes:,} classes, at most the {len(index):,} of the "
                    f"training part; got {count:,}"
                )
            found[index[balanced(y[index], count, seed)]] = True
    for origin in {origin for origin, _ in cuts.values()}:
        y = parts[origin]["y"]
        known = keep.get(origin, parts[origin].get(KNOWN, torch.ones(len(y), dtype=torch.bool)))
        parts[origin] = having(parts[origin], {"y": torch.where(known, y, 0), KNOWN: known})
    return replace(whole, parts=parts)
