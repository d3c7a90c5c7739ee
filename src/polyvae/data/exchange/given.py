"""What a user gives a run, as a split of the data's shape; columns, categories and labels go by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.columns.gaps import spread
from polyvae.data.columns.labels import KNOWN
from polyvae.data.columns.roles import LABELS
from polyvae.data.exchange.codes import (
    cells_of,
    classes,
    coded,
    framed,
    label_named,
    labels_of,
    named,
    names_of,
    places_of,
    translated,
)
from polyvae.data.readers.arrays import by_name, table_of, tensors_of
from polyvae.data.readers.frames import frame_columns, is_frame, is_series, known_cells, series_of, series_values
from polyvae.data.readers.gaps import shown, unmasked
from polyvae.data.split import Data, Split
from polyvae.model.conditions import flag
from polyvae.model.spec import Beside, Column, Spec
from polyvae.observe.transforms import Transform, chain

WHERE = "the data"


def taken(
    x: Any, spec: Spec | None, y: Any = None, given: Mapping[str, Any] | None = None, gaps: bool = False
) -> Split:
    """Examples x [N, ...] and the values given beside them, in the form of the data of `spec`.

    `x`: a tensor, an array, a data frame, a sparse or annotated matrix, a pair (x, y), a mapping by name, a Dataset, a
    DataLoader, a Split, or Data, whose test part is taken, or the validation part if there is no test part. Named
    columns, in a frame (also in a pair or a mapping), an annotated matrix or Data, are matched to the data's by name;
    categories and labels always are. y is read from a frame's column of labels, if it has one; where some labels
    are missing, `y_known` says which are there. Numbers stand for the categories that were numbers in the data; a Split
    holds the codes of `spec`. With `gaps`, cells that are missing and NaN are kept, and the mask `seen` says what is
    there. Raises ValueError if a column, a category, a label, the shape of an example or the number of rows does not
    fit the data, DataError as `wrap`. Of several modalities, see `several_taken`.
    """
    if spec is not None and spec.modalities:
        from polyvae.data.exchange.several import several_taken  # which takes each modality as the x of its own spec

        return several_taken(x, spec, y, given)
    columns = () if spec is None else spec.columns
    if isinstance(x, (Data, Split)):
        split = part_meant(x, spec)
    else:
        values = by_name(x, WHERE)
        inside = values.pop("y", None)
        y = next((each for each in (y, inside, labels_in(x, spec)) if each is not None), None)
        name = "x" if "x" in values else next(iter(values), "x")
        label = label_column(values.get(name), spec)
        cells = cells_of(values.get(name), WHERE) if columns else None
        if spec is not None and cells is not None:
            values[name] = framed(cells_of_data(cells, spec, label), columns, WHERE, gaps)
        elif label is not None and is_frame(x):
            values[name] = x[[each for each in x.columns if str(each) != label]]
        table = table_of(values, WHERE)  # before float32, which would not tell all categories apart
        arrays = dict(table.arrays)
        if cells is None and name in arrays:
            arrays[name] = coded(arrays[name], columns)
        if gaps and name in arrays:
            arrays |= _with_mask(arrays[name], arrays.get("seen"), columns)
        split = Split(tensors_of(replace(table, arrays=arrays), WHERE))
    given = _frame_conditions(x, spec) | dict(given or {})
    name = "x" if "x" in split.tensors else next(iter(split.tensors))
    found = split.tensors[name]
    if spec is not None and tuple(found.shape[1:]) != spec.x:
        raise ValueError(wrong_shape(np.shape(x if isinstance(x, (Tensor, np.ndarray)) else found), spec.x))
    if spec is not None and spec.levels is not None and not isinstance(x, (Data, Split)):
        _check_grey(found)
    others = conditions(spec, y, given, gaps=True)
    if wrong := {key: len(value) for key, value in others.items() if len(value) != len(found)}:
        raise ValueError(f"x holds {len(found)} examples; got {wrong}")
    device = split.device
    own = {key: value for key, value in split.tensors.items() if key != KNOWN or "y" not in others}
    return replace(split, tensors={**own, **{key: value.to(device) for key, value in others.items()}})


def _with_mask(x: np.ndarray, seen: np.ndarray | None, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """x [N, ...] with a value of its column's kind where none is seen, and what is seen; a mask of one's own counts."""
    known = ~np.isnan(x) if x.dtype.kind == "f" else np.ones(x.shape, bool)
    known = known if seen is None else known & shown(seen, x, WHERE)
    if x.dtype == np.uint8 or known.all():
        return {"x": x, "seen": known}
    stand_in = [1.0 if column.kind == "positive" else 0.0 for column in columns]
    along = len(columns) == x.shape[1] if x.ndim > 1 else False
    fill = np.array(stand_in, x.dtype).reshape(-1, *[1] * (x.ndim - 2)) if along else x.dtype.type(0)
    return {"x": np.where(known, x, fill), "seen": known}


def cells_of_data(cells: Mapping[str, Any], spec: Spec, label: Any) -> list[Any]:
    """The cells of each column of the data. Raises ValueError for a missing column, and for too many to choose from."""
    every = list(cells.values())
    found = [every[place] for place in places_of(cells, spec.columns, label)]
    if len(found) != len(spec.columns):
        raise ValueError(wrong_shape((len(found[0]) if found else 0, len(found)), spec.x))
    return found


def labels_in(x: Any, spec: Spec | None) -> Any:
    """The labels [N] of a pair (x, y), a mapping by name, a frame, a Split or Data; None if there are none."""
    if isinstance(x, (Data, Split)):
        values = part_meant(x, spec).tensors
        y, known = values.get("y"), values.get(KNOWN)
        if y is None or spec is None or not spec.classes:
            return y
        named = np.array(labels_of(spec))[y.cpu().numpy()]
        return named if known is None else np.where(known.cpu().numpy(), named, "")
    if isinstance(x, (Mapping, tuple)):
        return by_name(x, WHERE).get("y")
    label = label_column(x, spec)
    unlabelled = spec is not None and spec.columns and not spec.classes
    if label is None or unlabelled:
        return None
    return series_of(x[[name for name in x.columns if str(name) == label]], WHERE)[label]


def _with_gaps(name: str, y: Any, spec: Spec | None) -> tuple[Any, dict[str, Tensor]]:
    """Labels with one of the data in the place of those that are missing, and, if any are, which are known.

    Missing is what is empty or not a number, and -1, where the data have no such label.
    """
    if spec is None or spec.classes is None or np.ndim(y) != 1:
        return y, {}
    if is_series(y):
        cells, known = known_cells(y, WHERE)
        y = spread(cells, known)
    else:
        known = np.ones(len(y), bool)
    values, names = y.tolist() if hasattr(y, "tolist") else list(y), labels_of(spec)
    gone = {"", "-1", "nan"} - set(names)
    known &= np.array([label_named(value) not in gone for value in values], bool)
    if known.all():
        return y, {}
    held = [value if there else names[0] for value, there in zip(values, known, strict=True)]
    return held, {flag(name): torch.from_numpy(known)}


def _frame_conditions(x: Any, spec: Spec | None) -> dict[str, Any]:
    """The columns of a frame that stand beside x in the data, by name."""
    if spec is None or not is_frame(x):
        return {}
    held = [each.name for each in spec.beside if each.name in map(str, x.columns)]
    return series_of(x[held], WHERE) if held else {}


def label_column(x: Any, spec: Spec | None) -> str | None:
    """The column of labels of a frame: the one named as in the data, or by a usual name; None if there is none."""
    if not is_frame(x):
        return None
    columns = () if spec is None else spec.columns
    features = set(names_of(columns) if named(columns) else map(str, range(len(columns))))
    others = [str(name) for name in x.columns if str(name) not in features]
    usual = (name for name in others if name.lower() in LABELS)
    return spec.label if spec is not None and spec.label in others else next(usual, None)


def part_meant(x: Data | Split, spec: Spec | None) -> Split:
    """The split that is meant, in the codes of `spec`."""
    if isinstance(x, Split):
        return x
    part = x.test if len(x.test) else x.validation
    return part if spec is None else translated(part, x.spec, spec)


def _check_grey(x: Tensor) -> None:
    """ValueError for values outside [0, 1] if the data are grey levels; bytes are allowed."""
    if x.is_floating_point() and len(outside := ((x < 0) | (x > 1)).flatten(1).any(1).nonzero()):
        row = int(outside[0])
        worst = max(x[row].flatten().tolist(), key=lambda value: abs(value - 0.5))
        raise ValueError(
            f"grey levels of the data of this run lie in [0, 1]; example {row} has {worst:g}: divide by the largest "
            "level, such as 255, or give bytes"
        )


def conditions(spec: Spec | None, y: Any, given: Mapping[str, Any] | None, gaps: bool = False) -> dict[str, Tensor]:
    """Labels `y`, as the data call them, or vectors, and other values by name, as tensors. Raises ValueError.

    With `gaps` some labels may be missing; `y_known` then says which are there.
    """
    given, where = dict(given or {}), "the condition"
    y, known = _with_gaps("y", y, spec) if gaps else (y, {})
    if y is None and spec is not None and spec.classes is not None:
        y = given.pop("y", None)
    beside = {} if spec is None else {each.name: each for each in spec.beside}
    found: dict[str, Tensor] = {}
    for name, value in given.items():
        found |= _beside(value, beside[name]) if name in beside else {name: tensor(value)}
    if y is None:
        return found
    if is_frame(y) and len(y.columns) == 1:
        y = next(iter(frame_columns(y, where).values()))
    y = series_values(y, where) if is_series(y) else [y] if isinstance(y, str) or np.ndim(y) == 0 else y
    labelled = spec is not None and spec.classes is not None and np.ndim(y) == 1
    return {**found, **known, "y": classes(y, spec) if labelled else tensors_of({"y": y}, where)["y"]}  # pyright: ignore


def _beside(value: Any, each: Beside) -> dict[str, Tensor]:
    """A value of the data beside x: classes [N] of labels as the data call them, or numbers [N, *shape].

    Where a label or one of the numbers is missing, the row is not known, which its flag says.
    """
    value = [value] if isinstance(value, str) or np.ndim(value) == 0 else value
    if each.classes is not None:
        spec = Spec((1,), classes=each.classes, labels=each.labels)
        value, known = _with_gaps(each.name, value, spec)
        return {each.name: classes(value, spec), **known}
    if is_series(value):
        cells, there = known_cells(value, WHERE)
        value = np.where(there, spread(cells, there), np.nan) if not there.all() else cells
    found = tensor(value)
    found = found.float() / 255 if found.dtype is torch.uint8 else found.float()
    found = found[:, None] if found.ndim == len(each.shape) else found
    if tuple(found.shape[1:]) != each.shape:
        raise ValueError(f"{each.name} is [N, {', '.join(map(str, each.shape))}]; got {list(np.shape(value))}")
    if not bool((lost := found.isnan()).any()):
        return {each.name: found}
    return {each.name: found.masked_fill(lost, 0.0), flag(each.name): ~lost.flatten(1).any(1)}


def tensor(value: Any) -> Tensor:
    """Numbers as a tensor, NaN included, from a tensor or anything that NumPy reads; float64 becomes float32."""
    found = exact(value)
    return found.float() if found.dtype is torch.float64 and found is not value else found


def exact(value: Any) -> Tensor:
    """The same in its own number type."""
    if isinstance(value, Tensor):
        return value
    value = value.toarray() if hasattr(value, "toarray") else value
    value = unmasked(value, WHERE) if isinstance(value, np.ma.MaskedArray) else value
    value = value.to_numpy(dtype=np.float64, na_value=np.nan) if is_frame(value) else value
    array = np.array(value)
    if array.dtype.kind not in "biuf":
        wanted = "numbers are wanted: a data frame, a tensor or an array with a row for each example"
        raise ValueError(f"{wanted}; got {type(value).__name__} of {array.dtype}")
    return torch.from_numpy(array)


def present(observe: Transform) -> Transform:
    """A recipe's transform for a batch without x: its steps on the values that are there, without the others."""

    def observed(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = dict(values)
        for step in chain(observe).transforms:
            try:
                values = dict(step(values))
            except KeyError:
                continue
        return values

    return observed


def wrong_shape(found: tuple[int, ...], x: tuple[int, ...]) -> str:
    wanted = f"[N, {', '.join(map(str, x))}]"
    if len(x) == 3 and x[0] == 1:
        wanted += f" or [N, {x[1]}, {x[2]}]"
    text = f"examples of this run have the shape {wanted}, N of them; got {list(found)}"
    if found in (x, x[1:] if x[0] == 1 else x):
        return f"{text}: one example without a dimension for N; give x[None]"
    if len(x) == 1 and len(found) == 2:
        return f"{text}: {found[1]} columns and not {x[0]}"
    return text
