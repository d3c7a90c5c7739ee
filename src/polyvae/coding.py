"""Columns of what a user gives in the codes and the order of the data of a run: categories and labels go by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.frames import known_cells
from polyvae.data.split import Split, floats
from polyvae.data.table import is_number, label_of
from polyvae.spec import Column, Spec


def framed(cells: Mapping[str, np.ndarray], columns: Sequence[Column]) -> Tensor:
    """The columns of the data, out of those of a frame; ValueError for one that is missing or of another kind."""
    _check_names(cells, columns)
    return torch.stack([torch.from_numpy(_numbers(cells[str(column.name)], column)) for column in columns], 1)


def partly_framed(frame: Any, columns: Sequence[Column], seen: np.ndarray | None, where: str) -> Tensor:
    """The same of a frame in which cells may be missing: these, and those that are not `seen` [N or 1, d], are NaN."""
    names = {str(name): name for name in frame.columns}
    _check_names(names, columns)
    x = np.full((len(frame), len(columns)), np.nan, dtype=np.float32)
    for place, column in enumerate(columns):
        cells, known = known_cells(frame[names[str(column.name)]], f"{where}, column {column.name!r}")
        read = known if seen is None else known & seen[:, place]
        x[read, place] = _numbers(cells[read[known]], column)
    return torch.from_numpy(x)


def check_values(x: Tensor, columns: Sequence[Column]) -> None:
    """Raises ValueError for values of x [N, D, ...] that are not of their column's kind; NaN is of every kind."""
    if x.ndim < 2 or x.shape[1] != len(columns):
        return
    groups: dict[tuple[str, int], list[int]] = {}  # columns of one kind at once: there may be thousands
    for place, column in enumerate(columns):
        groups.setdefault((column.kind, len(column.labels or ())), []).append(place)
    for (kind, count), places in groups.items():
        values = x[:, places]
        bad = ~(_holds(values, kind, count) | values.isnan())
        if bool(bad.any()):
            row, at, *rest = bad.nonzero()[0].tolist()
            column, place = columns[places[at]], places[at]
            called = place if column.name is None else repr(column.name)
            words = f"the codes 0 to {count - 1} of {', '.join(column.labels)}" if column.labels else _WORDS[kind]
            raise ValueError(
                f"column {called} holds {words} in the data of this run; row {row} has {values[row, at, *rest]:g}; "
                "mend it, or leave it NaN and have it completed (run.complete)"
            )


_WORDS = {
    "bits": "zeros and ones",
    "counts": "whole numbers from 0 on",
    "positive": "positive numbers",
    "grey": "values in [0, 1]",
}


def _holds(x: Tensor, kind: str, count: int) -> Tensor:
    """Whether values are of a kind; `count`: of the labels of a category."""
    whole, natural = x == x.round(), x >= 0
    return {
        "bits": (x == 0) | (x == 1),
        "category": whole & natural & (x < count),
        "counts": whole & natural,
        "positive": x > 0,
        "grey": natural & (x <= 1),
    }.get(kind, torch.ones_like(natural))


def coded(x: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """Numbers [N, d] that stand for categories as their codes, where the data had them so; NaN stays."""
    places = [place for place, column in enumerate(columns) if column.labels and all(map(is_number, column.labels))]
    if not places or x.shape[1:] != (len(columns),):
        return x
    x = x.astype(np.float32 if x.dtype.itemsize < 4 else x.dtype)
    for place in places:
        known = ~np.isnan(x[:, place])
        x[known, place] = codes(x[known, place], columns[place])
    return x


def valued(x: Tensor, columns: Sequence[Column]) -> Tensor:
    """x [..., D] in which codes of categories are the numbers that the data had for them; NaN stays. Undoes `coded`.

    In double precision where single does not tell them apart.
    """
    numbers = {place: found for place, column in enumerate(columns) if (found := numbers_of(column)) is not None}
    if not numbers or x.shape[-1:] != (len(columns),):
        return x
    single = all((values == values.astype(np.float32)).all() for values in numbers.values())
    x = x.clone() if single else x.double()
    for place, values in numbers.items():
        known = ~x[..., place].isnan()
        x[..., place][known] = torch.from_numpy(values).to(x)[x[..., place][known].round().long()]
    return x


def numbers_of(column: Column) -> np.ndarray | None:
    """The numbers behind the codes of a category, int64 or float64 [K]; None of another column, or labels of text."""
    labels = column.labels or ()
    if not labels or not all(is_number(label) and label_of(float(label)) == label for label in labels):
        return None
    values = np.array(labels, dtype=np.float64)
    return values.astype(np.int64) if (values == values.round()).all() else values


def translated(split: Split, theirs: Spec, spec: Spec) -> Split:
    """A part of other data, of the spec `theirs`, as the data of `spec` hold it: columns, categories, labels by name.

    Raises ValueError for a column that is missing, and for categories and labels that the data of `spec` do not know.
    """
    made: dict[str, Tensor] = {}
    known = [[(column.name, column.labels) for column in each.columns] for each in (theirs, spec)]
    if theirs.columns and spec.columns and known[0] != known[1]:
        made["x"] = _arranged(floats(split.tensors["x"]), theirs.columns, spec.columns)
    if theirs.classes is not None and spec.classes is not None and labels_of(theirs) != labels_of(spec):
        y = split.tensors["y"]
        made["y"] = classes(np.array(labels_of(theirs))[y.cpu().numpy()], spec).to(y.device)
    return replace(split, tensors={**split.tensors, **made}) if made else split


def _arranged(x: Tensor, theirs: Sequence[Column], ours: Sequence[Column]) -> Tensor:
    """x [N, D, ...] of the columns `theirs` as `ours`, by name where both have names, by place otherwise."""
    order = list(range(len(theirs)))
    if named(theirs) and named(ours):
        places = {str(column.name): place for place, column in enumerate(theirs)}
        _check_names(places, ours)
        order = [places[str(column.name)] for column in ours]
    if len(order) != len(ours):
        return x  # of another shape, which is refused as such
    pairs = zip(order, ours, strict=True)
    return torch.stack([_recoded(x[:, place], theirs[place], column) for place, column in pairs], 1)


def _recoded(values: Tensor, theirs: Column, ours: Column) -> Tensor:
    """The values of one column, codes of their labels or numbers, as those of ours."""
    if theirs.labels == ours.labels:
        return values
    if theirs.labels is None:
        return torch.from_numpy(_numbers(values.cpu().numpy(), ours)).to(values.device)
    held = values.unique().long().cpu().numpy()  # others of their labels need not be known here
    found = torch.zeros(len(theirs.labels))
    found[torch.from_numpy(held)] = torch.from_numpy(_numbers(np.array(theirs.labels)[held], ours))
    return found.to(values.device)[values.long()]


def _numbers(values: np.ndarray, column: Column) -> np.ndarray:
    """Cells of numbers or text as the data hold them, float32 of the same shape."""
    if column.labels is not None:
        return codes(values, column)
    if values.dtype.kind == "U" and not all(is_number(value) for value in values.flat):
        raise ValueError(f"column {column.name!r} holds numbers in the data of this run; got text")
    return values.astype(np.float32)


def codes(values: np.ndarray, column: Column) -> np.ndarray:
    """The codes of categories given as text or numbers, float32 of the same shape. Raises ValueError for others."""
    known = {label: code for code, label in enumerate(column.labels or ())}
    distinct, place = np.unique(values, return_inverse=True)
    names = [label_of(value) for value in distinct.tolist()]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"column {column.name!r} holds {', '.join(known)} in the data of this run; got {unknown[:5]}")
    return np.array([known[name] for name in names], dtype=np.float32)[place].reshape(values.shape)


def classes(y: Any, spec: Spec) -> Tensor:
    """The classes [N] that labels stand for, by name where the data name them. Raises ValueError for others."""
    values = y.tolist() if hasattr(y, "tolist") else list(y)
    known = labels_of(spec)
    places = {label: code for code, label in enumerate(known)}
    given = [label_of(value) for value in values]
    if unknown := sorted(set(given) - set(places)):
        shown = ", ".join(known) if spec.labels else f"0..{len(known) - 1}"
        raise ValueError(f"labels of the data of this run are {shown}; got {', '.join(unknown[:5])}")
    return torch.tensor([places[name] for name in given], dtype=torch.int64)


def labels_of(spec: Spec) -> tuple[str, ...]:
    """What the classes are called, their numbers where they have no names."""
    return spec.labels or tuple(map(str, range(spec.classes or 0)))


def named(columns: Sequence[Column]) -> bool:
    """Whether there are columns, all with names."""
    return bool(columns) and all(column.name is not None for column in columns)


def names_of(columns: Sequence[Column]) -> list[str]:
    """The names of columns, as text."""
    return [str(column.name) for column in columns]


def _check_names(given: Mapping[str, Any], columns: Sequence[Column]) -> None:
    if missing := [name for name in names_of(columns) if name not in given]:
        lacking = f"the column{'s' * (len(missing) > 1)} {', '.join(map(repr, missing[:20]))}"
        raise ValueError(f"the data lack {lacking}; add it as NaN to have it completed (run.complete)")
