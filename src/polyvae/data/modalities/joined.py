"""Modalities that a user gives by name, each an array, a table, a frame, a file or a folder of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.columns.table import Feature, Table
from polyvae.data.errors import DataError
from polyvae.data.modalities.apart import GAPS, marked, same_flags
from polyvae.data.modalities.folders import Rows, pictures_at, rows_of
from polyvae.data.modalities.groups import Groups, groups_of, several
from polyvae.data.options import Options
from polyvae.data.readers.arrays import array_of, by_name, table_of
from polyvae.data.readers.fields import array_names, field_names
from polyvae.data.readers.frames import is_frame
from polyvae.data.readers.numpy_files import npy, npz_parts
from polyvae.data.readers.paths import TABLES, tables_of
from polyvae.data.readers.values import without_none
from polyvae.data.whole import Whole, from_tables
from polyvae.model.presence import PRESENT, present


@dataclass(frozen=True)
class Found:
    """One modality of one part: its table, and which rows [N] have it, None if all do or its table says so."""

    table: Table
    there: np.ndarray | None = None


def joined(parts: Mapping[str, Mapping[str, Any]], groups: Groups, asked: Options, name: str, call: Any) -> Whole:
    """The whole of values by name, for every part; rows stand side by side.

    `groups`: of each modality the names of its values, several of which are put side by side along dimension 1. A value
    is what `table_of` takes, a list with None where there is none, or a path: of a table, an .npy, or a folder of
    pictures. Names of files without their ending say which row a picture belongs to. `NAME_present` says which rows
    have a modality, and what is not a number or masked is not there. Other values are y, or stand beside x. Raises
    DataError for unequal rows.
    """
    wholes: dict[str, Whole] = {}
    flags: dict[tuple[str, str], Tensor] = {}
    parts = {part: {key: _opened(value) for key, value in values.items()} for part, values in parts.items()}
    places = {part: name if part == "all" else f"{name}, part {part}" for part in parts}
    rows = {
        part: rows_of({key: values[key] for key in _members(groups)}, places[part]) for part, values in parts.items()
    }
    for modality, members in groups.items():
        first = not wholes
        tables: dict[str, Table] = {}
        for part, values in parts.items():
            where = f"{places[part]}, {modality}"
            found = _found([values[member] for member in members], members, rows[part], asked, where)
            given = values.get(present(modality))
            there = found.there if given is None else _flag(given, f"{places[part]}[{present(modality)!r}]")
            if there is not None:
                flags[part, modality] = torch.from_numpy(there)
            others = _others(values, groups, rows[part], asked.label) if first else {}
            tables[part] = _with_others(found.table, others, where)
        options = _options(asked, tables, members, modality)
        wholes[modality] = from_tables(
            {places[part]: table for part, table in tables.items()}, places, options, f"{name}, {modality}", ""
        )
    whole = _together(wholes, flags, name, call)
    return _with_some(whole) if asked.skip_bad else whole


def _with_some(whole: Whole) -> Whole:
    """The whole without the rows that have no modality."""
    flags = [present(name) for name in whole.spec.values]
    parts, notes = dict(whole.parts), list(whole.notes)
    for part, tensors in whole.parts.items():
        if all(flag in tensors for flag in flags):
            some = torch.stack([tensors[flag] for flag in flags]).any(0)
            if lost := int((~some).sum()):
                notes.append(f"{whole.name}: {lost:,} rows without any modality are left out")
                parts[part] = {name: tensor[some] for name, tensor in tensors.items()}
    return replace(whole, parts=parts, notes=tuple(notes))


def _members(groups: Groups) -> list[str]:
    return [member for members in groups.values() for member in members]


def _options(asked: Options, tables: Mapping[str, Table], members: tuple[str, ...], modality: str) -> Options:
    """The options of one modality: a size for its pictures, its kind."""
    pictures = all(table.arrays["x"].ndim >= 3 for table in tables.values())
    kind = asked.kind
    if isinstance(kind, Mapping):
        columns = {each.name for table in tables.values() for each in table.features}
        names = [each for each in (modality, *members) if each in kind and each not in columns]
        kind = kind[names[0]] if names else kind
    return replace(asked, size=asked.size if pictures else None, kind=kind, gaps=True, skip_bad=False)


def _found(values: list[Any], members: tuple[str, ...], rows: Rows, asked: Options, where: str) -> Found:
    found = [_one(value, rows, asked, where) for value in values]
    if len(found) == 1:
        return found[0]
    arrays = [each.table.arrays["x"] for each in found]
    if len({(array.ndim, len(array), array.shape[2:]) for array in arrays}) > 1 or any(
        "seen" in f.table.arrays for f in found
    ):
        shapes = dict(zip(members, (list(array.shape) for array in arrays), strict=True))
        raise DataError(where, "arrays of one shape, without gaps, to be put side by side", f"{shapes}")
    flags = [each.there for each in found if each.there is not None]
    there = np.logical_and.reduce(flags) if flags else None
    notes = tuple(note for each in found for note in each.table.notes)
    if arrays[0].ndim in (1, 3):
        features = tuple(Feature(member, "float") for member in members)
        return Found(Table({"x": np.stack(arrays, 1)}, features, notes=notes), there)
    return Found(Table({"x": np.concatenate(arrays, 1)}, notes=notes), there)


def _opened(value: Any) -> Any:
    """The table of a file, a folder as its path, another value as it is."""
    if not isinstance(value, (str, Path)):
        return value
    path = Path(value).expanduser()
    if path.is_dir():
        return path
    if path.suffix.lower() in TABLES:
        return tables_of(path, "", gaps=True)["all"]
    if path.suffix.lower() != ".npy" or not path.exists():
        found = "something else" if path.exists() else "no such file"
        raise DataError(path, f"a folder of pictures, an .npy or a table ({', '.join(TABLES)})", found)
    return table_of({"x": npy(path, gaps=True)}, str(path), gaps=True)


def _one(value: Any, rows: Rows, asked: Options, where: str) -> Found:
    if isinstance(value, Path):
        x, there, note = pictures_at(value, rows, asked.size, asked.centre, asked.skip_bad)
        return Found(Table({"x": x}, notes=(note,) if note else ()), there)
    if isinstance(value, Table):
        return Found(value)
    value, there = without_none(value, where)
    return Found(table_of({"x": value}, where, gaps=True), there)


def _others(values: Mapping[str, Any], groups: Groups, rows: Rows, label: str | None) -> dict[str, Any]:
    """What is neither a modality nor a flag: y, under whatever name, and what stands beside."""
    own = {*_members(groups), *map(present, groups)}
    others = {key: value for key, value in values.items() if key not in own}
    if label:
        if label not in others:
            raise DataError("modalities", f"labels under the name {label!r}", f"{list(others)}", "name one of these")
        others = {key: value for key, value in others.items() if key not in ("y", label)} | {"y": others[label]}
    if label == "":
        others.pop("y", None)
    elif "y" not in others and rows.classes is not None:
        others["y"] = rows.classes
    return others


def _with_others(table: Table, others: Mapping[str, Any], where: str) -> Table:
    """The table with values beside x, labels as numbers."""
    if not others:
        return table
    found = table_of({"x": np.zeros(len(table.arrays["x"]), np.float32), **others}, where)
    arrays = {key: array for key, array in found.arrays.items() if key != "x"}
    return replace(table, arrays={**table.arrays, **arrays}, labels=found.labels, notes=(*table.notes, *found.notes))


def _flag(given: Any, where: str) -> np.ndarray:
    found = array_of(given, where)
    if found.ndim != 1 or not np.isin(found, (0, 1)).all():
        raise DataError(where, "True or False for every row", f"{found.dtype} {list(found.shape)}")
    return found.astype(bool)


def _together(wholes: Mapping[str, Whole], flags: Mapping[tuple[str, str], Tensor], name: str, call: Any) -> Whole:
    first = next(iter(wholes.values()))
    notes = [note for whole in wholes.values() for note in whole.notes if GAPS not in note]
    parts: dict[str, Mapping[str, Tensor]] = {}
    for part, tensors in first.parts.items():
        made: Mapping[str, Tensor] = {key: value for key, value in tensors.items() if key not in ("x", "seen")}
        lengths = {modality: whole.length(part) for modality, whole in wholes.items()}
        lengths |= {present(modality): len(flag) for (of, modality), flag in flags.items() if of == part}
        if len(set(lengths.values())) > 1:
            raise DataError(name, "as many rows of every modality", f"{lengths}", "say what is missing by None or NaN")
        for modality, whole in wholes.items():
            held = whole.parts[part]
            made = {**made, modality: held["x"]}
            seen = held["seen"].expand_as(held["x"]) if "seen" in held else torch.ones(len(held["x"]), 1) > 0
            if (part, modality) in flags:
                seen = seen & flags[part, modality].view(-1, *[1] * (seen.ndim - 1))
            made, said = marked(made, modality, seen)
            notes += [f"{name}: {said}"] if said else []
        parts[part] = made
    specs = {
        modality: replace(whole.spec, classes=None, y=None, labels=None, label=None, beside=())
        for modality, whole in wholes.items()
    }
    features = {modality: whole.features["x"] for modality, whole in wholes.items()}
    return Whole(
        name,
        call,
        same_flags(parts, [*wholes]),
        several(first.spec, specs),
        features=features,
        notes=tuple(notes),
        own=True,
    )


def from_values(values: Mapping[str, Any], asked: Options) -> Whole:
    """The whole of a user's values by name; without groups, all of them are modalities but y and flags."""
    groups = asked.groups or groups_of([name for name in values if name != "y" and not name.endswith(PRESENT)])
    if not holds_paths(values):
        return joined({"all": values}, groups, asked, "tensors", "")
    paths = {
        name: str(Path(each).expanduser().resolve()) for name, each in values.items() if isinstance(each, (str, Path))
    }
    call = paths if len(paths) == len(values) else ""
    return joined({"all": {**values, **paths}}, groups, asked, "+".join(groups), call)


def holds_paths(values: Mapping[str, Any]) -> bool:
    """Whether some of the values are files or folders."""
    return any(isinstance(each, (str, Path)) for each in values.values())


def by_names(anything: Any, groups: Groups) -> dict[str, Any] | None:
    """The values by name, of a mapping or a Dataset of mappings, if modalities are named as they are; else None."""
    if not groups or is_frame(anything) or isinstance(anything, (np.ndarray, Tensor)):
        return None
    values = by_name(anything, "data")
    return values if all(name in values for name in _members(groups)) else None


def arrays_named(path: Path, groups: Groups) -> dict[str, dict[str, np.ndarray]] | None:
    """The arrays of an .npz by part, if modalities are named as they are; None for fields, a table and others.

    Fields of one shape are a series, but where the file says which rows have them.
    """
    fields, parts = field_names(path), None
    if not {*_members(groups)} <= {*fields} or any(name.endswith(PRESENT) for name in array_names(path)):
        parts = npz_parts(path, gaps=True)
    return parts if parts and all(by_names(values, groups) is not None for values in parts.values()) else None
