"""Columns of numbers that are categories: those asked for, and whole numbers of so few values that they are labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np
import torch
from torch.distributions import NegativeBinomial, Poisson

from polyvae.data.columns.kinds import UNDERDISPERSED, parsed
from polyvae.data.columns.rounding import note, steps
from polyvae.data.columns.table import Table, label_of
from polyvae.data.memory_maps import float32, is_large, pieces

MOST = 12  # values that a column may have to be looked at
_EACH, _LEAST = 10, 50  # rows to each of its values, and in all
GAIN, SURE = 0.05, 8.0  # nats a value, and in all, by which frequencies have to exceed a law of counts
_HEAD = 1000  # rows that tell most columns of more values


def prepared(tables: Mapping[str, Table], kind: Mapping[str, str] | str | None) -> dict[str, Table]:
    """The tables of the parts of one data set with codes 0..K-1 for categories, and notes on what float32 loses.

    Codes follow the numbers in the source's own precision: float32 cannot tell 20,000,000 from 20,000,001. Categories
    are the columns that `kind` names so, as in `with_columns`, and of the others those of `labelled`.
    """
    kind = parsed(kind) or {}
    found = [] if isinstance(kind, str) else labelled([*tables.values()], kind)
    made = {}
    for where, table in tables.items():
        asked = [kind if isinstance(kind, str) else kind.get(each.name) for each in table.features]
        places = [
            place
            for place, feature in enumerate(table.features)
            if not feature.labels and (asked[place] == "category" or (asked[place] is None and feature.name in found))
        ]
        table = replace(table, notes=(*table.notes, *_notes(table, places, where)))
        made[where] = _coded(table, places) if places and "x" in table.arrays else table
    return made


def labelled(tables: Sequence[Table], known: Collection[str] = ()) -> list[str]:
    """The names of columns of whole numbers that are labels, judged by their values in all tables; not those `known`.

    A label has at most 12 different values and ten rows to each, and is not bits. Values that are too evenly
    distributed for counts are labels: a density over so few values has no maximum. Counts are labels if their
    frequencies fit better than the negative binomial with their moments, by 0.05 nats a value and 8 in all, after a
    penalty of log(N) / 2N a parameter; in a table of whole numbers that together look like counts, only if they do so
    on average. Columns without names are left as they are.
    """
    first = tables[0]
    names = [feature.name for feature in first.features]
    alike = all([feature.name for feature in table.features] == names and "x" in table.arrays for table in tables)
    if not names or not alike or names == [str(place) for place in range(len(names))]:
        return []
    gains: dict[str, float] = {}
    moments = []
    for place, feature in enumerate(first.features):
        if feature.labels or feature.dtype in ("bool", "text"):
            continue
        column = np.concatenate([table.arrays["x"][:, place] for table in tables])
        moments.append((float(column.mean(dtype=np.float64)), float(column.var(dtype=np.float64)), _natural(column)))
        if feature.name not in known and (gain := _gain(column)) is not None:
            gains[feature.name] = gain
    least = 0.0
    if moments and all(natural for *_, natural in moments):
        mean, variance = (sum(each) for each in zip(*(both for *both, _ in moments), strict=True))
        finite = [gain for gain in gains.values() if gain < inf]
        if variance >= UNDERDISPERSED * mean and sum(finite) < 0:
            least = inf
    return [name for name, gain in gains.items() if gain >= least]


def _natural(column: np.ndarray) -> bool:
    return bool(column.min() >= 0 and (column == np.round(column)).all())


def _gain(column: np.ndarray) -> float | None:
    """By how many nats a value the frequencies exceed the required gain; inf for no counts, None for many values."""
    if len(column) < _LEAST or len(np.unique(column[:_HEAD])) > MOST:
        return None
    values, counts = np.unique(column, return_counts=True)
    whole = np.isfinite(values).all() and (values == np.round(values)).all()
    if not whole or len(values) > MOST or len(column) < _EACH * len(values) or 0 <= values[0] <= values[-1] <= 1:
        return None
    x, share = torch.from_numpy(values.astype(np.float64)), torch.from_numpy(counts / len(column))
    mean = (share * x).sum()
    variance = (share * (x - mean).square()).sum()
    if values[0] < 0 or variance < UNDERDISPERSED * mean:
        return inf
    if variance > 1.001 * mean:
        theta, logits = mean.square() / (variance - mean), (variance / mean - 1).log()
        law: Poisson | NegativeBinomial = NegativeBinomial(theta, logits=logits)
    else:
        law = Poisson(mean)
    cost = (len(values) - 3) * np.log(len(column)) / (2 * len(column))
    return float((share * (share.log() - law.log_prob(x))).sum() - cost) - max(GAIN, SURE / len(column))


def _notes(table: Table, coded: Sequence[int], where: str) -> tuple[str, ...]:
    """What float32 loses of columns without codes."""
    found: dict[str, tuple[float, float]] = {}
    for name, array in table.arrays.items():
        if name != "y" or array.ndim > 1:
            names = {n: feature.name for n, feature in enumerate(table.features) if name == "x"}
            coarse = steps(array, skipped=coded if name == "x" else ())
            found |= {names.get(n, f"{name}[{n}]"): each for n, each in coarse.items()}
    return note(found, where)


def _coded(table: Table, places: Sequence[int]) -> Table:
    """The table with codes and labels in these columns; values that are not finite stay, to be refused by name."""
    x = table.arrays["x"]
    x = x[:, None] if x.ndim == 1 else x
    made = float32(x) if x.dtype.itemsize < 4 or is_large(x.nbytes) else x
    made = made.copy() if np.may_share_memory(made, x) else made
    features = list(table.features)
    for place in places:
        # Of a mapped array no more stays in memory than these cells.
        values, codes = np.unique(np.concatenate([part[:, place] for part in pieces(x)]), return_inverse=True)
        if np.isfinite(values).all():
            names = [label_of(value) for value in values.tolist()]
            numbers = {label: code for code, label in enumerate(dict.fromkeys(names))}
            made[:, place] = np.array([numbers[name] for name in names])[codes]
            features[place] = replace(features[place], labels=tuple(numbers))
    return replace(table, arrays={**table.arrays, "x": made}, features=tuple(features))
