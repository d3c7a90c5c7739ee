"""What a user gives a run of several modalities, as a split that says what each row has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.checks.names import near
from polyvae.data.columns.labels import KNOWN
from polyvae.data.exchange.codes import check_values
from polyvae.data.exchange.given import WHERE, conditions, labels_in, part_meant, taken, wrong_shape
from polyvae.data.memory_maps import Rows, blanked, having, named
from polyvae.data.readers.arrays import by_name
from polyvae.data.readers.frames import is_frame
from polyvae.data.readers.values import without_none
from polyvae.data.split import Data, Split
from polyvae.model.presence import present
from polyvae.model.spec import Spec


def several_taken(x: Any, spec: Spec, y: Any = None, given: Mapping[str, Any] | None = None) -> Split:
    """Examples of several modalities and the values beside them, in the form of the data of `spec`, with all flags.

    `x`: a mapping of modalities by name, each what `taken` takes as the x of its own spec; a frame with the columns of
    some of them; a Dataset or a DataLoader of mappings; a Split, or Data, of which the part is meant that `taken`
    means. Modalities may be left away, and in rows be NaN, masked or None, or be said to be missing by `NAME_present`;
    zeros stand there. Raises ValueError for an unknown name, another shape, unequal rows, and a row with some values of
    a modality and not all, DataError as `wrap`.
    """
    if isinstance(x, (Data, Split)):
        split = part_meant(x, spec)
        held, others = split.tensors, conditions(spec, y, given, gaps=True)
        heads = held.heads if isinstance(held, Rows) else held  # which copies no rows
        for name in _known(held, spec):
            _check_shape(name, (len(split), *heads[name].shape[1:]), spec)
        held = named(held, {name: name for name in held if name != KNOWN or "y" not in others})
    else:
        split, (held, more) = None, _read(x, spec)
        y = labels_in(x, spec) if y is None else y
        others = conditions(spec, y, more | dict(given or {}), gaps=True)
    lengths = {name: len(each) for name, each in {**_heads(held), **others}.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"every modality has a value for each row, NaN or None where it is missing; got {lengths}")
    count = next(iter(lengths.values()))
    tensors = having(held, {**others, **_rest(held, spec, count)})
    return Split(tensors) if split is None else replace(split, tensors=tensors)


def _read(x: Any, spec: Spec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The modalities that are given and the flags of all of them, and what else is given by name."""
    values = of_frame(x, spec) if is_frame(x) else by_name(x, WHERE)
    _known(values, spec)
    beside = {each.name for each in spec.beside}
    allowed = {*spec.values, *map(present, spec.values), *beside, "y", KNOWN}
    if unknown := [name for name in values if name not in allowed]:
        raise ValueError(f"{unknown[0]!r} is no modality of this run{near(unknown[0], spec.values)}; {_names(spec)}")
    found: dict[str, Tensor] = {}
    for name, each in spec.values.items():
        if name not in values:
            continue
        value, there = without_none(values[name], f"{WHERE}[{name!r}]")
        split = _one(name, value, each)
        known, seen = split.tensors["x"], split.tensors["seen"].flatten(1)
        if bool((partly := seen.any(1) & ~seen.all(1)).any()):
            row = int(partly.nonzero()[0])
            raise ValueError(f"{name} is given as a whole or is missing; row {row} has some of its values")
        rows = seen.all(1) if there is None else seen.all(1) & torch.from_numpy(there)
        if (flag := present(name)) in values:
            told = np.asarray(values[flag])
            if told.shape != (len(rows),) or not np.isin(told, (0, 1)).all():
                raise ValueError(f"{flag} is True or False for each of {len(rows)} rows; got {list(told.shape)}")
            rows = rows & torch.from_numpy(told.astype(bool))
        check_values(known[rows], each.columns)
        found |= {name: blanked({name: known}, name, rows)[name], flag: rows}
    return found, {name: value for name, value in values.items() if name in beside}


def _one(name: str, value: Any, spec: Spec) -> Split:
    """A modality as the x of its own spec."""
    try:
        return taken(value, spec, gaps=True)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def of_frame(x: Any, spec: Spec) -> dict[str, Any]:
    """The modalities of which a frame has a column, each the whole frame, of which columns are read by name."""
    columns = {str(name) for name in x.columns}
    return {name: x for name, each in spec.values.items() if any(column.name in columns for column in each.columns)}


def _known(values: Mapping[str, Any], spec: Spec) -> list[str]:
    """The modalities among the values; ValueError where there is none."""
    found = [name for name in spec.values if name in values]
    if not found:
        raise ValueError(f"a mapping of modalities by name is wanted, one at least; {_names(spec)}; got {[*values]}")
    return found


def _names(spec: Spec) -> str:
    return f"there are {', '.join(spec.values)}"


def _check_shape(name: str, shape: tuple[int, ...], spec: Spec) -> None:
    if shape[1:] != spec.values[name].x:
        raise ValueError(f"{name}: {wrong_shape(shape, spec.values[name].x)}")


def _heads(held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One value to tell the number of rows by, of a split whose values are as many; else all."""
    return {"rows": torch.empty(held.count)} if isinstance(held, Rows) else dict(held)


def _rest(held: Mapping[str, Tensor], spec: Spec, count: int) -> dict[str, Tensor]:
    """Zeros for the modalities that are not given, and the flags that are not."""
    made: dict[str, Tensor] = {}
    device = held.device if isinstance(held, Rows) else next(iter(held.values())).device
    for name, each in spec.values.items():
        if name not in held:
            made[name] = torch.zeros(1, *each.x, device=device).expand(count, *each.x)
        if present(name) not in held or name not in held:
            made[present(name)] = torch.full((count,), name in held, device=device)
    return made
