"""A user's values as checked tensors by name: one leading dimension, bytes or finite float32, int64 labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from polyvae.data.columns.labels import KNOWN, missing, told, two_signs
from polyvae.data.columns.table import Table, assembled, numbered, numbered_features
from polyvae.data.errors import DataError
from polyvae.data.memory_maps import pieces
from polyvae.data.readers.frames import (
    annotated_table,
    dense,
    frame_cells,
    frame_columns,
    is_annotated,
    is_frame,
    is_sparse,
)
from polyvae.data.readers.gaps import check_mask, masked_levels, shown, with_mask
from polyvae.data.readers.values import array_of, condition, features, mask, mixed, rows
from polyvae.model.spec import Spec


def tensors_of(anything: Any, where: str, label: str | None = None) -> dict[str, Tensor]:
    """Named tensors from a tensor, array, pair (x, y), mapping, bunch, map-style Dataset, DataLoader or `Table`.

    Also from a data frame, a scipy sparse matrix (made dense) and annotated data (AnnData), whose `label` names the
    column of labels, or the value of a mapping; see `table_of`. Pictures are [N, H, W], [N, C, H, W] or, under `x` with
    up to 3 channels, [N, H, W, C]: bytes, or floats in [0, 1]; with values outside these they are fields. Tables are
    [N, d] or [N]: any finite numbers. `y` is [N], whole numbers or names, returned as int64 0..K-1 in their order, or
    floats [N, d] or pictures, a condition. `seen`, a mask that broadcasts to x, says which of its values are there;
    others may be anything, and come back as some that are there. Items of a Dataset are read once, in order. `where`
    names the source in a DataError, which is raised for an empty or object-typed source, values that are missing, not
    finite or out of range, examples of mixed sizes, and missing, negative or fractional labels.
    """
    columns = table_of(anything, where, label).arrays
    for name, array in columns.items():
        if array.ndim == 0:
            raise DataError(f"{where}[{name!r}]", "a leading dimension of examples", "shape []", "give an array")
    lengths = {name: len(array) for name, array in columns.items()}
    if not lengths or 0 in lengths.values():
        raise DataError(where, "at least one example", f"{lengths or 'nothing'}", "give data that is not empty")
    if len(set(lengths.values())) > 1:
        raise DataError(where, "as many examples under every name", f"{lengths}", "give each example every value")
    checks = {"y": condition, "seen": mask, KNOWN: rows}
    found = {name: checks.get(name, features)(array, name, where) for name, array in columns.items()}
    if "seen" in found and "x" in found:
        check_mask(found["seen"].shape, found["x"].shape, where)
    return found


def table_of(
    anything: Any,
    where: str,
    label: str | None = None,
    skip_bad: bool = False,
    first: Table | None = None,
    gaps: bool = False,
) -> Table:
    """The arrays of a user's values, by name, with facts that tensors do not hold; the values are not checked yet.

    `label`: the column of labels in a data frame (default: label, class, y of classes), the column of obs that labels
    annotated data, or the value of a mapping that serves as y; "" means none. With `skip_bad`, rows of a data frame
    with a missing cell are left out, with `gaps` they and NaN in arrays are kept, and `seen` says what is there.
    Columns are what they are in the `first` of several parts. Raises DataError if the label names nothing, and as
    `tensors_of` for what is no array.
    """
    if isinstance(anything, Table):
        return anything
    if is_annotated(anything):
        return annotated_table(anything, label, where)
    if is_frame(anything):
        return assembled(*frame_cells(anything, where), label, where, skip_bad, first, gaps)
    named = by_name(anything, where)
    if label and label not in named:
        raise DataError(where, f"labels under the name {label!r}", f"{list(named)}", "name one of these")
    if label is not None:
        named = {name: value for name, value in named.items() if name != "y"} | ({"y": named[label]} if label else {})
        named = {name: value for name, value in named.items() if name == "y" or name != label}
    found = _facts({name: _part(value, name, where, gaps) for name, value in named.items()}, where, gaps)
    return with_mask(found, where, gaps)


def tables_apart(parts: Mapping[str, Any], label: str | None, gaps: bool = False) -> dict[str, Table]:
    """The tables of parts that are given separately, by name; columns are what they are in the first."""
    first, *others = parts
    found = {first: table_of(parts[first], first, label, gaps=gaps)}
    return found | {part: table_of(parts[part], part, label, first=found[first], gaps=gaps) for part in others}


def _part(value: Any, name: str, where: str, gaps: bool = False) -> Table:
    """One named value as a table of its own."""
    place = f"{where}[{name!r}]"
    if is_sparse(value):
        found = dense(value, place)
        return replace(found, arrays={name: found.arrays["x"]})
    if is_frame(value):
        if name == "y":
            columns = frame_columns(value, place)
            return Table(
                {name: next(iter(columns.values())) if len(columns) == 1 else np.stack([*columns.values()], 1)}
            )
        found = assembled(*frame_cells(value, place), "", place, keep=gaps and name == "x")
        return replace(found, arrays={**found.arrays, name: found.arrays["x"]})
    if name == "x" and np.ma.is_masked(value) and value.ndim > 2 and value.dtype.kind in "iu":
        return Table(masked_levels(value))
    return Table({name: array_of(value, place, text=name == "y")})


def _facts(parts: Mapping[str, Table], where: str, gaps: bool) -> Table:
    """The table of all named values: facts about x, labels as numbers; with `gaps` some labels may be missing."""
    arrays = {name: part.arrays[name] for name, part in parts.items()}
    if "x" in parts and "seen" in parts["x"].arrays:
        held = parts["x"].arrays["seen"]
        arrays["seen"] = held & shown(arrays["seen"], held, where) if "seen" in arrays else held
    main = "x" if "x" in parts else next(iter(parts), "x")
    features = parts[main].features if main in parts else ()
    if not features and main in arrays:
        features = numbered_features(arrays[main], arrays[main].dtype)
    y, labels, notes = arrays.get("y"), None, [note for part in parts.values() for note in part.notes]
    if gaps and y is not None and y.ndim == 1 and len(y) and (absent := missing(y)).any():
        arrays |= told(y, ~absent, f"{where}['y']")
        how = "missing, and kept as gaps" if y.dtype.kind in "fU" else "-1, and taken for missing"
        notes.append(f"{where}['y']: {int(absent.sum()):,} of {len(y):,} labels are {how}")
        y = arrays["y"]
        if y.dtype.kind == "f" and (y == y.round()).all():
            arrays["y"] = y = y.astype(np.int64)
    if (
        y is not None
        and y.ndim == 1
        and len(y)
        and (y.dtype.kind == "U" or (y.dtype.kind in "biu" and (y.min() >= 0 or two_signs(y))))
    ):
        arrays["y"], labels = numbered(y, f"{where}['y']")
    return Table(arrays, features, labels, tuple(notes))


def spec_of(tensors: Mapping[str, Tensor]) -> Spec:
    """The spec of named tensors; without an `x`, the first name stands for it.

    Grey levels: 256 for bytes and for float pictures on the grid k/255, 2 for zeros and ones, None for other values.
    """
    x = tensors["x"] if "x" in tensors else next(iter(tensors.values()))
    y = tensors.get("y")
    labelled = y is not None and y.ndim == 1
    return Spec(
        x=tuple(x.shape[1:]),
        classes=int(y.max()) + 1 if y is not None and labelled else None,
        y=None if y is None or labelled else y.shape[1] if y.ndim == 2 else tuple(y.shape[1:]),
        levels=_levels(x),
    )


def _levels(x: Tensor) -> int | None:
    if x.dtype is torch.uint8 and x.ndim > 2:
        return 2 if _all(x, lambda part: (part == 0) | (part == 255)) else 256
    if _all(x, lambda part: (part == 0) | (part == 1)):
        return 2
    on_grid = x.ndim == 4 and _all(x, lambda part: (part * 255 - (part * 255).round()).abs() < 1e-3)
    return 256 if on_grid else None


def _all(x: Tensor, condition: Any) -> bool:
    """Whether a condition holds for all values, tested on some examples at a time: most data fail early."""
    return all(bool(condition(part).all()) for part in pieces(x))


def by_name(anything: Any, where: str) -> dict[str, Any]:
    """Names for what was given, such as x and y for a pair, without looking at the values."""
    if isinstance(anything, (str, Path)):
        raise DataError(where, "values", f"the name {str(anything)!r}", "polyvae.data.load reads a name or a path")
    loader = isinstance(anything, DataLoader)
    source = cast(Any, anything.dataset if loader else anything)
    if isinstance(source, TensorDataset):
        return by_name(source.tensors, where)
    if loader or isinstance(source, Dataset):
        if not isinstance(source, IterableDataset) and hasattr(source, "__len__"):
            return _joined((source[i] for i in range(len(cast(Any, source)))), where, torch.stack)
        return _joined(anything, where, torch.cat if loader else torch.stack)
    if hasattr(anything, "target") and hasattr(anything, "data"):
        return {"x": anything.data, "y": anything.target}
    if isinstance(anything, Mapping):
        return {str(name): value for name, value in anything.items()}
    if isinstance(anything, tuple):
        if len(anything) not in (1, 2):
            raise DataError(where, "a pair (x, y)", f"a tuple of {len(anything)}", "name the values in a mapping")
        return dict(zip(("x", "y"), anything, strict=False))
    return {"x": anything}


def _joined(items: Iterable[Any], where: str, join: Any) -> dict[str, Tensor]:
    """The items of a data set, or the batches of a loader, joined name by name."""
    rows: dict[str, list[Tensor]] = {}
    names: list[str] | None = None
    for number, item in enumerate(items):
        if isinstance(item, list):  # a loader's default collation makes lists of pairs
            item = tuple(item)
        columns = by_name(item, f"{where}, item {number}")
        names = names or list(columns)
        if list(columns) != names:
            raise DataError(where, f"the values {names} in every item", f"{list(columns)} in item {number}")
        for name, value in columns.items():
            rows.setdefault(name, []).append(torch.as_tensor(array_of(value, f"{where}, item {number}[{name!r}]")))
    for name, values in rows.items():
        first = values[0].shape if join is torch.stack else values[0].shape[1:]
        for number, value in enumerate(values):
            shape = value.shape if join is torch.stack else value.shape[1:]
            if shape != first:
                raise mixed(f"{where}[{name!r}]", tuple(first), tuple(shape), number)
    return {name: join(values) for name, values in rows.items()}
