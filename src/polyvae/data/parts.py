"""How a data set is cut in training, validation and test part: at random, in folds, or a series in blocks of time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from polyvae.data.cuts import cut, kfold, part_size, permutation, stratified, three_parts
from polyvae.data.errors import DataError
from polyvae.data.series import block_fold, in_blocks
from polyvae.data.whole import Cut, Whole


def check_blocks(whole: Whole, validation: int | float | None) -> None:
    """Raises ValueError for blocks where nothing is cut, too few for the parts, or of less than two examples each."""
    if "validation" in whole.parts:
        parts = ", ".join(whole.parts)
        raise ValueError(f"blocks: nothing is cut of {whole.name}, which has the parts {parts}; leave blocks away")
    count, least = whole.length(whole.origin), 1 + (whole.origin == "all") + (validation != 0)
    if whole.blocks < least:
        raise ValueError(f"blocks: {least} at least, one for each part that is cut; got {whole.blocks}")
    if whole.blocks > count // 2:
        raise ValueError(
            f"blocks are runs of at least two of the {count:,} examples, so that neighbours stay together: "
            f"at most {count // 2:,}; got {whole.blocks:,}"
        )


def cuts_of(
    whole: Whole, validation: int | float | None, fold: int | None, folds: int | None, seed: int
) -> dict[str, Cut]:
    """The examples of every part; `fold` of `folds` takes the place of the validation part. Raises DataError."""
    if "validation" in whole.parts:
        return {part: (part, None) for part in ("train", "validation", "test")}
    origin = whole.origin
    size = part_size(whole.length(origin), whole.share if validation is None else validation)
    cut_test = [whole.test] if origin == "all" else []
    series = whole.blocks and whole.length(origin) > 1
    try:
        rest, held, *test = (_in_time if series else _at_random)(whole, origin, [*cut_test, size], fold, folds, seed)
    except ValueError as error:
        if folds is not None:  # kfold names what is out of range
            raise
        if validation is not None:
            raise ValueError(
                f"validation leaves nothing to train on of {whole.length(origin)}; got {validation}"
            ) from None
        raise DataError(
            whole.name,
            "enough examples to cut",
            f"{whole.length(origin)} ({error})",
            "give more, or ask for smaller parts",
        ) from error
    return {
        "train": (origin, rest),
        "validation": (origin, held),
        "test": (origin, test[0]) if test else ("test", None),
    }


def _at_random(
    whole: Whole, origin: str, parts: list[int | float], fold: int | None, folds: int | None, seed: int
) -> list[Tensor]:
    """Training, validation and, where one is cut, test examples; `parts` are the sizes of test and validation."""
    count, seed = whole.length(origin), whole.seed(seed)
    if fold is None or folds is None:
        rest, held, test = three_parts(count, parts[-1], parts[0] if len(parts) > 1 else 0, seed)
        return [rest, held, test] if len(parts) > 1 else [rest, held]
    pool, *test = cut(count, parts[:-1], seed)
    rest, held = kfold(len(pool), folds, fold, seed)
    return [pool[rest], pool[held], *test]


def _in_time(
    whole: Whole, origin: str, parts: list[int | float], fold: int | None, folds: int | None, seed: int
) -> list[Tensor]:
    """The same in blocks of consecutive examples."""
    count = whole.length(origin)
    blocks = min(whole.blocks, count)
    if fold is not None and folds is not None:
        pool, *test = in_blocks(count, blocks, parts[:-1], seed)
        return [*block_fold(pool, count, blocks, folds, fold), *test]
    rest, *test, held = in_blocks(count, blocks, parts, seed)
    return [rest, held, *test]


def manner(whole: Whole, cuts: Mapping[str, Cut]) -> str:
    """How the parts were cut, in words; "" where all are official."""
    origin, index = cuts["validation"]
    if index is None:
        return ""
    how = (
        f"cut in {min(whole.blocks, whole.length(origin))} blocks of consecutive examples"
        if whole.blocks
        else "cut at random"
    )
    return how if origin == "all" else f"validation {how}"


def limited(cuts: Mapping[str, Cut], whole: Whole, limit: int, seed: int) -> dict[str, Cut]:
    """At most `limit` training examples, and the other parts in proportion."""
    counts = {part: whole.length(origin) if index is None else len(index) for part, (origin, index) in cuts.items()}
    share = limit / counts["train"]
    if share >= 1:
        return dict(cuts)
    found: dict[str, Cut] = {}
    for part, (origin, index) in cuts.items():
        index = torch.arange(counts[part]) if index is None else index
        wanted = limit if part == "train" else min(counts[part], max(1, round(share * counts[part])))
        # An official test part is shortened in one way only, whatever the seed.
        chosen_by = whole.seed(0 if origin == "test" else seed)
        y = whole.parts[origin].get("y")
        if y is not None and y.ndim == 1 and len(index):
            labels = y[index]
            wanted = wanted if part == "train" else min(counts[part], max(wanted, len(labels.unique())))
            chosen = stratified(labels, wanted, chosen_by)
        else:
            chosen = permutation(counts[part], chosen_by)[:wanted].sort().values
        found[part] = (origin, index[chosen])
    return found
