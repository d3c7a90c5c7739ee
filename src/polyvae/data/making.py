"""The last step of loading: three splits of what was read and cut, with preprocessing, kinds and hidden modalities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from polyvae.data.columns.kinds import parsed, some, with_columns
from polyvae.data.errors import DataError, DataNote
from polyvae.data.memory_maps import having, named
from polyvae.data.modalities.absent import flagged
from polyvae.data.options import Options
from polyvae.data.preprocessing import binarised, dequantised
from polyvae.data.seeds import mixed
from polyvae.data.split import Data, Split
from polyvae.data.whole import Cut, Whole
from polyvae.model.presence import present
from polyvae.model.spec import Modality
from polyvae.observe.transforms import Binarise, Dequantise, Transform, chain

STREAMS = {"train": 0, "validation": 1, "test": 2, "all": 3}  # of the draws that are made once
HIDING = 4


def made_of(whole: Whole, cuts: Mapping[str, Cut], asked: Options) -> Data:
    """The data of three splits; notes are shown. Raises DataError for what does not fit the values."""
    for note in whole.notes:
        warnings.warn(note, DataNote, stacklevel=3)
    spec = whole.spec
    if asked.absent is not None and not spec.modalities:
        raise ValueError(f"absent is for data of several modalities; got {whole.name}")
    bits = _binarised(whole, asked)
    noisy = (
        {name: each.levels for name, each in spec.values.items() if each.levels is not None} if asked.dequantise else {}
    )
    if asked.dequantise and not noisy:
        raise DataError(whole.name, "grey levels, to be dequantised", "continuous values", "leave dequantise away")
    splits = _splits(whole, cuts, asked, bits, noisy)
    if spec.modalities:
        splits = flagged(splits, [*spec.values], asked.absent, mixed(whole.seed(asked.seed), HIDING))
    kinds = _kinds(whole, asked)
    specs = {}
    for name, each in spec.values.items():
        levels = None if name in noisy else 2 if name in bits else each.levels
        made = replace(each, levels=levels, dequantised=noisy.get(name))
        if name not in bits or kinds.get(name) is not None:  # bits need no kind, and are held as other numbers
            where = f"{whole.name}, {name}" if spec.modalities else whole.name
            made = with_columns(made, _views(splits, name), whole.features.get(name, ()), kinds.get(name), where)
        specs[name] = made
    modalities = tuple(Modality(name, each) for name, each in specs.items())
    spec = replace(spec, modalities=modalities) if spec.modalities else specs["x"]
    return Data(whole.name, splits["train"], splits["validation"], splits["test"], spec)


def _binarised(whole: Whole, asked: Options) -> list[str]:
    """The names of the pictures to binarise; of several modalities those of one channel. Zeros and ones stay."""
    values = whole.spec.values
    if asked.binarise is None:
        return []
    if whole.spec.modalities:
        found = [
            name for name, spec in values.items() if len(spec.x) == 3 and spec.x[0] == 1 and spec.levels is not None
        ]
    else:
        found = [name for name, spec in values.items() if len(spec.x) == 3]
    if not found:
        shapes = " and ".join(f"{spec.x}" for spec in values.values())
        raise DataError(whole.name, "pictures, to be binarised", f"examples of shape {shapes}", "leave binarise away")
    return [name for name in found if values[name].levels != 2]


def _splits(
    whole: Whole, cuts: Mapping[str, Cut], asked: Options, bits: list[str], noisy: Mapping[str, int]
) -> dict[str, Split]:
    drawn: dict[tuple[str, str], Tensor] = {}
    splits: dict[str, Split] = {}
    for part, (origin, index) in cuts.items():
        tensors, steps = whole.parts[origin], list[Transform]()
        for name in bits:
            if asked.binarise == "threshold" or (asked.binarise == "dynamic" and part == "train"):
                steps.append(Binarise(asked.binarise, name))
                continue
            if (origin, name) not in drawn:
                drawn[origin, name] = binarised(tensors[name], STREAMS[origin])
            tensors = having(tensors, {name: drawn[origin, name]})
        split = Split(tensors) if index is None else Split(tensors).take(index)
        for name, levels in noisy.items():
            if part == "train":
                steps.append(Dequantise(levels, name))
            else:
                x = dequantised(split.tensors[name], levels, STREAMS[part])
                split = Split(having(split.tensors, {name: x}))
        transform = steps[0] if len(steps) == 1 else chain(*steps) if steps else None
        splits[part] = replace(split, transform=transform)
    return splits


def _kinds(whole: Whole, asked: Options) -> dict[str, Mapping[str, str] | str | None]:
    """The kinds that are asked for, by what is observed: those of its columns, or one for all of a modality."""
    kind, values = parsed(asked.kind), whole.spec.values
    if not whole.spec.modalities or not isinstance(kind, Mapping):
        return dict.fromkeys(values, kind)
    columns = {name: {each.name for each in whole.features.get(name, ())} for name in values}
    known = {*values}.union(*columns.values())
    if unknown := [name for name in kind if name not in known]:
        expected = f"a kind for one of the modalities or columns {some(sorted(known))}"
        raise DataError(whole.name, expected, f"one for {unknown[0]!r}")
    made: dict[str, Mapping[str, str] | str | None] = {}
    for name in values:
        own = {column: each for column, each in kind.items() if column in columns[name]}
        made[name] = kind[name] if name in kind and name not in columns[name] else own or None
    return made


def _views(splits: Mapping[str, Split], name: str) -> Mapping[str, Split]:
    """What is observed under a name as the x of data of its own: the rows that have it."""
    if name == "x":
        return splits
    made = {}
    for part, split in splits.items():
        view, there = Split(named(split.tensors, {name: "x"})), split.tensors.get(present(name))
        made[part] = view if there is None else view.take(there.nonzero().squeeze(1))
    return made
