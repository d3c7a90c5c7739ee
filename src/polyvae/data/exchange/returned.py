"""Results in the type that was given: tensors, arrays, or data frames with names, labels and whole counts."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.exchange.codes import labels_of, named, names_of, numbers_of, valued
from polyvae.data.readers.frames import FRAMES, is_frame
from polyvae.data.split import Data, Split
from polyvae.model.spec import Column, Spec


def returned(values: Tensor, like: Any, lead: int = 0, columns: Sequence[Column] = (), drawn: bool = False) -> Any:
    """Values [N, ...] in the type that was given: a tensor on its device, else an array, pictures in the same layout.

    A data frame is returned for values of its columns, or of the `columns` of the data. Categories are named as in the
    data: in frames by their labels, elsewhere by the numbers that stood for them, or by codes if they were text; a
    Split and Data hold codes. `lead`: the number of dimensions before N. `drawn`: the values are draws and not means,
    so that bits and counts are whole, and integers in a frame.
    """
    held, like = isinstance(like, (Data, Split)), examples(like)
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
    """A frame with the names of another, and its index if it has as many rows; the array if it has other columns."""
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
                known = theirs.get(str(name))
                text = known is not None and _is_text(like[known])
                cells[name] = called(column.labels, text)[cells[name]]
    alike = hasattr(like, "index") and len(like) == len(array)
    return type(like)(cells, index=like.index) if alike else type(like)(cells)


def called(labels: Sequence[str], text: bool = False) -> np.ndarray:
    """What labels [K] name: numbers or truth values; text if one is neither, or if `text` is asked for."""
    numbers = numbers_of(labels)
    if text or (numbers is None and not set(labels) <= {"False", "True"}):
        return np.array(labels)
    return np.array(labels) == "True" if numbers is None else numbers


def _is_text(series: Any) -> bool:
    """Whether the cells of a frame's column are text, missing cells aside."""
    cells = np.asarray(series.to_numpy())
    return cells.dtype.kind == "U" or (cells.dtype.kind in "OT" and any(isinstance(cell, str) for cell in cells))


def empty_frame(library: str | None) -> Any:
    """An empty data frame of "pandas" or "polars" for `returned`; None for others, or if one is not installed."""
    return importlib.import_module(library).DataFrame() if library in FRAMES and find_spec(library) else None


def labelled(frame: Any, y: Tensor, spec: Spec) -> Any:
    """A frame [N, D] of drawn rows with its column of labels, the classes `y` [M] repeated in turn."""
    turns = called(labels_of(spec))[y.cpu().numpy()[np.arange(len(frame)) % len(y)]]
    return type(frame)({**{name: frame[name] for name in frame.columns}, spec.label: turns})


def like_of(like: Any, name: str) -> Any:
    """What was given under a name, of a mapping of several values; else what was given, or of a mapping without that
    name something of its type alone."""
    if isinstance(like, Split) and "x" not in like.tensors:  # a flag of its would lend its shape
        kept = like.tensors.get(name)
        return Split({"x": torch.zeros(0, dtype=torch.int64, device=like.device) if kept is None else kept})
    if not isinstance(like, Mapping):
        return like
    if name in like:
        return like[name]
    return kind_of(like) if len(like) > 1 or "x" not in like else like


def kind_of(like: Any) -> Any:
    """Something of the type that `returned` should return, without a shape: for values that are no examples."""
    like = examples(like)
    return torch.zeros((), dtype=torch.int64, device=like.device) if isinstance(like, Tensor) else None


def examples(like: Any) -> Any:
    """The examples of a pair, a mapping or a split."""
    like = like.tensors if isinstance(like, Split) else like
    if isinstance(like, Mapping):
        return like["x"] if "x" in like else next(iter(like.values()))
    return like[0] if isinstance(like, tuple) else like
