"""Values that condition x and are no part of it: columns taken out of a table, arrays under names of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyvae.data.columns.table import Feature
from polyvae.data.errors import DataError
from polyvae.model.conditions import FLAG, flag
from polyvae.model.spec import Beside

OWN = ("x", "y", "seen", "row", "factors")  # names with a meaning of their own
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Aside:
    """The tensors of every part with what is beside x under its name, what that is, and the features left in x."""

    parts: dict[str, dict[str, Tensor]]
    beside: tuple[Beside, ...]
    features: tuple[Feature, ...]


def names_of(beside: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names in an option: a list, or a text with commas."""
    return tuple(beside.split(",")) if isinstance(beside, str) else tuple(beside or ())


def set_aside(parts: Mapping[str, Tensors], features: Sequence[Feature], wanted: Sequence[str], where: str) -> Aside:
    """Takes the `wanted` columns out of x [N, D], and says what every value is that stands beside x.

    A column of text or categories becomes a label, [N] int64, another a vector [N, 1]; a wanted array of whole numbers
    [N] becomes a label too. Where cells of a column are missing, their rows are not known: `NAME_known`. Raises
    DataError for a name that the data do not hold, and where no column would be left.
    """
    made = {part: dict(tensors) for part, tensors in parts.items()}
    first, place = next(iter(made.values())), {each.name: n for n, each in enumerate(features)}
    if unknown := [name for name in wanted if (name not in place and name not in first) or name in OWN]:
        held = [*place, *(name for name in first if name not in OWN)]
        raise DataError(
            where, f"columns or arrays {list(wanted)} beside x", f"{held}", f"{unknown[0]!r} is none of them"
        )
    columns = [name for name in wanted if name in place and name not in first]
    if columns and len(columns) == len(features):
        raise DataError(where, "a column that is left for x", f"all of {columns} beside it", "leave one away")
    labels: dict[str, tuple[str, ...] | None] = {}
    for name in columns:
        found = features[place[name]].labels
        labels |= {name: found} if found else {}
        for tensors in made.values():
            cells = tensors["x"][:, place[name]]
            tensors[name] = cells.long() if found else cells[:, None].float()
            if "seen" in tensors and not bool((known := tensors["seen"][:, place[name]]).all()):
                tensors[flag(name)] = known.contiguous()
    if columns:
        kept = [n for n, each in enumerate(features) if each.name not in columns]
        for tensors in made.values():
            tensors |= {name: tensors[name][:, kept].contiguous() for name in ("x", "seen") if name in tensors}
        features = [features[n] for n in kept]
    for name in wanted:
        whole = [tensors[name] for tensors in made.values()]
        if name not in columns and all(each.shape[1:] == (1,) and bool((each == each.round()).all()) for each in whole):
            classes = torch.cat(whole).unique()
            for tensors in made.values():
                tensors[name] = torch.searchsorted(classes, tensors[name][:, 0].contiguous())
            numbers = tuple(str(int(value)) for value in classes.tolist())
            labels[name] = numbers if numbers != tuple(map(str, range(len(numbers)))) else ()
    counts = {name: 1 + max(int(each[name].max()) for each in made.values()) for name in labels}
    return Aside(made, tuple(_beside(first, labels, counts)), tuple(features))


def _beside(tensors: Tensors, labels: Mapping[str, tuple[str, ...] | None], counts: Mapping[str, int]) -> list[Beside]:
    found = []
    for name, value in tensors.items():
        if name in labels:
            found.append(Beside(name, (), len(labels[name] or ()) or counts[name], labels[name] or None))
        elif name not in OWN and value.ndim > 1 and not name.endswith(FLAG):
            found.append(Beside(name, tuple(value.shape[1:])))
    return found
