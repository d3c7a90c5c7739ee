"""How a data set is split in training, validation and test part: at random, in folds, or a series in blocks of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from polyvae.data.cuts import chosen, cut, kfold, part_size, three_parts
from polyvae.data.errors import DataError
from polyvae.data.options import Options
from polyvae.data.series import block_fold, in_blocks
from polyvae.data.whole import Cut, Whole, pooled


def cut_as(whole: Whole, asked: Options) -> tuple[Whole, dict[str, Cut], str]:
    """The whole with the parts that are cut from it, the examples of every part, and how they were cut, in words.

    One that was cut when its rows were made, such as pairs of pictures, stays as it is, but for a limit.

    The words are "" where all parts are official. Raises ValueError for blocks or a validation part that cannot be
    had, DataError for too few examples.
    """
    if whole.cut:
        cuts = {part: (part, None) for part in whole.parts}
        return whole, cuts if asked.limit is None else _limited(cuts, whole, asked.limit, asked.seed), whole.cut
    if asked.blocks is not None:
        whole = replace(whole, blocks=asked.blocks)
    if asked.folds is not None or asked.validation is not None:
        whole = pooled(whole)
    if asked.blocks:
        _check_blocks(whole, asked.validation)
    if "validation" in whole.parts:
        cuts: dict[str, Cut] = {part: (part, None) for part in ("train", "validation", "test")}
        how = ""
    else:
        cuts, count = _cuts(whole, asked), whole.length(whole.origin)
        blocks = f"cut in {min(whole.blocks, count)} blocks of consecutive examples"
        how = ("" if whole.origin == "all" else "validation ") + (blocks if whole.blocks else "cut at random")
    return whole, cuts if asked.limit is None else _limited(cuts, whole, asked.limit, asked.seed), how


def _check_blocks(whole: Whole, validation: int | float | None) -> None:
    """Raises ValueError for blocks where nothing is cut, fewer than the parts, or of less than two examples each."""
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


def _cuts(whole: Whole, asked: Options) -> dict[str, Cut]:
    """The examples of every part; `fold` of `folds` takes the place of the validation part. Raises DataError."""
    origin, count = whole.origin, whole.length(whole.origin)
    held = part_size(count, whole.share if asked.validation is None else asked.validation)
    test = whole.test if origin == "all" else 0
    try:
        found = (_in_time if whole.blocks and count > 1 else _at_random)(whole, count, (held, test), asked)
    except ValueError as error:
        if asked.folds is not None:  # kfold names what is out of range
            raise
        if asked.validation is not None:
            wrong = f"validation leaves nothing to train on of {count}; got {asked.validation}"
            raise ValueError(wrong) from None
        advice = "give more, or ask for smaller parts"
        raise DataError(whole.name, "enough examples to cut", f"{count} ({error})", advice) from error
    cuts: dict[str, Cut] = {part: (origin, index) for part, index in zip(("train", "validation"), found, strict=False)}
    return cuts | {"test": (origin, found[2]) if origin == "all" else ("test", None)}


Three = tuple[Tensor, Tensor, Tensor]  # the examples to train on, of the validation and of the test part


def _at_random(whole: Whole, count: int, sizes: tuple[int | float, int | float], asked: Options) -> Three:
    """The parts of so many examples, `sizes` being those of the validation and test part."""
    seed = whole.seed(asked.seed)
    if asked.fold is None or asked.folds is None:
        return three_parts(count, *sizes, seed)
    pool, test = cut(count, sizes[1:], seed)
    rest, held = kfold(len(pool), asked.folds, asked.fold, seed)
    return pool[rest], pool[held], test


def _in_time(whole: Whole, count: int, sizes: tuple[int | float, int | float], asked: Options) -> Three:
    """The same in blocks of consecutive examples."""
    blocks = min(whole.blocks, count)
    if asked.fold is not None and asked.folds is not None:
        pool, test = in_blocks(count, blocks, sizes[1:], asked.seed)
        return *block_fold(pool, count, blocks, asked.folds, asked.fold), test
    rest, test, held = in_blocks(count, blocks, sizes[::-1], asked.seed)
    return rest, held, test


def _limited(cuts: Mapping[str, Cut], whole: Whole, limit: int, seed: int) -> dict[str, Cut]:
    """At most `limit` training examples, the other parts in proportion."""
    counts = {part: whole.length(origin) if index is None else len(index) for part, (origin, index) in cuts.items()}
    share = limit / counts["train"]
    if share >= 1:
        return dict(cuts)
    found: dict[str, Cut] = {}
    for part, (origin, index) in cuts.items():
        index = torch.arange(counts[part]) if index is None else index
        wanted = limit if part == "train" else min(counts[part], max(1, round(share * counts[part])))
        y = whole.parts[origin].get("y")
        y = y[index] if y is not None and y.ndim == 1 and len(index) else None
        if y is not None and part != "train":
            wanted = min(counts[part], max(wanted, len(y.unique())))
        # An official test part is shortened in one way only, whatever the seed.
        picked = chosen(counts[part], y, wanted, whole.seed(0 if origin == "test" else seed))
        found[part] = (origin, index[picked])
    return found
