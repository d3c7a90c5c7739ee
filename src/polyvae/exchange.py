"""What a user gives a run as a split of the data's shape, and values handed back in the kind that was given."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.coding import (
    check_values,
    classes,
    coded,
    framed,
    labels_of,
    named,
    names_of,
    numbers_of,
    partly_framed,
    translated,
    valued,
)
from polyvae.data.frames import FRAMES, frame_columns, is_frame
from polyvae.data.split import Data, Split
from polyvae.data.table import LABELS
from polyvae.data.tensors import table_of, tensors_of
from polyvae.observe import Transform, chain
from polyvae.spec import Column, Spec

WHERE = "the data"


def taken(x: Any, spec: Spec | None, y: Any = None, given: Mapping[str, Any] | None = None) -> Split:
    """Examples x [N, ...] and what is given beside them, as the data of `spec` were read.

    `x`: a tensor, an array, a data frame, a sparse or annotated matrix, a pair (x, y), a mapping by name, a Dataset, a
    DataLoader, a Split, or Data, of which it is the test part, or the validation part where none was cut. Of a frame
    and of Data the columns of the data are taken by name, categories and labels by theirs, and y of a frame where it
    has a column of labels; a Split holds the codes of the data of `spec`. Raises ValueError where a column, a category,
    a label, the shape of an example or a number of rows is not the data's, DataError as `data.wrap`.
    """
    columns = () if spec is None else spec.columns
    if isinstance(x, (Data, Split)):
        split = _part(x, spec)
    elif is_frame(x) and named(columns):
        cells = frame_columns(x, WHERE)
        y = labels_in(x, spec) if y is None else y
        split = Split(tensors_of({"x": framed(cells, columns)}, WHERE))
    else:
        y = _labels(x) if y is None else y
        table = table_of(_without_labels(x), WHERE)  # before float32, which would not tell all categories apart
        arrays = {name: coded(array, columns) if name == "x" else array for name, array in table.arrays.items()}
        split = Split(tensors_of(replace(table, arrays=arrays), WHERE))
    name = "x" if "x" in split.tensors else next(iter(split.tensors))
    found = split.tensors[name]
    if spec is not None and tuple(found.shape[1:]) != spec.x:
        raise ValueError(_wrong_shape(_shape(x, found), spec.x))
    others = conditions(spec, y, given)
    if wrong := {key: len(value) for key, value in others.items() if len(value) != len(found)}:
        raise ValueError(f"x holds {len(found)} examples; got {wrong}")
    device = split.device
    return replace(split, tensors={**split.tensors, **{key: value.to(device) for key, value in others.items()}})


def labels_in(x: Any, spec: Spec | None) -> Any:
    """The labels [N] of a frame: its column of the name that the data's has, or of a usual one; None without any."""
    if spec is None or not spec.classes or not (is_frame(x) and named(spec.columns)):
        return None
    others = {str(name): name for name in x.columns if str(name) not in names_of(spec.columns)}
    usual = (name for name in others if name.lower() in LABELS)
    name = spec.label if spec.label in others else next(usual, None)
    return None if name is None else frame_columns(x[[others[name]]], WHERE)[name]


def _part(x: Data | Split, spec: Spec | None) -> Split:
    """The split that is meant, in the codes of the data of `spec`."""
    if isinstance(x, Split):
        return x
    part = x.test if len(x.test) else x.validation
    return part if spec is None else translated(part, x.spec, spec)


def conditions(spec: Spec | None, y: Any, given: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """Labels, as the data call them, or vectors `y` and other values by name, as tensors. Raises ValueError."""
    found = {name: tensor(value) for name, value in (given or {}).items()}
    if y is not None:
        y = [y] if isinstance(y, str) or np.ndim(y) == 0 else y
        labelled = spec is not None and spec.classes is not None and np.ndim(y) == 1
        found["y"] = classes(y, spec) if labelled else tensors_of({"y": y}, "the condition")["y"]  # pyright: ignore
    return found


def _labels(x: Any) -> Any:
    """The y of a pair (x, y) or of a mapping by name, as it was given."""
    if isinstance(x, tuple) and len(x) == 2:
        return x[1]
    return x.get("y") if isinstance(x, Mapping) else None


def _without_labels(x: Any) -> Any:
    if isinstance(x, tuple) and len(x) == 2:
        return x[:1]
    return {name: value for name, value in x.items() if name != "y"} if isinstance(x, Mapping) else x


def tensor(value: Any) -> Tensor:
    """Numbers as they are, NaN included: a tensor, or anything that NumPy reads; float64 becomes float32."""
    found = _exact(value)
    return found.float() if found.dtype is torch.float64 and found is not value else found


def _exact(value: Any) -> Tensor:
    """The same in its own type."""
    if isinstance(value, Tensor):
        return value
    value = value.toarray() if hasattr(value, "toarray") else value
    value = value.to_numpy(dtype=np.float64, na_value=np.nan) if is_frame(value) else value
    array = np.array(value)
    if array.dtype.kind not in "biuf":
        wanted = "numbers are wanted: a data frame, a tensor or an array with a row for each example"
        raise ValueError(f"{wanted}; got {type(value).__name__} of {array.dtype}")
    return torch.from_numpy(array)


def pictured(x: Any, spec: Spec | None, mask: Any = None) -> tuple[Tensor, Tensor | None]:
    """Examples [N, ...] as the data hold them, NaN where a value is missing, and their mask, as `completion` takes it.

    Categories are read as by `taken`. What the mask hides may hold anything. A mask of a frame has its columns, or
    those of the data. Raises ValueError for another shape, column or category, and for values not of a column's kind.
    """
    columns = () if spec is None else spec.columns
    if is_frame(x) and named(columns):
        mask = None if mask is None else masked(_of_columns(mask, x, columns), 2)
        seen = mask.cpu().numpy() != 0 if mask is not None and _fits(mask, (len(x), len(columns))) else None
        found = partly_framed(x, columns, seen, WHERE)
        check_values(found, columns)
        return found, mask
    held = isinstance(x, (Data, Split))
    found = _laid_out(_part(x, spec).tensors["x"] if held else _exact(x), spec)  # pyright: ignore[reportArgumentType]
    mask = None if mask is None else masked(mask, found.ndim)
    kept = found.dtype if isinstance(x, Tensor) or found.dtype is not torch.float64 else torch.float32
    if not columns:
        return found.to(kept), mask
    kept = kept if found.is_floating_point() else torch.float32
    found = found if found.is_floating_point() else found.double()
    if mask is not None and _fits(mask, tuple(found.shape)):
        found = found.masked_fill(mask.to(found.device) == 0, torch.nan)
    if not held and any(column.labels for column in columns):  # before float32, as in `taken`
        found = torch.from_numpy(coded(found.cpu().numpy(), columns)).to(found.device)
    found = found.to(kept)
    check_values(found, columns)
    return found, mask


def _fits(mask: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a mask is one of examples of that shape; others are refused where they are applied."""
    wanted = (1, *shape[2:]) if len(shape) == 4 else shape[1:]
    return mask.ndim == len(shape) and len(mask) in (1, shape[0]) and tuple(mask.shape[1:]) == wanted


def _of_columns(mask: Any, frame: Any, columns: Sequence[Column]) -> Any:
    """A mask of a frame's columns as one of the columns of the data, which a mask of as many columns is already."""
    order = [str(name) for name in (mask if is_frame(mask) else frame).columns]
    found = tensor(mask)
    if found.shape[-1:] != (len(order),) or not set(names_of(columns)) <= set(order):
        return found
    return found[..., [order.index(name) for name in names_of(columns)]]


def _laid_out(found: Tensor, spec: Spec | None) -> Tensor:
    """Examples [N, ...] in the layout of the data. Raises ValueError for another shape."""
    if spec is None or tuple(found.shape[1:]) == spec.x:
        return found
    rest = tuple(found.shape[1:])
    if rest == spec.x[1:] and spec.x[0] == 1:
        return found.unsqueeze(1)
    if len(rest) == 3 and (rest[2], *rest[:2]) == spec.x:
        return found.movedim(-1, 1)
    raise ValueError(_wrong_shape(tuple(found.shape), spec.x))


def masked(mask: Any, dimensions: int) -> Tensor:
    """A mask [N or 1, 1, H, W] or [N or 1, d] of one laid out like a user's x, with a row for all or one for each."""
    found = tensor(mask)
    if dimensions == 2:
        return found[None] if found.ndim == 1 else found
    if found.ndim == 4 and found.shape[1] != 1 and found.shape[-1] == 1:
        return found.movedim(-1, 1)
    return found[None, None] if found.ndim == 2 else found.unsqueeze(1) if found.ndim == 3 else found


def returned(values: Tensor, like: Any, lead: int = 0, columns: Sequence[Column] = (), drawn: bool = False) -> Any:
    """Values [N, ...] as what was given: a tensor on its device, else an array; laid out as its pictures are.

    A data frame comes back for values of its columns, or of the `columns` of the data. Categories of these are what the
    data called them: in frames their labels, elsewhere the numbers that stood for them, or codes where these were text;
    a Split and Data hold codes. `lead`: how many dimensions come before N. `drawn`: no means, so that bits and counts
    are whole, and integers in a frame.
    """
    held, like = isinstance(like, (Data, Split)), _x(like)
    shape = tuple(np.shape(like)) if hasattr(like, "shape") else ()
    values, own = values.detach(), tuple(values.shape[lead:])
    if len(shape) == 4 and shape != own and shape == (*own[:1], *own[2:], *own[1:2]):
        values = values.movedim(lead + 1, -1)
    elif 0 < len(shape) < len(own) and np.prod(own) == np.prod(shape):
        values = values.reshape(*values.shape[:lead], *shape)
    if is_frame(like) and values.ndim == 2:
        return _as_frame(values.cpu().numpy(), like, columns, drawn)
    values = values if held else valued(values, columns)
    if isinstance(like, Tensor):
        return values.to(like.device, like.dtype if like.is_floating_point() else None)
    return values.cpu().numpy()


def _as_frame(array: np.ndarray, like: Any, columns: Sequence[Column], drawn: bool) -> Any:
    """A frame of the names of another one, and its index where it has as many rows; the array where it has others."""
    theirs = {str(name): name for name in like.columns}  # names may be numbers, which columns have as text
    names = [theirs.get(name, name) for name in names_of(columns)] if named(columns) else list(theirs.values())
    if not names and len(columns) == array.shape[1]:  # the data were a frame without names, which pandas numbers
        names = [place if hasattr(like, "index") else str(place) for place in range(len(columns))]
    if len(names) != array.shape[1]:
        return array
    cells: dict[Any, Any] = {name: array[:, place] for place, name in enumerate(names)}
    for name, column in zip(names, columns, strict=False):
        whole = column.labels or (drawn and column.kind in ("bits", "counts"))
        if whole and np.isfinite(cells[name]).all():  # a category has no spread: NaN
            cells[name] = cells[name].round().astype(np.int64)
            if column.labels:
                numbers = numbers_of(column)
                cells[name] = (np.array(column.labels) if numbers is None else numbers)[cells[name]]
    alike = hasattr(like, "index") and len(like) == len(array)
    return type(like)(cells, index=like.index) if alike else type(like)(cells)


def empty_frame(library: str | None) -> Any:
    """A data frame without cells of "pandas" or "polars", for `returned`; None for others, or one not installed."""
    return importlib.import_module(library).DataFrame() if library in FRAMES and find_spec(library) else None


def labelled(frame: Any, y: Tensor, spec: Spec) -> Any:
    """A frame [N, D] of drawn rows with its column of labels, of which `y` [M] are the classes, the rows in turns."""
    names = labels_of(spec)
    values = np.array([int(name) for name in names] if all(map(str.isdigit, names)) else names)
    turns = values[y.cpu().numpy()[np.arange(len(frame)) % len(y)]]
    return type(frame)({**{name: frame[name] for name in frame.columns}, spec.label: turns})


def kind_of(like: Any) -> Any:
    """Something that `returned` makes arrays or tensors like, of no shape: for values that are no examples."""
    like = _x(like)
    return torch.zeros((), dtype=torch.int64, device=like.device) if isinstance(like, Tensor) else None


def present(observe: Transform) -> Transform:
    """A recipe's transform of a batch without x: its steps on the values that are there, the others left out."""

    def observed(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = dict(values)
        for step in chain(observe).transforms:
            try:
                values = dict(step(values))
            except KeyError:
                continue
        return values

    return observed


def _x(like: Any) -> Any:
    """The examples of a pair, a mapping or a split."""
    like = like.tensors if isinstance(like, Split) else like
    if isinstance(like, Mapping):
        return like["x"] if "x" in like else next(iter(like.values()))
    return like[0] if isinstance(like, tuple) else like


def _shape(x: Any, found: Tensor) -> tuple[int, ...]:
    return tuple(np.shape(x)) if isinstance(x, (Tensor, np.ndarray)) else tuple(found.shape)


def _wrong_shape(found: tuple[int, ...], x: tuple[int, ...]) -> str:
    wanted = f"[N, {', '.join(map(str, x))}]"
    if len(x) == 3 and x[0] == 1:
        wanted += f" or [N, {x[1]}, {x[2]}]"
    text = f"examples of this run have the shape {wanted}, N of them; got {list(found)}"
    if found in (x, x[1:] if x[0] == 1 else x):
        return f"{text}: one example without a dimension for N; give x[None]"
    if len(x) == 1 and len(found) == 2:
        return f"{text}: {found[1]} columns and not {x[0]}"
    return text
