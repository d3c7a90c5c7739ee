"""The kind of numbers in the columns of a table or the channels of a field, found from the values or asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, log10
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.names import near, shortened
from polyvae.data.columns.table import Feature
from polyvae.data.errors import DataError
from polyvae.data.memory_maps import selected
from polyvae.model.spec import KINDS, Column, Spec

_VALUES = 2**20  # looked at at a time: a few copies in float64 are held at once
_CLEARLY = 0.1  # nats an example by which a log-normal has to fit better than a normal
UNDERDISPERSED = 0.5  # variance over mean below which whole numbers are no counts: years, ages, scores


@dataclass(frozen=True)
class Seen:
    """Statistics of every column: smallest and largest value, whether all are whole, three kinds of moments, [D] each.

    `moments`: mean and variance of x, log x and log(1 + x), as "plain", "log", "log1p"; float64, NaN where undefined.
    """

    low: Tensor
    high: Tensor
    whole: Tensor
    moments: Mapping[str, tuple[Tensor, Tensor]]


_MAPS: Mapping[str, Callable[[Tensor], Tensor]] = {"plain": lambda x: x, "log": torch.log, "log1p": torch.log1p}
_STANDS_FOR = {"real": "plain", "positive": "log", "counts": "log1p"}


def seen(splits: Mapping[str, Any]) -> Seen:
    """The statistics of x [N, D, *rest] of all parts; moments are those of `train`."""
    bounds: list[tuple[Tensor, Tensor, Tensor]] = []
    nothing = torch.zeros((), dtype=torch.float64)
    sums = dict.fromkeys(_MAPS, (0, nothing, nothing))
    for part, split in splits.items():
        for rows, there in _chunks(split):
            # From 2^23 on single precision has no fractions to tell by.
            whole = (rows == rows.round()) & (rows.abs() <= 2**23)
            bounds.append((rows.amin(0), rows.amax(0), whole.all(0)))
            if part == "train":
                values, known = rows.double(), there
                sums = {name: _added(*sums[name], map_(values), known) for name, map_ in _MAPS.items()}
    low, high, whole = (torch.stack(each) for each in zip(*bounds, strict=True))
    # A column may have no value in the training part.
    moments = {
        name: (mean, squares / torch.as_tensor(count).clamp(min=1)) for name, (count, mean, squares) in sums.items()
    }
    return Seen(low.amin(0), high.amax(0), whole.all(0), moments)


def _added(
    count: Any, mean: Tensor, squares: Tensor, values: Tensor, known: Tensor | None
) -> tuple[Any, Tensor, Tensor]:
    """How many, their mean and the squares about it, with more values [n, D] (Chan, Golub, LeVeque, 1983).

    Those that are `known` [n, D] alone, where not all are; how many is then said of each column.
    """
    more: Any = len(values) if known is None else known.sum(0).double()
    own = values.mean(0) if known is None else torch.where(known, values, 0.0).sum(0) / more.clamp(min=1)
    total = count + more
    within = (values - own).square() if known is None else torch.where(known, (values - own).square(), 0.0)
    gap, share = own - mean, more / total if known is None else more / total.clamp(min=1)
    squares = squares + within.sum(0) + gap.square() * (count * share)
    return total, mean + gap * share, squares


def _chunks(split: Any) -> Iterator[tuple[Tensor, Tensor | None]]:
    """x as rows [n, D] in floating point, some examples at a time, since it may be too large to copy.

    With them which are known, None where all are.
    """
    size = max(1, _VALUES // max(1, _head(split).numel()))
    for start in range(0, len(split), size):
        index = torch.arange(start, min(start + size, len(split)), device=split.device)
        held = selected(split.tensors, index)
        part, seen = held["x"], held.get("seen")
        yield _rows(part).float(), None if seen is None else _rows(seen.expand_as(part))


def _rows(x: Tensor) -> Tensor:
    return x.reshape(len(x), x.shape[1], -1).movedim(1, -1).flatten(0, 1)


def _head(split: Any) -> Tensor:
    return getattr(split.tensors, "heads", split.tensors)["x"][:1]


def with_columns(
    spec: Spec,
    splits: Mapping[str, Any],
    features: Sequence[Feature],
    kind: Mapping[str, str] | str | None,
    where: str,
) -> Spec:
    """The spec with its columns; unchanged if x is a picture.

    Kinds are found from the values of all parts, moments from the training part, to six digits. `features`: what the
    reader knows of each column, if anything; columns without names are all of one kind, as those of an array are.
    `kind`: one for all columns, or by their names, overrides what would be found. Raises DataError for a kind that does
    not fit the values, or that is asked of pictures.
    """
    found = _of_columns(splits)
    if found is None:
        if kind is not None:
            raise DataError(where, "columns or fields, to be read as kinds of numbers", "pictures", "leave kind away")
        return spec
    numbers = [str(place) for place in range(len(found.low))]
    names = [feature.name for feature in features] if len(features) == len(numbers) else numbers
    labels = {place: feature.labels for place, feature in enumerate(features) if feature.labels}
    asked = _asked(parsed(kind), names, where)
    usual = _found(found, len(spec.x) == 1, alike=names == numbers, coded=[*labels])
    kinds = [asked.get(name) or ("category" if n in labels else usual[n]) for n, name in enumerate(names)]
    for place, name in enumerate(names):
        if place in labels and kinds[place] != "category":
            raise DataError(f"{where}, column {name!r}", f"numbers, to be read as {kinds[place]}", "text")
        _check(kinds[place], place, name, found, where)
    if "category" in kinds and len(spec.x) > 1:
        raise DataError(where, "a kind of fields: categories stand in tables", "category")
    shown: list[str | None] = [None] * len(names) if names == numbers else list(names)
    columns = tuple(
        Column(each, shown[place], labels.get(place), *_standard(found, each, place))
        for place, each in enumerate(kinds)
    )
    return replace(spec, columns=columns, levels=2 if set(kinds) == {"bits"} else None)


def _of_columns(splits: Mapping[str, Any]) -> Seen | None:
    """The statistics of the columns; None if x is bytes, or is no table and all its values lie in [0, 1]."""
    if not all("x" in split.tensors for split in splits.values()):
        return None
    head = _head(splits["train"])
    if head.ndim not in (2, 4) or (head.ndim == 4 and head.dtype is torch.uint8):
        return None
    found = seen(splits)
    pictures = head.ndim == 4 and float(found.low.min()) >= 0 and float(found.high.max()) <= 1
    return None if pictures else found


def _standard(seen: Seen, kind: str, place: int) -> tuple[float, float]:
    """Centre and scale of a column, to six digits of the scale: the last digits differ between machines."""
    if kind not in _STANDS_FOR:
        return 0.0, 1.0
    mean, variance = (moment[place] for moment in seen.moments[_STANDS_FOR[kind]])
    scale = float(f"{float(variance) ** 0.5:.6g}") if varies(mean, variance) else 1.0
    return round(float(mean), 5 - floor(log10(scale))), scale


def varies(mean: Tensor, variance: Tensor) -> Tensor:
    """Whether numbers with these moments differ by more than the rounding of equal ones."""
    return variance.sqrt() > 1e-7 * mean.abs()


def _found(seen: Seen, table: bool, alike: bool, coded: list[int]) -> list[str]:
    """The kind of each column, from its values; columns that are `coded` say nothing about the others."""
    if not table:
        return ["real"] * len(seen.low)
    mean, variance = seen.moments["plain"]
    log_mean, log_variance = seen.moments["log"]
    natural = seen.whole & (seen.low >= 0)
    # By how much a log-normal's likelihood exceeds a normal's; NaN, which no comparison holds for, with a value <= 0.
    gain = (variance.log() - log_variance.log()) / 2 - log_mean
    changing = varies(mean, variance)
    gain = torch.where(changing & (seen.low > 0), gain, torch.nan)  # low is of all parts
    if alike:
        free = torch.ones_like(natural).index_fill(0, torch.tensor(coded, dtype=torch.int64), False)
        whole = natural[free].all()
        tests = {
            "bits": whole and (seen.high[free] <= 1).all(),
            "counts": whole and variance[free].sum() >= UNDERDISPERSED * mean[free].sum(),
            "positive": (seen.low[free] > 0).all() and gain[changing & free].mean() > _CLEARLY,
        }
        return [next((kind for kind, holds in tests.items() if holds), "real")] * len(mean)
    each = {
        "bits": natural & (seen.high <= 1),
        "counts": natural & (variance >= UNDERDISPERSED * mean),
        "positive": gain > _CLEARLY,
    }
    return [next((kind for kind, holds in each.items() if holds[n]), "real") for n in range(len(mean))]


def _asked(kind: Mapping[str, str] | str | None, names: Sequence[str], where: str) -> dict[str, str]:
    """The kinds asked for by the name of their column."""
    if kind is None:
        return {}
    chosen = dict.fromkeys(names, kind) if isinstance(kind, str) else dict(kind)
    if unknown := [name for name in chosen if name not in names]:
        expected = f"a kind for one of the columns {some(names)}"
        raise DataError(where, expected, f"one for {unknown[0]!r}{near(unknown[0], names)}")
    if wrong := [given for given in chosen.values() if given not in KINDS]:
        raise DataError(where, f"a kind of numbers, {', '.join(KINDS)}", f"{wrong[0]!r}{near(wrong[0], KINDS)}")
    return chosen


def parsed(kind: Mapping[str, str] | str | None) -> Mapping[str, str] | str | None:
    """The kinds that a text "NAME=KIND,NAME=KIND" gives by column, or one kind for all; unchanged if it is no text."""
    if not isinstance(kind, str) or "=" not in kind:
        return kind
    pairs = [part.rpartition("=") for part in kind.split(",")]
    return {name.strip(): kind.strip() for name, _, kind in pairs}


def _check(kind: str, place: int, name: str, seen: Seen, where: str) -> None:
    """DataError where the values are not of the kind."""
    low, high, whole = float(seen.low[place]), float(seen.high[place]), bool(seen.whole[place])
    within = kind == "category" or bool(holds(torch.tensor([low, high]), kind).all())
    if not within or not (whole or kind not in ("bits", "counts")):
        found = f"values in [{low:g}, {high:g}]" + ("" if whole else ", not all whole")
        raise DataError(f"{where}, column {name!r}", _EXPECTED[kind], found, "ask for another kind")


def holds(x: Tensor, kind: str, count: int = 0) -> Tensor:
    """Whether the values are of a kind; `count`: the number of labels of a category."""
    whole, natural = x == x.round(), x >= 0
    return {
        "bits": (x == 0) | (x == 1),
        "category": whole & natural & (x < count),
        "counts": whole & natural,
        "positive": x > 0,
        "grey": natural & (x <= 1),
    }.get(kind, torch.ones_like(natural))


_EXPECTED = {
    "bits": "zeros and ones, to be read as bits",
    "counts": "whole numbers from 0 on, to be read as counts",
    "positive": "numbers above 0, to be read as positive",
    "grey": "values in [0, 1], to be read as grey levels",
}


def some(names: Sequence[str]) -> str:
    """The first names of many."""
    return shortened(names, 8, ", ...")


def described(columns: Sequence[Column]) -> str:
    """How many columns there are of each kind, for people: "3 columns: 2 counts, 1 category (colour: red, green)"."""
    counts = {kind: [column for column in columns if column.kind == kind] for kind in KINDS}
    words = [f"{len(found)} {kind}" + _listed(found, len(columns)) for kind, found in counts.items() if found]
    return ", ".join(words)


def _listed(columns: Sequence[Column], total: int) -> str:
    names = [column.name for column in columns if column.name is not None]
    return f" ({some(names)})" if names and total > len(columns) else ""
