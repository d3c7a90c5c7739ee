"""Examples with their missing values filled in, in the type that was given; all else stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.columns.table import label_of
from polyvae.data.exchange.codes import cells_of, places_of
from polyvae.data.exchange.returned import examples, returned
from polyvae.data.readers.frames import is_frame, known_cells, series_of
from polyvae.data.split import Data, Split
from polyvae.model.spec import Column

WHERE = "the data"


def filled_in(
    x: Any, values: Tensor, columns: Sequence[Column], label: str | None = None, seen: Tensor | None = None
) -> Any:
    """x, as it was given, with these values [N, ...], in the codes of the data, where it has none.

    `seen`: which values of x are there, a mask that broadcasts to these values; all where none is given.

    A data frame keeps its other columns, its index and its dtypes: bits, and what comes into columns of whole numbers,
    are rounded, whatever rows stand beside; categories come as the frame has them. Arrays and tensors are copies, of a
    masked one a plain array.
    """
    like = examples(x)
    if columns and is_frame(like):
        cells = cells_of(like, WHERE) or {}
        places = dict(zip(places_of(cells, columns, label), columns, strict=True))
        names = [name for name, _ in zip(like.columns, cells, strict=True)]
        found = values.cpu().numpy()
        made = {names[n]: (found[:, j], column) for j, (n, column) in enumerate(places.items())}
        return _frame(like, made)
    made = returned(values, x, 0, columns)
    if isinstance(x, (Data, Split)) or not hasattr(like, "shape"):
        return made
    seen = torch.ones(1, dtype=torch.bool) if seen is None else seen
    there = returned(seen.expand_as(values).float(), x) > 0
    if isinstance(like, Tensor):
        return torch.where(there, like, made) if like.is_floating_point() else made.to(like.dtype)
    array = np.asarray(like)  # of a masked one what is under the mask, too
    return np.where(there, array, made).astype(array.dtype) if array.dtype.kind == "f" else made


def _frame(frame: Any, made: dict[Any, tuple[np.ndarray, Column]]) -> Any:
    """A copy of the frame with the cells of some columns filled in, those that it lacks."""
    series = series_of(frame, WHERE)
    changed = {}
    for name, (found, column) in made.items():
        cells = series[str(name)]
        known_values, known = known_cells(cells, WHERE)
        if known.all():
            continue
        changed[name] = _column(cells, found[~known], np.flatnonzero(~known), column, known_values)
    if hasattr(frame, "iloc"):
        return _assigned(frame, changed)
    return frame.with_columns(list(changed.values()))


def _assigned(frame: Any, changed: dict[Any, Any]) -> Any:
    copied = frame.copy()
    for name, series in changed.items():
        copied[name] = series
    return copied


def _column(series: Any, values: np.ndarray, rows: np.ndarray, column: Column, known: np.ndarray) -> Any:
    """A copy of one column with values in these rows, in its own dtype."""
    dtype, known_kind = str(series.dtype).lower(), known.dtype.kind
    categories = getattr(getattr(series, "cat", None), "categories", None)
    bare = dtype == "object" and not len(known)  # nothing beside them tells what the cells are: the data do
    whole = dtype == "object" and (known_kind in "iu" or (bare and column.kind == "counts"))
    found: list[Any]
    if column.labels is not None:
        named = {label_of(each): each for each in (known.tolist() if categories is None else categories)}
        found = [named.get(label := column.labels[int(code)], label) for code in values]
    elif categories is not None:  # of numbers: others than these it cannot hold
        found = [min(categories, key=lambda each: abs(float(each) - value)) for value in values.tolist()]
    elif "bool" in dtype or known_kind == "b" or (bare and column.kind == "bits"):
        found = [bool(round(value)) for value in values.tolist()]
    elif "int" in dtype or column.kind == "bits" or whole:
        found = [round(value) for value in values.tolist()]
    else:
        found = values.tolist()
    if hasattr(series, "iloc"):
        copied = series.copy()
        copied.iloc[rows] = found
        return copied
    return series.clone().scatter(rows, found)
