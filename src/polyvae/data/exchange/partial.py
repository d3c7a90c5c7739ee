"""What a user gives a run where values are unknown: examples with gaps, and masks of what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.exchange.codes import cells_of, check_values, coded, framed, named, names_of, places_of
from polyvae.data.exchange.given import WHERE, cells_of_data, exact, label_column, part_meant, tensor, wrong_shape
from polyvae.data.exchange.returned import examples
from polyvae.data.readers.frames import is_frame
from polyvae.data.seeds import forked, seed_generators
from polyvae.data.split import Data, Split
from polyvae.model.spec import Column, Spec


def pictured(x: Any, spec: Spec | None, mask: Any = None) -> tuple[Tensor, Tensor | None]:
    """Examples [N, ...] in the form of the data, NaN for missing values, and their mask as `completion` takes it.

    Columns and categories are read as by `taken`; hidden values may be anything. A mask has the columns of the frame,
    or those of the data. Raises ValueError for another shape, column or category, and for values that do not fit the
    kind of their column.
    """
    columns, held = () if spec is None else spec.columns, isinstance(x, (Data, Split))
    x = x if held or np.isscalar(examples(x)) or (isinstance(x, tuple) and len(x) > 2) else examples(x)
    cells = cells_of(x, WHERE) if columns else None
    if spec is not None and cells is not None:
        label = label_column(x, spec)
        mask = None if mask is None else masked(_of_columns(mask, cells, columns, label), 2)
        chosen = cells_of_data(cells, spec, label)
        seen = mask.cpu().numpy() != 0 if mask is not None and _fits(mask, (len(chosen[0]), len(columns))) else None
        found = framed(chosen, columns, WHERE, gaps=True, seen=seen)
        check_values(found, columns)
        return found, mask
    if held:
        values = _as_batches(part_meant(x, spec))  # pyright: ignore[reportArgumentType]
        x = values["x"]
        if mask is None and (there := values.get("seen")) is not None:
            mask = there.all(1) if x.ndim == 4 else there
    found = _laid_out(exact(x), spec)
    mask = None if mask is None else masked(mask, found.ndim)
    kept = found.dtype if isinstance(x, Tensor) or found.dtype is not torch.float64 else torch.float32
    if not columns:
        return found.to(kept), mask
    kept = kept if found.is_floating_point() else torch.float32
    seen = mask != 0 if mask is not None and _fits(mask, tuple(found.shape)) else None
    if not held and any(column.labels for column in columns):  # before float32, as in `taken`
        shown = None if seen is None else seen.expand(len(found), -1).cpu().numpy()
        found = torch.from_numpy(coded(found.detach().cpu().numpy(), columns, shown)).to(found.device)
    found = found.to(kept)
    found = found if seen is None else found.masked_fill(~seen.to(found.device), torch.nan)
    check_values(found, columns)
    return found, mask


def _as_batches(split: Split) -> dict[str, Tensor]:
    """All of a split as its batches are, whatever is random in them by one seed."""
    with forked(split.device):
        seed_generators(split.device, 0)
        return split.batch(torch.arange(len(split), device=split.device))


def _fits(mask: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a mask has the shape of these examples; other masks are refused where they are applied."""
    wanted = (1, *shape[2:]) if len(shape) == 4 else shape[1:]
    return mask.ndim == len(shape) and len(mask) in (1, shape[0]) and tuple(mask.shape[1:]) == wanted


def _of_columns(mask: Any, cells: Mapping[str, Any], columns: Sequence[Column], label: str | None) -> Any:
    """A mask of a frame's columns, in the order of the data's, which a mask of as many columns already has."""
    cells = cells_of(mask, WHERE) if is_frame(mask) else cells  # pyright: ignore[reportAssignmentType]
    found = tensor(mask)
    if found.shape[-1:] != (len(cells),) or (named(columns) and not set(names_of(columns)) <= set(cells)):
        return found
    return found[..., places_of(cells, columns, label)]


def _laid_out(found: Tensor, spec: Spec | None) -> Tensor:
    """Examples [N, ...] in the layout of the data. Raises ValueError for another shape."""
    if spec is None or tuple(found.shape[1:]) == spec.x:
        return found
    rest = tuple(found.shape[1:])
    if rest == spec.x[1:] and spec.x[0] == 1:
        return found.unsqueeze(1)
    if len(rest) == 3 and (rest[2], *rest[:2]) == spec.x:
        return found.movedim(-1, 1)
    raise ValueError(wrong_shape(tuple(found.shape), spec.x))


def masked(mask: Any, dimensions: int) -> Tensor:
    """A mask [N or 1, 1, H, W] or [N or 1, d], from one laid out like a user's x with a row for all or one for each."""
    found = tensor(mask)
    if dimensions == 2:
        return found[None] if found.ndim == 1 else found
    if found.ndim == 4 and found.shape[1] != 1 and found.shape[-1] == 1:
        return found.movedim(-1, 1)
    return found[None, None] if found.ndim == 2 else found.unsqueeze(1) if found.ndim == 3 else found
