"""Seeded splits: orders, parts, folds and subsets of examples that are the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from polyvae.data.split import Split

TEST = 0.1  # share that is cut for testing where no test part is official


def permutation(count: int, seed: int) -> Tensor:
    """A seeded order of 0..count-1, int64 [count], the same on every machine and with every version of the libraries.

    It sorts the raw 64-bit words of PCG64, a stream that NumPy promises never to change.
    """
    words = np.random.PCG64(seed).random_raw(count)
    return torch.from_numpy(np.argsort(words, kind="stable").astype(np.int64))


def apart(seed: int) -> int:
    """Another seed, for choices among a user's own rows, whose values may have been drawn with `seed` itself.

    For instance `numpy.random.default_rng(0).random(n)` sorts as `permutation(n, 0)` does: with the same seed, a test
    part would hold the smallest values.
    """
    return int(np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(1)[0])


def shuffled(count: int, seed: int) -> Tensor:
    """A seeded order of examples that may be a user's: a `permutation` with the seed kept `apart`."""
    return permutation(count, apart(seed))


def cut(count: int, parts: Sequence[int | float], seed: int) -> list[Tensor]:
    """Sorted index tensors of the remainder and of each part, split by a seeded permutation of `count` examples.

    A part is a share (float below 1) or a number of examples (int); a share above zero is at least one example. The
    first tensor is the remainder. Raises ValueError when the remainder would be empty.
    """
    sizes = [part_size(count, part) for part in parts]
    if sum(sizes) >= count:
        raise ValueError(f"cannot cut parts of {sizes} examples from {count}: nothing remains to train on")
    order = permutation(count, seed)
    pieces = torch.split(order, [*sizes, count - sum(sizes)])
    return [piece.sort().values for piece in (pieces[-1], *pieces[:-1])]


def three_parts(count: int, validation: int | float, test: int | float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted indices of training, validation and test part, given as shares or numbers of `count`.

    The test part is cut first, so it does not depend on the validation part or fold. Raises ValueError as `cut`.
    """
    pool, tested = cut(count, [test], seed)
    rest, held = cut(len(pool), [part_size(count, validation)], seed)
    return pool[rest], pool[held], tested


def part_size(count: int, part: int | float) -> int:
    """Number of examples in a share (float in [0, 1)) or a number (int) of `count`."""
    if isinstance(part, float) and not 0 <= part < 1:
        raise ValueError(f"a share of the examples lies in [0, 1), a number of them is an int; got {part}")
    if part < 0:
        raise ValueError(f"a part holds at least 0 examples; got {part}")
    return part if isinstance(part, int) else max(1, round(part * count)) if part else 0


def kfold(count: int, folds: int, fold: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sorted indices (rest, fold) of fold `fold` of `folds`, which hold every example once, in sizes within one."""
    if not 2 <= folds <= count:
        raise ValueError(f"folds lies in 2..{count} (the number of examples); got {folds}")
    if not 0 <= fold < folds:
        raise ValueError(f"fold lies in 0..{folds - 1}; got {fold}")
    pieces = torch.tensor_split(permutation(count, seed), folds)
    rest = torch.cat([piece for number, piece in enumerate(pieces) if number != fold])
    return rest.sort().values, pieces[fold].sort().values


def stratified(labels: Tensor, count: int, seed: int) -> Tensor:
    """Sorted indices of `count` examples in which every class keeps its share, by largest remainder, at least one each.

    labels: int64 [N]. If `count` is below the number of classes, the most frequent classes get one each.
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"a subset of {len(labels)} examples holds 0..{len(labels)} of them; got {count}")
    labels = labels.cpu()
    _, inverse, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    quota = sizes.double() * count / len(labels)
    places = quota.floor().long()
    if count >= len(sizes):
        places.clamp_(min=1)
    while (missing := count - int(places.sum())) != 0:
        # The minimum of one may have given away too many places: take them back where the quota is exceeded most.
        step = 1 if missing > 0 else -1
        gap = (quota - places) * step
        gap[(places >= sizes) if missing > 0 else (places <= 1)] = -torch.inf
        places[gap.topk(min(abs(missing), int(gap.isfinite().sum()))).indices] += step
    order = permutation(len(labels), seed)
    # Sorted by class with the seeded order kept inside a class: the rank in its class decides.
    by_class = order[torch.argsort(inverse[order], stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(len(labels)) - starts[inverse[by_class]]
    return by_class[rank < places[inverse[by_class]]].sort().values


def chosen(total: int, labels: Tensor | None, count: int, seed: int) -> Tensor:
    """Sorted indices of `count` of `total` examples, seeded; `stratified` by their labels if there are any."""
    if labels is not None:
        return stratified(labels, count, seed)
    return permutation(total, seed)[:count].sort().values


def subset(split: Split, count: int, seed: int) -> Split:
    """At most `count` examples of a split, seeded; stratified where `y` holds integer labels."""
    if count >= len(split):
        return split
    return split.take(chosen(len(split), split.labels, count, apart(seed)))
