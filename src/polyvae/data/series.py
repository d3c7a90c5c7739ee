"""Series: whether the examples of an array follow each other in time, and how to split them in blocks of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from polyvae.data.cuts import part_size
from polyvae.data.memory_maps import rows_of

ALIKE = 0.25  # of what random rows differ by, below which consecutive ones are clearly alike
FEWEST = 20  # examples, below which chance alone may make neighbours alike
_PAIRS = 256
_VALUES = 2**22  # in all rows that are looked at, but for so large ones that these would be fewer than 32


def series_notes(tensors: Mapping[str, Tensor], where: str) -> tuple[str, ...]:
    """A note if consecutive x [N, ...], which are cut at random, are clearly alike.

    None if examples have classes: these may be sorted by class, and a block would hold out a class as a whole.
    """
    x, y = tensors.get("x"), tensors.get("y")
    if x is None or (y is not None and y.ndim == 1) or likeness(x) >= ALIKE:
        return ()
    return (
        f"{where}: consecutive examples are alike, as in a series, and parts cut at random hold neighbours of what is "
        "trained on; --blocks 15, in Python pv.data.load(..., blocks=15), holds out whole runs of them, and 0 says "
        "that random is meant",
    )


def likeness(x: Tensor) -> float:
    """How much consecutive rows of x [N, ...] differ, beside random ones: about 1 if shuffled, near 0 in a slow series.

        mean over the values j that vary of  E (x[t + 1, j] - x[t, j])^2 / E (x[s, j] - x[r, j])^2

    over at most 256 seeded places t, s and r; 1 for fewer than 20 rows. Source: von Neumann, Distribution of the ratio
    of the mean square successive difference to the variance, 1941.
    """
    if len(x) < FEWEST:
        return 1.0
    pairs = min(len(x) - 1, _PAIRS, max(32, _VALUES // x[0].numel()))
    places = torch.from_numpy(np.random.default_rng(0).choice(len(x) - 1, pairs, replace=False)).sort().values
    index = places.to(x.device)
    rows, following = (rows_of(x, index + shift).flatten(1).double() for shift in (0, 1))
    # Of both: values that seldom differ from zero may do so in one of them alone.
    variance = torch.cat([rows, following]).var(0)
    ratios = ((following - rows).square().mean(0) / (2 * variance))[variance > 0]
    return float(ratios.mean()) if len(ratios) else 1.0


def in_blocks(count: int, blocks: int, parts: Sequence[int | float], seed: int) -> list[Tensor]:
    """Sorted index tensors of the remainder and of each part, cut from `count` consecutive examples in whole blocks.

    The examples are divided into `blocks` runs whose lengths differ by at most one. A part is a share or a number of
    examples and gets the nearest whole number of blocks, at least one unless it is zero. Held-out blocks are spread
    evenly over the series, those of the parts in turn, so that only the ends of a block have neighbours in another
    part. `seed` shifts all of them by that many blocks: seeds up to the distance between two blocks of a part hold out
    different examples. Raises ValueError when no block would remain.
    """
    if not 2 <= blocks <= count:
        raise ValueError(f"blocks lies in 2..{count} (the number of examples); got {blocks}")
    sizes = [_blocks(part_size(count, part), count / blocks) for part in parts]
    if sum(sizes) >= blocks:
        raise ValueError(f"cannot hold out parts of {sizes} blocks from {blocks}: nothing remains to train on")
    runs = torch.tensor_split(torch.arange(count), blocks)
    owner = [0] * blocks
    for place, part in zip(_spread(sum(sizes), blocks), _in_turn(sizes), strict=True):
        owner[(place + seed) % blocks] = part + 1
    return [_joined([run for run, of in zip(runs, owner, strict=True) if of == part]) for part in range(len(parts) + 1)]


def block_fold(index: Tensor, count: int, blocks: int, folds: int, fold: int) -> tuple[Tensor, Tensor]:
    """Sorted (rest, fold): the blocks in `index` [N], of the `blocks` of `count` examples, dealt out to folds in turn.

    `index` holds whole blocks, as `in_blocks` returns them. Raises ValueError for fewer blocks than folds.
    """
    left = torch.isin(torch.arange(count), index)
    runs = [run for run in torch.tensor_split(torch.arange(count), blocks) if left[run[0]]]
    if not 2 <= folds <= len(runs):
        raise ValueError(f"folds: {len(runs)} at most, as many as blocks are left beside the test part; got {folds}")
    if not 0 <= fold < folds:
        raise ValueError(f"fold lies in 0..{folds - 1}; got {fold}")
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for number, run in enumerate(runs):
        parts[number % folds == fold].append(run)
    return _joined(parts[0]), _joined(parts[1])


def _blocks(examples: int, length: float) -> int:
    return max(1, round(examples / length)) if examples else 0


def _spread(held: int, blocks: int) -> list[int]:
    """So many numbers of 0..blocks-1, evenly spaced."""
    return [(2 * k + 1) * blocks // (2 * held) for k in range(held)]


def _in_turn(sizes: Sequence[int]) -> list[int]:
    """Every part's number, as often as its size says, evenly mixed."""
    keyed = [((2 * k + 1) / size, part) for part, size in enumerate(sizes) for k in range(size)]
    return [part for _, part in sorted(keyed)]


def _joined(runs: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(runs)) if runs else torch.empty(0, dtype=torch.int64)
