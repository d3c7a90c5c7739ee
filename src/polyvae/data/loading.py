"""`load`: any data set, by name or path, decoded once, cut by seed and ready to be batched by index."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from polyvae.checks.ranges import LARGEST, Amount, Count, NumberOrShare, Range, Seed, ranged
from polyvae.data.columns.categories import prepared
from polyvae.data.columns.kinds import with_columns
from polyvae.data.columns.table import alike
from polyvae.data.cuts import TEST, apart, part_size, three_parts
from polyvae.data.errors import DataError, DataNote
from polyvae.data.files.cache import cached
from polyvae.data.memory_maps import cut_rows
from polyvae.data.parts import check_blocks, cuts_of, limited, manner
from polyvae.data.preprocessing import binarised, dequantised, resized
from polyvae.data.readers.arrays import spec_of, table_of, tables_apart, tensors_of
from polyvae.data.readers.frames import is_frame, library_of
from polyvae.data.series import series_notes
from polyvae.data.sources import CATALOGUE, Options, Source
from polyvae.data.sources.listing import locate, unknown
from polyvae.data.split import Data, Split
from polyvae.data.whole import Cut, Whole, from_path, from_tables, joined_spec, pooled, read_draft
from polyvae.model.spec import Spec
from polyvae.observe.transforms import Binarise, Dequantise

Side = Annotated[int, Range(1, 2**14, whole=True)]  # of pictures: one of 16,384 x 16,384 has a GB in three colours
Folds = Annotated[int, Range(2, LARGEST, whole=True)]
STREAMS = {"train": 0, "validation": 1, "test": 2, "all": 3}  # of the draws that are made once


@ranged
def load(
    name: str | Path | object,
    data_dir: str | Path | None = None,
    *,
    label: str | None = None,
    kind: str | None = None,
    skip_bad: bool = False,
    limit: Count | None = None,
    binarise: str | None = None,
    dequantise: bool = False,
    size: Side | None = None,
    centre: bool = True,
    validation: NumberOrShare | None = None,
    fold: Amount | None = None,
    folds: Folds | None = None,
    blocks: Amount | None = None,
    seed: Seed = 0,
    download: bool = True,
) -> Data:
    """A data set by its name in the catalogue, or by a path to .npy, .npz, .csv, .parquet or a folder of pictures.

    Instead of a name, a data frame or whatever else `wrap` takes is cut and changed in the same way.

    Files are looked for in `data_dir`, $POLYVAE_DATA and the user's cache, and fetched where they are missing and
    `download` allows it. Official parts are kept; where none is official, a tenth is cut for testing by `seed`.
    `label`: the column of labels in a table (default: label, class, y of classes), or the labels of an .npz; ""
    for none. `kind`: of the numbers in columns or fields, in place of what their values tell: bits, category, counts,
    positive, real or grey for all, or NAME=KIND,NAME=KIND by columns. `skip_bad`: leave out the files of a folder that
    cannot be read as pictures, and the rows of a table or frame that lack a value. `validation`: a share or number to
    cut from what is trained on (default: the official part, else 10,000 of MNIST's 60,000, else a tenth). `folds`,
    `fold`: training and validation part pooled and cut in so many folds instead. `blocks`: of a series in time, so many
    runs of consecutive examples, held out whole and evenly spread (default: of a series as many as its entry says, 15
    of a user's fields with times; 0 cuts at random). `limit`: so many training examples, a stratified subset; the other
    parts shrink in proportion, to one of each class at least. `size`, `centre`: pictures resized to size x size, after
    cutting the square in their middle. `binarise`: "threshold" (above 1/2), "fixed" (one Bernoulli draw for good) or
    "dynamic" (a fresh draw for every training batch). `dequantise`: noise of one grey level, fresh for every training
    batch. In validation and test part such draws are made once and for all, so that evaluation repeats itself. Raises
    DataError for files, ValueError for arguments.
    """
    _check(binarise, dequantise, blocks, fold, folds, validation)
    options = Options(size, centre, limit, seed, kind)
    whole = _whole(name, data_dir, options, download, label, skip_bad)
    if blocks is not None:
        whole = replace(whole, blocks=blocks)
    if folds is not None or validation is not None:
        whole = pooled(whole)
    if blocks:
        check_blocks(whole, validation)
    cuts = cuts_of(whole, validation, fold, folds, seed)
    if limit is not None:
        cuts = limited(cuts, whole, limit, seed)
    cut = manner(whole, cuts)
    if whole.draft is not None:
        whole, cuts = read_draft(whole, whole.draft, cuts, options)
    notes = whole.notes
    if blocks is None and cut and not whole.blocks and whole.own:
        notes += series_notes(whole.parts[cuts["train"][0]], whole.name)
    if blocks and cut and whole.call and Path(whole.call).is_dir():
        cut += ", pictures in the order of their names"
    for note in notes:
        warnings.warn(note, DataNote, stacklevel=3)  # above `ranged`
    splits, spec = _splits(cuts, whole, binarise, dequantise)
    spec = with_columns(spec, splits, whole.features, kind, whole.name)
    given = {
        "label": label,
        "kind": kind,
        "limit": limit,
        "binarise": binarise,
        "size": size,
        "validation": validation,
        "fold": fold,
        "folds": folds,
    }
    call = {"name": whole.call, "data_dir": None if data_dir is None else str(data_dir), **given, "blocks": blocks}
    call |= {
        "skip_bad": skip_bad or None,
        "dequantise": dequantise or None,
        "centre": None if centre else False,
        "seed": seed or None,
    }
    call = {key: value for key, value in call.items() if value is not None} if whole.call else {}
    return Data(whole.name, splits["train"], splits["validation"], splits["test"], spec, call, cut, library_of(name))


def as_data(anything: Any) -> Data:
    """What a name or a path stands for, as `load` has it; of anything else what `wrap` makes."""
    return load(anything) if isinstance(anything, (str, Path)) else wrap(anything)


def _check(
    binarise: str | None,
    dequantise: bool,
    blocks: int | None,
    fold: int | None,
    folds: int | None,
    validation: int | float | None,
) -> None:
    if binarise not in (None, "threshold", "dynamic", "fixed"):
        raise ValueError(f"binarise is None, 'threshold', 'dynamic' or 'fixed'; got {binarise!r}")
    if binarise and dequantise:
        raise ValueError("binarise and dequantise exclude each other: zeros and ones, or a density")
    if blocks == 1:
        raise ValueError(f"blocks counts runs of a series, at least 2, or is 0 to cut at random; got {blocks}")
    if fold is None or folds is None:
        if fold is not folds:
            given = "folds" if fold is None else "fold"
            raise ValueError(f"fold and folds belong together, as in fold 0 of 5 folds; got {given} alone")
    elif fold >= folds:
        raise ValueError(f"fold lies in 0..{folds - 1}; got {fold}")
    elif validation is not None:
        raise ValueError("validation and folds exclude each other: a fold takes the place of the validation part")


def _whole(
    name: str | Path | object,
    data_dir: str | Path | None,
    options: Options,
    download: bool,
    label: str | None,
    skip_bad: bool,
) -> Whole:
    if not isinstance(name, (str, Path)):
        if skip_bad and not is_frame(name):
            raise ValueError(f"skip_bad is for a data frame, a table or a folder of pictures; got {type(name)}")
        return from_tables({"data": table_of(name, "data", label, skip_bad)}, {"all": "data"}, options, "tensors", "")
    if isinstance(name, str) and name in CATALOGUE:
        if label is not None:
            raise ValueError(f"label names a column of a file of your own; {name} has its labels already")
        if skip_bad:
            raise ValueError(f"skip_bad is for a table or a folder of pictures of your own; got {name}")
        return _from_catalogue(*_obtained(CATALOGUE[name], data_dir, download), options)
    path = Path(name).expanduser()
    if not path.exists():
        raise unknown(name)
    return from_path(path.resolve(), options, label, skip_bad)


def _obtained(source: Source, data_dir: str | Path | None, download: bool) -> tuple[Source, list[Path]]:
    """The source and the paths it reads; where it cannot be had, what is generated in its stead, with a warning."""
    try:
        return source, locate(source, data_dir, download)
    except DataError as error:
        if source.about.stand_in is None:
            raise
        warnings.warn(f"{error}. Until then {source.about.stand_in!r}, which is generated, is taken.", stacklevel=4)
        return CATALOGUE[source.about.stand_in], []


def _from_catalogue(source: Source, paths: list[Path], options: Options) -> Whole:
    if options.size is None and "size" in source.options:
        options = replace(options, size=source.spec.x[-1])
    if options.count is not None and "count" in source.options:
        options = replace(options, count=_total(options.count))
    afterwards = options.size if "size" not in source.options else None
    heeded = {*source.options, *(("size", "centre") if afterwards else ())}

    def compute() -> Mapping[str, np.ndarray]:
        arrays = source.read(paths, options)
        if afterwards is None:
            return arrays
        return {key: resized(x, afterwards, options.centre) if key.endswith(".x") else x for key, x in arrays.items()}

    parts: dict[str, dict[str, Tensor]] = {}
    for key, array in cached(source.name, {each: getattr(options, each) for each in heeded}, paths, compute).items():
        part, name = key.split(".")
        tensor = torch.from_numpy(array)
        # Conditions are kept as bytes and used as numbers; bytes under x are grey levels.
        parts.setdefault(part, {})[name] = tensor.float() if name == "y" and tensor.ndim > 1 else tensor
    x = next(iter(parts.values()))["x"]
    spec = replace(source.spec, x=tuple(x.shape[1:]))
    if afterwards and spec.x != source.spec.x:  # grey levels in between have come up
        spec = replace(spec, levels=256 if x.dtype is torch.uint8 else None)
    about = source.about
    return Whole(source.name, source.name, parts, spec, about.validation, about.test, about.blocks or 0)


def _total(limit: int) -> int:
    """How many to generate, so that `limit` are left to train on after a tenth each for validation and test."""
    total = round(limit / (1 - 2 * TEST))
    while total - 2 * part_size(total, TEST) < limit:
        total += 1
    return total


def _splits(
    cuts: Mapping[str, Cut], whole: Whole, binarise: str | None, dequantise: bool
) -> tuple[dict[str, Split], Spec]:
    """The three splits with what is done to their pictures, and the spec of the result."""
    spec = whole.spec
    if binarise is not None and len(spec.x) != 3:
        raise DataError(whole.name, "pictures, to be binarised", f"examples of shape {spec.x}", "leave binarise away")
    if dequantise and spec.levels is None:
        raise DataError(whole.name, "grey levels, to be dequantised", "continuous values", "leave dequantise away")
    if spec.levels == 2:
        binarise = None  # it would change nothing
    drawn: dict[str, Tensor] = {}
    splits = {}
    for part, (origin, index) in cuts.items():
        tensors, transform = dict(whole.parts[origin]), None
        if binarise == "threshold" or (binarise == "dynamic" and part == "train"):
            transform = Binarise(binarise)
        elif binarise is not None:
            if origin not in drawn:
                drawn[origin] = binarised(tensors["x"], STREAMS[origin])
            tensors["x"] = drawn[origin]
        if index is not None:
            tensors = cut_rows(tensors, index)
        if dequantise and spec.levels is not None:
            if part == "train":
                transform = Dequantise(spec.levels)
            else:
                tensors = {**tensors, "x": dequantised(tensors["x"], spec.levels, STREAMS[part])}
        splits[part] = Split(tensors, transform)
    levels = None if dequantise else 2 if binarise is not None else spec.levels
    return splits, replace(spec, levels=levels, dequantised=spec.levels if dequantise else None)


def wrap(
    anything: Any,
    validation: Any = 0.1,
    test: Any = None,
    seed: int = 0,
    label: str | None = None,
    kind: Mapping[str, str] | str | None = None,
) -> Data:
    """Make Data of what a user has; Data itself is returned unchanged.

    `anything`: a tensor, an array, a pair (x, y), a mapping of either by name, a scikit-learn bunch, a Dataset whose
    items are x, (x, y) or mappings, a DataLoader, a data frame, a scipy sparse matrix or annotated data (AnnData).
    `validation`, `test`: a share or number of examples cut with `seed`, or another such data set; by default a tenth
    each, the examples that `load` cuts from the same data, and no test part where `validation` is a data set. `label`:
    the column of labels, of a frame or of obs, or the name of y in a mapping (default: label, class, y of classes).
    `kind`: of the numbers in columns or fields, in place of what their values tell: one of `spec.KINDS` for all, or by
    the names of columns. Raises DataError.
    """
    if isinstance(anything, Data):
        return anything
    if test is None:
        test = TEST if isinstance(validation, (int, float)) else 0
    given = {"validation": validation, "test": test}
    others = {part: other for part, other in given.items() if not isinstance(other, (int, float))}
    tables = prepared(tables_apart({"train": anything, **others}, label), kind)
    notes = list(tables["train"].notes)
    tables = alike(tables)
    tensors = tensors_of(tables["train"], "train")
    spec = spec_of(tensors)
    shares = {part: share for part, share in given.items() if isinstance(share, (int, float))}
    whole = Split(tensors)
    try:
        pieces = three_parts(len(whole), shares.get("validation", 0), shares.get("test", 0), apart(seed))
    except ValueError as error:
        found = f"{len(whole)} ({error})"
        raise DataError("train", "enough examples to cut", found, "give more examples or smaller parts") from error
    if len(pieces[0]) < len(whole):
        notes += series_notes(tensors, "train")
    for note in notes:
        warnings.warn(note, DataNote, stacklevel=2)
    cuts = {part: index for part, index in zip(given, pieces[1:], strict=True) if part in shares}
    splits = {part: whole.take(index) for part, index in cuts.items()}
    for part in others:
        held = tensors_of(tables[part], part)
        spec = joined_spec(spec, spec_of(held), part)
        splits[part] = Split(held)
    train = whole if len(pieces[0]) == len(whole) else whole.take(pieces[0])
    spec = replace(spec, label=tables["train"].label)
    if labels := tables["train"].labels:
        spec = replace(spec, classes=len(labels), labels=labels)
    splits["train"] = train
    spec = with_columns(spec, splits, tables["train"].features, kind, "train")
    how = "cut at random" if shares else ""
    parts = (splits["train"], splits["validation"], splits["test"])
    return Data("tensors", *parts, spec, cut=how, frame=library_of(anything))
