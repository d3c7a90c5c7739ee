"""A user's columns in the order and the codes of a run's data: columns, categories and labels go by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.columns.gaps import check_missing
from polyvae.data.columns.kinds import holds
from polyvae.data.columns.roles import is_index
from polyvae.data.columns.table import is_number, label_of
from polyvae.data.memory_maps import having
from polyvae.data.readers.frames import annotated_table, is_annotated, is_frame, known_cells, series_of
from polyvae.data.split import Data, Split, floats
from polyvae.model.spec import Column, Spec


def cells_of(x: Any, where: str) -> dict[str, Any] | None:
    """The columns [N] of a frame or of annotated data, by name; None for data without named columns."""
    if is_frame(x):
        return series_of(x, where)
    if not is_annotated(x):
        return None
    table = annotated_table(x, "", where)
    return {each.name: cells for each, cells in zip(table.features, table.arrays["x"].T, strict=True)}


def places_of(cells: Mapping[str, Any], columns: Sequence[Column], label: str | None) -> list[int]:
    """The indices of the data's columns among those of `cells`, which may have more.

    Columns go by name. Columns of the data without names are called by their index there. Columns of other names follow
    in order, except an index, the `label`, and, if all those called by index are there, text. Raises ValueError for
    a named column that is missing; the caller checks how many there are.
    """
    at = {name: place for place, name in enumerate(cells)}
    if named(columns):
        _check_names(at, columns)
        return [at[name] for name in names_of(columns)]
    numbers = dict.fromkeys(map(str, range(len(columns))))
    others = [name for name in at if name != label and not is_index(at[name], name)]
    if set(numbers) <= set(others):
        more = [name for name in others if name not in numbers and np.asarray(cells[name]).dtype.kind in "biuf"]
        return [at[name] for name in (*numbers, *more)]
    return list(map(at.__getitem__, others))


def framed(
    cells: Sequence[Any], columns: Sequence[Column], where: str, gaps: bool = False, seen: np.ndarray | None = None
) -> Tensor:
    """x [N, D] from the `cells` [N] of each column; with `gaps`, missing cells that are not `seen` [N or 1, D] are NaN.

    Raises ValueError for cells of another kind, and without `gaps` DataError if some are missing.
    """
    x = np.full((len(cells[0]), len(columns)), np.nan, dtype=np.float32)
    missing: dict[str, int] = {}
    for place, (one, column) in enumerate(zip(cells, columns, strict=True)):
        values, known = known_cells(one, f"{where}, column {_called(column, place)}")
        missing[column.name or str(place)] = int((~known).sum())
        read = known if seen is None else known & seen[:, place]
        x[read, place] = _numbers(values[read[known]], column, place)
    if not gaps:
        check_missing(missing, where)
    return torch.from_numpy(x)


def _called(column: Column, place: int) -> str:
    """A column by its name, or by its index if it has none."""
    return str(place) if column.name is None else repr(column.name)


def check_values(x: Tensor, columns: Sequence[Column]) -> None:
    """Raises ValueError for values of x [N, D, ...] that do not fit the kind of their column; NaN fits every kind."""
    if x.ndim < 2 or x.shape[1] != len(columns):
        return
    groups: dict[tuple[str, int], list[int]] = {}  # columns of one kind at once: there may be thousands
    for place, column in enumerate(columns):
        groups.setdefault((column.kind, len(column.labels or ())), []).append(place)
    for (kind, count), places in groups.items():
        values = x[:, places]
        bad = ~(holds(values, kind, count) | values.isnan())
        if bool(bad.any()):
            row, at, *rest = bad.nonzero()[0].tolist()
            column, place = columns[places[at]], places[at]
            words = f"the codes 0 to {count - 1} of {', '.join(column.labels)}" if column.labels else _WORDS[kind]
            raise ValueError(
                f"column {_called(column, place)} holds {words} in the data of this run; row {row} has "
                f"{values[row, at, *rest]:g}; mend it, or leave it NaN and have it completed (run.complete)"
            )


_WORDS = {
    "bits": "zeros and ones",
    "counts": "whole numbers from 0 on",
    "positive": "positive numbers",
    "grey": "values in [0, 1]",
}


def coded(x: np.ndarray, columns: Sequence[Column], seen: np.ndarray | None = None) -> np.ndarray:
    """Numbers [N, d] with codes for the numbers that were categories in the data; NaN stays.

    Values that are not `seen`, bool [N or 1, d], stay too.
    """
    places = [place for place, column in enumerate(columns) if numbers_of(column.labels) is not None]
    if not places or x.shape[1:] != (len(columns),):
        return x
    x = x.astype(np.float32 if x.dtype.itemsize < 4 else x.dtype)
    for place in places:
        known = ~np.isnan(x[:, place])
        known = known if seen is None else known & seen[:, place]
        x[known, place] = codes(x[known, place], columns[place], place)
    return x


def valued(x: Tensor, columns: Sequence[Column]) -> Tensor:
    """The inverse of `coded`: x [..., D] with the data's own numbers for codes of categories; NaN stays.

    The result is in double precision if single cannot tell the numbers apart, and int64 if double cannot either and all
    columns are such codes; beside other columns, which integers cannot hold, these codes stay.
    """
    numbers = {place: found for place, column in enumerate(columns) if (found := numbers_of(column.labels)) is not None}
    if not numbers or x.shape[-1:] != (len(columns),):
        return x
    exact = [torch.float32, torch.float64]
    if len(numbers) == len(columns) and not bool(x.isnan().any()):
        exact.append(torch.int64)
    fits = [dtype for dtype in exact if all(_holds_all(dtype, values) for values in numbers.values())]
    codes, x = x, x.clone() if torch.float32 in fits else x.to(fits[0] if fits else torch.float64)
    for place, values in numbers.items():
        known = ~codes[..., place].isnan()
        if fits or _holds_all(torch.float64, values):
            x[..., place][known] = torch.from_numpy(values).to(x)[codes[..., place][known].round().long()]
    return x


def _holds_all(dtype: torch.dtype, values: np.ndarray) -> bool:
    """Whether numbers keep their values in another type."""
    given = torch.from_numpy(values)
    return bool((given.to(dtype).to(given.dtype) == given).all())


def numbers_of(labels: Sequence[str] | None) -> np.ndarray | None:
    """The numbers that labels name, int64 or float64 [K]; None without labels, or if one is a text."""
    labels = labels or ()
    if not labels or not all(is_number(label) and _plain(label) == label for label in labels):
        return None
    try:
        return np.array([int(label) for label in labels], np.int64)
    except (OverflowError, ValueError):
        values = np.array(labels, np.float64)
        return values if all(map(str.__eq__, map(label_of, values.tolist()), labels)) else None


def translated(split: Split, theirs: Spec, spec: Spec) -> Split:
    """A part of other data, of the spec `theirs`, as the data of `spec`: columns, categories and labels go by name.

    Raises ValueError for a missing column, and for categories and labels that `spec` does not know.
    """
    made: dict[str, Tensor] = {}
    for name, ours in spec.values.items():
        other = theirs.values.get(name)
        known = [
            [(column.name, column.labels) for column in each.columns] for each in (other, ours) if each is not None
        ]
        if other is not None and other.columns and ours.columns and known[0] != known[1]:
            made[name] = _arranged(floats(split.tensors[name]), other.columns, ours.columns)
    if theirs.classes is not None and spec.classes is not None and labels_of(theirs) != labels_of(spec):
        y = split.tensors["y"]
        made["y"] = classes(np.array(labels_of(theirs))[y.cpu().numpy()], spec).to(y.device)
    return replace(split, tensors=having(split.tensors, made)) if made else split


def retold(data: Data, spec: Spec | None) -> Data:
    """All parts of other data in the order and the codes of `spec`; the same data if nothing differs.

    Raises ValueError as `translated`.
    """
    if spec is None:
        return data
    made = {part: translated(split, data.spec, spec) for part, split in data.parts.items()}
    if all(made[part] is split for part, split in data.parts.items()):
        return data
    held = {"x": spec.x, "columns": spec.columns, "modalities": spec.modalities}
    told = replace(data.spec, **held, classes=spec.classes, labels=spec.labels)
    return replace(data, **made, spec=told)


def _arranged(x: Tensor, theirs: Sequence[Column], ours: Sequence[Column]) -> Tensor:
    """x [N, D, ...] of the columns `theirs` as `ours`: matched by name if both have names, else by index."""
    order = list(range(len(theirs)))
    if named(theirs) and named(ours):
        places = {str(column.name): place for place, column in enumerate(theirs)}
        _check_names(places, ours)
        order = [places[str(column.name)] for column in ours]
    if len(order) != len(ours):
        return x  # of another shape, which is refused as such
    pairs = zip(order, ours, strict=True)
    return torch.stack([_recoded(x[:, n], theirs[n], column, place) for place, (n, column) in enumerate(pairs)], 1)


def _recoded(values: Tensor, theirs: Column, ours: Column, place: int) -> Tensor:
    """One column's values, codes of its own labels or numbers, in the codes of ours."""
    if theirs.labels == ours.labels:
        return values
    if theirs.labels is None:
        numbers = numbers_of(ours.labels)
        if numbers is not None and not _holds_all(torch.float32, numbers):
            advice = f"load the data with kind='{ours.name or place}=category'"
            raise ValueError(f"column {_called(ours, place)} holds numbers that single precision rounds; {advice}")
        return torch.from_numpy(_numbers(values.cpu().numpy(), ours, place)).to(values.device)
    held = values.unique().long().cpu().numpy()  # others of their labels need not be known here
    found = torch.zeros(len(theirs.labels))
    found[torch.from_numpy(held)] = torch.from_numpy(_numbers(np.array(theirs.labels)[held], ours, place))
    return found.to(values.device)[values.long()]


def _numbers(values: np.ndarray, column: Column, place: int) -> np.ndarray:
    """Cells of numbers or text as float32 of the same shape, in the data's codes."""
    if column.labels is not None:
        return codes(values, column, place)
    if values.dtype.kind == "U" and not all(is_number(value) for value in values.flat):
        raise ValueError(f"column {_called(column, place)} holds numbers in the data of this run; got text")
    return values.astype(np.float32)


def codes(values: np.ndarray, column: Column, place: int) -> np.ndarray:
    """The codes of categories given as text or numbers, float32 of the same shape. Raises ValueError for others."""
    known = column.labels or ()
    distinct, at = np.unique(values, return_inverse=True)
    found, unknown = _codes([label_of(value) for value in distinct.tolist()], known)
    if unknown:
        holds = f"column {_called(column, place)} holds {', '.join(known)}"
        raise ValueError(f"{holds} in the data of this run; got {unknown[:5]}")
    return np.array(found, dtype=np.float32)[at].reshape(values.shape)


def classes(y: Any, spec: Spec) -> Tensor:
    """The classes [N] of labels, by name if the data name them. Raises ValueError for others."""
    values = y.tolist() if hasattr(y, "tolist") else list(y)
    known = labels_of(spec)
    found, unknown = _codes([label_named(value) for value in values], known)
    if unknown:
        shown = ", ".join(known) if spec.labels else f"0..{len(known) - 1}"
        got = ", ".join(name or "one that is missing" for name in unknown[:5])
        raise ValueError(f"labels of the data of this run are {shown}; got {got}")
    return torch.tensor(found, dtype=torch.int64)


def label_named(value: Any) -> str:
    """The name of a label, which of one that is missing is empty: None, or NA of pandas."""
    return "" if value is None or str(value) == "<NA>" else label_of(value)


def _codes(names: Sequence[str], known: Sequence[str]) -> tuple[list[int], list[str]]:
    """The indices of names among the `known` ones, and the names that are not known.

    Names that stand for the same number are the same: files have 1 where frames have "01" or True.
    """
    places = {label: code for code, label in enumerate(known)}
    plain = {_plain(label): code for code, label in enumerate(known)}
    alike = plain if len(plain) == len(known) else {}
    found = {name: places.get(name, alike.get(_plain(name))) for name in set(names)}
    unknown = sorted(name for name, code in found.items() if code is None)
    return [] if unknown else [found[name] for name in names], unknown  # pyright: ignore[reportReturnType]


def _plain(name: str) -> str:
    """A name in the form of `label_of` for the number that it stands for: "1" for "01", "1.0" and "True"."""
    name = {"false": "0", "true": "1"}.get(name.lower(), name)
    if not is_number(name):
        return name
    return str(int(name)) if name.lstrip("+-").isdigit() else label_of(float(name))


def labels_of(spec: Spec) -> tuple[str, ...]:
    """The names of the classes; their numbers if they have no names."""
    return spec.labels or tuple(map(str, range(spec.classes or 0)))


def named(columns: Sequence[Column]) -> bool:
    """Whether there are columns and all have names."""
    return bool(columns) and all(column.name is not None for column in columns)


def names_of(columns: Sequence[Column]) -> list[str]:
    """The names of columns, as text."""
    return [str(column.name) for column in columns]


def _check_names(given: Mapping[str, Any], columns: Sequence[Column]) -> None:
    if missing := [name for name in names_of(columns) if name not in given]:
        lacking = f"the column{'s' * (len(missing) > 1)} {', '.join(map(repr, missing[:20]))}"
        raise ValueError(f"the data lack {lacking}; add it as NaN to have it completed (run.complete)")
