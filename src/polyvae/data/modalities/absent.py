"""Modalities that some rows lack: truth values for every modality, chosen at random or found in a user's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from polyvae.data.errors import DataError
from polyvae.data.memory_maps import blanked, having
from polyvae.data.split import Split
from polyvae.model.presence import present


def hidden(there: Tensor, share: float, seed: int) -> Tensor:
    """Truth values [M, n]: each modality of each row hidden with the chance `share`, one at least always left.

    Where all that a row has would be hidden, one of them is left, each as likely. `there`: which modalities the rows
    have, [M, n]. With M modalities a share p of them is hidden on average, less p^M / M.
    """
    draws = np.random.PCG64(seed).random_raw(2 * there.numel()).reshape(2, *there.shape) / 2.0**64
    chance, turn = torch.from_numpy(draws)
    left = there & (chance >= share)
    # A turn of 1 would lose against what is not there: random_raw / 2^64 rounds to 1 once in 2^54.
    spared = torch.where(there, turn, 2.0).argmin(0)
    lost = ~left.any(0) & there.any(0)
    left[spared[lost], lost.nonzero().squeeze(1)] = True
    return left


def flagged(splits: Mapping[str, Split], names: Sequence[str], share: float | None, seed: int) -> dict[str, Split]:
    """The splits with the flag of every modality, and zeros where it is not there; as they are if nothing is missing.

    Of the training part a `share` is hidden as `hidden` does. Raises DataError where a row has no modality at all, or
    no training row has one of them.
    """
    flags = [present(name) for name in names]
    if share is None and not any(flag in split.tensors for split in splits.values() for flag in flags):
        return dict(splits)
    made = {}
    for part, split in splits.items():
        all_there = torch.ones(len(split), dtype=torch.bool)
        there = torch.stack([split.tensors.get(flag, all_there) for flag in flags])
        if not bool((some := there.any(0)).all()):
            found = f"none in row {int((~some).nonzero()[0])} of the {part} part ({int((~some).sum()):,} such rows)"
            raise DataError("modalities", f"one of {list(names)} at least in every row", found, "leave these rows out")
        if share is not None and part == "train":
            there = hidden(there, share, seed)
        if part == "train" and not bool(there.any(1).all()):
            lacking = names[int((~there.any(1)).nonzero()[0])]
            raise DataError("modalities", "training rows that have it", "none", f"leave {lacking} away")
        tensors = having(split.tensors, dict(zip(flags, there, strict=True)))
        for name, rows in zip(names, there, strict=True):
            tensors = tensors if bool(rows.all()) else blanked(tensors, name, rows)
        made[part] = replace(split, tensors=tensors)
    return made
