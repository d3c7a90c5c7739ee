"""`load` and `wrap`: any data set, by name, by path or from Python, decoded once, split by seed, batched by index."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.checks.names import gathered
from polyvae.data.columns.table import Feature
from polyvae.data.cuts import TEST, part_size, three_parts
from polyvae.data.errors import DataError, DataNote
from polyvae.data.files.cache import cached
from polyvae.data.labels import few_labels
from polyvae.data.making import made_of
from polyvae.data.memory_maps import named
from polyvae.data.modalities.apart import apart, kinds_of
from polyvae.data.modalities.folders import subfolders
from polyvae.data.modalities.groups import several
from polyvae.data.modalities.joined import arrays_named, by_names, from_values, holds_paths, joined
from polyvae.data.modalities.pairing import paired
from polyvae.data.options import Options
from polyvae.data.parts import cut_as
from polyvae.data.preprocessing import resized
from polyvae.data.readers.arrays import table_of, tables_apart
from polyvae.data.readers.frames import is_frame, library_of
from polyvae.data.series import series_notes
from polyvae.data.sources import CATALOGUE, Source
from polyvae.data.sources.listing import locate, unknown
from polyvae.data.sources.paired import Paired
from polyvae.data.split import Data
from polyvae.data.whole import Cut, Whole, from_path, from_tables, in_three, read_draft
from polyvae.model.conditions import FLAG


def load(name: str | Path | object, data_dir: str | Path | None = None, **options: Any) -> Data:
    """Loads a data set by its name in the catalogue, or by a path: .npy, .npz, .csv, .parquet, a folder of pictures.

    A data frame, or anything else that `wrap` takes, may be given in place of a name, with the same options.

    Files are looked for in `data_dir`, $POLYVAE_DATA and the user's cache, and downloaded if missing. Official parts
    are kept; without an official test part, a seeded tenth is held out. `options`: those of `Options`, by name. Raises
    DataError for files, ValueError for a bad option, TypeError for an unknown one or one without its name.
    """
    if not isinstance(data_dir, (str, PathLike, type(None))):
        how = "options are given by name, as in load(name, limit=100)"
        raise TypeError(f"data_dir is a folder, and {how}; got {type(data_dir).__name__}")
    asked = gathered(Options, options)
    reading = _reading(asked)
    whole = _whole(name, data_dir, reading)
    whole, cuts, cut = cut_as(whole, asked)
    if whole.draft is not None:
        whole, cuts = read_draft(whole, whole.draft, cuts, reading)
    lacking = any(name == "seen" or name.endswith(FLAG) for tensors in whole.parts.values() for name in tensors)
    if asked.labels is not None:
        whole = few_labels(whole, cuts, asked.labels, whole.seed(asked.seed))
    if asked.blocks is None and cut and not whole.blocks and whole.own:
        whole = _noted(whole, cuts["train"][0], whole.name)
    if asked.blocks and cut and isinstance(whole.call, str) and whole.call and Path(whole.call).is_dir():
        cut += ", pictures in the order of their names"
    whole = _apart(whole, asked)
    call = {"name": whole.call} | ({} if data_dir is None else {"data_dir": str(data_dir)}) | asked.said()
    if not lacking:
        call.pop("gaps", None)  # neither of x nor of labels
    return replace(made_of(whole, cuts, asked), call=call if whole.call else {}, cut=cut, frame=library_of(name))


def uncut(name: str | Path, data_dir: str | Path | None = None, **options: Any) -> Data:
    """All examples of a name or a path as each part of data, in their order; of official parts the test part."""
    asked = gathered(Options, {**options, "gaps": True, "absent": None})
    with without_gap_notes():
        whole = _apart(_whole(name, data_dir, _reading(asked)), asked)
        every: Cut = ("test" if "test" in whole.parts else whole.origin, None)
        return made_of(whole, {"train": every, "validation": every, "test": every}, asked)


def wrap(
    anything: Any,
    validation: Any = 0.1,
    test: Any = None,
    seed: int = 0,
    label: str | None = None,
    kind: Mapping[str, str] | str | None = None,
    gaps: bool = False,
    beside: str | Sequence[str] | None = None,
    modalities: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    absent: float | None = None,
) -> Data:
    """Makes Data of what a user has; Data itself is returned unchanged.

    `anything`: a tensor, an array, a pair (x, y), a mapping of either by name, a scikit-learn bunch, a Dataset whose
    items are x, (x, y) or mappings, a DataLoader, a data frame, a scipy sparse matrix or annotated data (AnnData).
    `validation`, `test`: a share or number of examples, cut with `seed`, or a data set of its own. The default is a
    tenth each, the same examples that `load` cuts, and no test part if `validation` is a data set. `label`: the column
    of labels in a frame or in obs, or the name of y in a mapping (default: label, class, y of classes). `kind`: the
    kind of the numbers in columns or fields, which their values tell by default: one of `spec.KINDS` for all, or by the
    names of columns. `beside`: columns, or names of a mapping, that condition x, see `Options`. `gaps`: keep values of
    x that are missing, with a mask `seen`, which may also be given in a mapping, beside x. `modalities`: values of a
    mapping, or columns, that are modalities, see `Options`; `NAME_present`, NaN or None say where one is missing.
    `absent`: hide each modality of each training row with this chance, drawn with `seed`, see `Options`. Raises
    DataError.
    """
    if isinstance(anything, Data):
        return anything
    if test is None:
        test = TEST if isinstance(validation, (int, float)) else 0
    given = {"validation": validation, "test": test}
    others = {part: other for part, other in given.items() if not isinstance(other, (int, float))}
    asked = Options(label=label, kind=kind, gaps=gaps, beside=beside, modalities=modalities, absent=absent, seed=seed)
    reading = _reading(asked)
    values: dict[str, Any] = {"train": anything, **others}
    by_part = {part: by_names(each, asked.groups) for part, each in values.items()}
    if None not in (held := [*by_part.values()]):
        whole = joined(dict(zip(by_part, filter(None, held), strict=True)), asked.groups, asked, "tensors", "")
    else:
        tables = tables_apart(values, label, reading.gaps)
        whole = from_tables(tables, {part: part for part in tables}, reading, "tensors", "")
    # Parts given apart may be small, and lack a class.
    whole = replace(whole, notes=tuple(note for note in whole.notes if note.startswith("train")))
    count, (held, tested) = whole.length("train"), (0 if part in others else share for part, share in given.items())
    try:
        found = three_parts(count, held, tested, whole.seed(seed))
    except ValueError as error:
        advice = "give more examples or smaller parts"
        raise DataError("train", "enough examples to cut", f"{count} ({error})", advice) from error
    indices = zip(("train", *given), found, strict=True)
    cuts: dict[str, Cut] = {part: (part, None) if part in others else ("train", index) for part, index in indices}
    if len(found[0]) < count:
        whole = _noted(whole, "train", "train")
    made = made_of(_apart(whole, asked), cuts, asked)
    return replace(made, cut="cut at random" if len(others) < 2 else "", frame=library_of(anything))


def as_data(anything: Any, gaps: bool = False) -> Data:
    """The data of a name or a path, as `load` reads them; of anything else, what `wrap` makes.

    `gaps`: values that are missing are kept, without a note: whether a recipe takes them is not known here.
    """
    with without_gap_notes() if gaps else nullcontext():
        return load(anything, gaps=gaps) if isinstance(anything, (str, Path)) else wrap(anything, gaps=gaps)


@contextmanager
def without_gap_notes() -> Iterator[None]:
    """No note on gaps that are kept, where it is not known yet whether a recipe takes them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*kept as gaps", DataNote)
        yield


def _reading(asked: Options) -> Options:
    """The options of the reader: modalities may be missing, and a kind of one is that of its columns."""
    if not asked.groups:
        return asked
    return replace(asked, gaps=not asked.skip_bad, kind=kinds_of(asked.kind, asked.groups))


def _apart(whole: Whole, asked: Options) -> Whole:
    """The whole with the columns of x as modalities, if these are asked for and it has none yet."""
    if asked.groups and not whole.spec.modalities:
        return apart(whole, asked.groups, asked.gaps)
    return whole


def _noted(whole: Whole, part: str, where: str) -> Whole:
    """The whole, with a note if examples that are cut at random are a series."""
    views = (named(whole.parts[part], {name: "x", "y": "y"}) for name in whole.spec.values)
    notes = next((found for view in views if (found := series_notes(view, where))), ())
    return replace(whole, notes=(*whole.notes, *notes))


def _whole(name: str | Path | object, data_dir: str | Path | None, asked: Options) -> Whole:
    if not isinstance(name, (str, Path)):
        _check_pairings("values of your own", asked)
        if (values := by_names(name, asked.groups)) is not None:
            return from_values(values, asked)
        if isinstance(name, Mapping) and not asked.groups and holds_paths(name):
            return from_values(name, asked)
        if asked.skip_bad and not is_frame(name):
            raise ValueError(f"skip_bad is for a data frame, a table or a folder of pictures; got {type(name)}")
        table = table_of(name, "data", asked.label, asked.skip_bad, gaps=asked.gaps)
        return from_tables({"data": table}, {"all": "data"}, asked, "tensors", "")
    if isinstance(name, str) and name in CATALOGUE:
        if asked.label is not None:
            raise ValueError(f"label names a column of a file of your own; {name} has its labels already")
        if asked.skip_bad:
            raise ValueError(f"skip_bad is for a table or a folder of pictures of your own; got {name}")
        source = CATALOGUE[name]
        if asked.groups and (source.spec.modalities or not source.channels):
            raise ValueError(f"modalities are columns or fields of data that have such; got {name}")
        if isinstance(source, Paired):
            return paired(source, {each.name: _of(each, data_dir, asked) for each in source.parts}, asked)
        _check_pairings(name, asked)
        return _of(source, data_dir, asked)
    _check_pairings(name, asked)
    path = Path(name).expanduser()
    if not path.exists():
        raise unknown(name)
    path = path.resolve()
    if (folders := subfolders(path, asked.groups)) is not None:
        return joined({"all": folders}, asked.groups, asked, path.name, str(path))
    if asked.groups and path.suffix.lower() == ".npz" and (parts := arrays_named(path, asked.groups)):
        return in_three(joined(parts, asked.groups, asked, path.name, str(path)))
    return from_path(path, asked)


def _check_pairings(name: str | Path, asked: Options) -> None:
    if asked.pairings != 1:
        raise ValueError(f"pairings is for data that pair pictures by their class; got {name}")


def _of(source: Source, data_dir: str | Path | None, asked: Options) -> Whole:
    return _from_catalogue(*_obtained(source, data_dir, asked.download), asked)


def _obtained(source: Source, data_dir: str | Path | None, download: bool) -> tuple[Source, list[Path]]:
    """The source and the paths it reads; if it cannot be had, its generated substitute, with a warning."""
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
    if options.limit is not None and "limit" in source.options:
        options = replace(options, limit=_total(options.limit))
    afterwards = options.size if "size" not in source.options else None
    heeded = {*source.options, *(("size", "centre") if afterwards else ())}

    def compute() -> Mapping[str, np.ndarray]:
        arrays = source.read(paths, options)
        if afterwards is None:
            return arrays
        values = tuple(source.spec.values)
        return {
            key: resized(x, afterwards, options.centre) if key.partition(".")[2] in values else x
            for key, x in arrays.items()
        }

    parts: dict[str, dict[str, Tensor]] = {}
    for key, array in cached(source.name, {each: getattr(options, each) for each in heeded}, paths, compute).items():
        part, name = key.split(".")
        tensor = torch.from_numpy(array)
        # Conditions are kept as bytes and used as numbers; bytes under x are grey levels.
        parts.setdefault(part, {})[name] = tensor.float() if name == "y" and tensor.ndim > 1 else tensor
    first, specs = next(iter(parts.values())), {}
    for name, spec in source.spec.values.items():
        made = replace(spec, x=tuple(first[name].shape[1:]))
        if afterwards and made.x != spec.x:  # grey levels in between have come up
            made = replace(made, levels=256 if first[name].dtype is torch.uint8 else None)
        specs[name] = made
    spec = several(source.spec, specs) if source.spec.modalities else specs["x"]
    features = {"x": tuple(Feature(name, "float") for name in source.channels)} if options.groups else {}
    about = source.about
    return Whole(
        source.name, source.name, parts, spec, about.validation, about.test, about.blocks or 0, features=features
    )


def _total(limit: int) -> int:
    """How many examples to generate so that `limit` are for training, beside a tenth each for validation and test."""
    total = round(limit / (1 - 2 * TEST))
    while total - 2 * part_size(total, TEST) < limit:
        total += 1
    return total
