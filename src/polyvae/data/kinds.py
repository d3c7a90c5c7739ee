"""What kind of numbers the columns of a table or the channels of a field hold, found from values or asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyvae.data.errors import DataError
from polyvae.spec import KINDS, Column

_VALUES = 2**22  # looked at at a time
_CLEARLY = 0.1  # nats an example by which a log-normal has to fit better than a normal
_UNDERDISPERSED = 0.5  # variance over mean below which whole numbers are no counts: years, ages, scores


@dataclass(frozen=True)
class Known:
    """What a reader knows of the columns beforehand: their names, and the labels of those that were text.

    `alike`: whether all of them are of one kind, as the columns of an array are, or each of its own, as in a frame.
    """

    names: tuple[str, ...] | None = None
    labels: Mapping[int, tuple[str, ...]] | None = None
    alike: bool = True


@dataclass
class Seen:
    """What the values of each column have been, over the parts looked at, [D]."""

    low: Tensor
    high: Tensor
    whole: Tensor

    @classmethod
    def of(cls, parts: Sequence[Tensor]) -> Seen:
        """Over tensors [N, D, *rest]."""
        found: Seen | None = None
        for rows in (rows for part in parts for rows in _chunks(part)):
            now = cls(rows.amin(0), rows.amax(0), (rows == rows.round()).all(0))
            found = now if found is None else found.with_(now)
        assert found is not None
        return found

    def with_(self, other: Seen) -> Seen:
        """Both together."""
        return Seen(self.low.minimum(other.low), self.high.maximum(other.high), self.whole & other.whole)


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each column, and of its logarithm and of log(1 + x), float64 [D]; NaN where undefined."""

    plain: tuple[Tensor, Tensor]
    log: tuple[Tensor, Tensor]
    log1p: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """Over a tensor [N, D, *rest]."""
        return cls(*(_moments(x, map_) for map_ in (lambda v: v, torch.log, torch.log1p)))


def _moments(x: Tensor, map_: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Means and variances by chunks, each chunk's about its own mean (Chan, Golub, LeVeque, 1983)."""
    count, mean, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for rows in _chunks(x):
        values = map_(rows.double())
        own = values.mean(0)
        gap, total = own - mean, count + len(values)
        squares = squares + (values - own).square().sum(0) + gap.square() * (count * len(values) / total)
        mean, count = mean + gap * (len(values) / total), total
    return mean, squares / count


def _chunks(x: Tensor) -> Iterator[Tensor]:
    """[N, D, *rest] -> rows [n, D] in floating point, some examples at a time."""
    size = max(1, _VALUES // max(1, x[0].numel()))
    for part in x.split(size):
        yield part.reshape(len(part), x.shape[1], -1).movedim(1, -1).flatten(0, 1).float()


def has_columns(x: Tensor) -> bool:
    """Whether x holds columns or fields of numbers, and not pictures in [0, 1]."""
    if x.ndim == 4:
        return x.dtype is not torch.uint8 and not all(bool(((p >= 0) & (p <= 1)).all()) for p in x.split(4096))
    return x.ndim == 2


def columns_of(
    train: Tensor, others: Sequence[Tensor], known: Known, kind: Mapping[str, str] | str | None, where: str
) -> tuple[Column, ...]:
    """The columns of x [N, D, *rest]: kinds after all parts, moments after what is trained on, to six digits.

    `kind`: one for all, or by the names of columns, in place of what would be found. Raises DataError for values that
    are not of the kind asked for.
    """
    names = known.names or tuple(str(place) for place in range(train.shape[1]))
    asked = _asked(kind, names, where)
    parts, labels = [train, *others], dict(known.labels or {})
    seen, moments = Seen.of(parts), Moments.of(train)
    found = _found(seen, moments, train.ndim == 2, known.alike)
    columns = []
    for place, name in enumerate(names):
        chosen = asked.get(name) or ("category" if place in labels else found[place])
        _check(chosen, place, name, seen, known, where)
        if chosen == "category" and place not in labels:
            labels[place] = coded(parts, place)
        centre, scale = _standard(moments, chosen, place)
        columns.append(Column(chosen, known.names and known.names[place], labels.get(place), centre, scale))
    return tuple(columns)


def _standard(moments: Moments, kind: str, place: int) -> tuple[float, float]:
    """Centre and scale of a column, to six digits: the last ones differ between machines."""
    by_kind = {"real": moments.plain, "positive": moments.log, "counts": moments.log1p}
    if kind not in by_kind:
        return 0.0, 1.0
    mean, variance = (float(moment[place]) for moment in by_kind[kind])
    scale = float(f"{variance**0.5:.6g}")
    return float(f"{mean:.6g}"), scale if scale > 0 else 1.0


def _found(seen: Seen, moments: Moments, table: bool, alike: bool) -> list[str]:
    """The kind of each column by its values."""
    if not table:
        return ["real"] * len(seen.low)
    mean, variance = moments.plain
    log_mean, log_variance = moments.log
    natural = seen.whole & (seen.low >= 0)
    # By how much a log-normal's likelihood exceeds a normal's; NaN, which no comparison holds for, with a value <= 0.
    gain = (variance.log() - log_variance.log()) / 2 - log_mean
    if alike:
        count = natural.all() and variance.sum() >= _UNDERDISPERSED * mean.sum()
        tests = {"bits": natural.all() and seen.high.amax() <= 1, "counts": count, "positive": gain.mean() > _CLEARLY}
        return [next((kind for kind, holds in tests.items() if holds), "real")] * len(mean)
    each = {
        "bits": natural & (seen.high <= 1),
        "counts": natural & (variance >= _UNDERDISPERSED * mean),
        "positive": gain > _CLEARLY,
    }
    return [next((kind for kind, holds in each.items() if holds[n]), "real") for n in range(len(mean))]


def _asked(kind: Mapping[str, str] | str | None, names: Sequence[str], where: str) -> dict[str, str]:
    """The kinds asked for by the name of their column."""
    if kind is None:
        return {}
    chosen = dict.fromkeys(names, kind) if isinstance(kind, str) else dict(kind)
    if unknown := [name for name in chosen if name not in names]:
        raise DataError(where, f"a kind for one of the columns {_some(names)}", f"one for {unknown[0]!r}")
    if wrong := [given for given in chosen.values() if given not in KINDS]:
        raise DataError(where, f"a kind of numbers, {', '.join(KINDS)}", f"{wrong[0]!r}")
    return chosen


def parsed(text: str) -> Mapping[str, str] | str:
    """The kinds of `--kind`: one for all columns, or NAME=KIND,NAME=KIND."""
    if "=" not in text:
        return text
    pairs = [part.rpartition("=") for part in text.split(",")]
    return {name.strip(): kind.strip() for name, _, kind in pairs}


def _check(kind: str, place: int, name: str, seen: Seen, known: Known, where: str) -> None:
    """DataError where the values are not of the kind."""
    low, high, whole = float(seen.low[place]), float(seen.high[place]), bool(seen.whole[place])
    text = place in (known.labels or {})
    holds = {
        "bits": whole and low >= 0 and high <= 1,
        "category": True,
        "counts": whole and low >= 0,
        "positive": low > 0,
        "real": True,
        "grey": low >= 0 and high <= 1,
    }[kind]
    if text and kind != "category":
        raise DataError(f"{where}, column {name!r}", f"numbers, to be read as {kind}", "text")
    if not holds:
        found = f"values in [{low:g}, {high:g}]" + ("" if whole else ", not all whole")
        raise DataError(f"{where}, column {name!r}", _EXPECTED[kind], found, "ask for another kind")


_EXPECTED = {
    "bits": "zeros and ones, to be read as bits",
    "counts": "whole numbers from 0 on, to be read as counts",
    "positive": "numbers above 0, to be read as positive",
    "grey": "values in [0, 1], to be read as grey levels",
}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def coded(parts: Sequence[Tensor], column: int) -> tuple[str, ...]:
    """Turns the numbers of a column into codes 0..K-1 in place, in all parts; their labels, from the smallest on."""
    values = torch.cat([part[:, column] for part in parts]).unique()
    for part in parts:
        part[:, column] = torch.searchsorted(values, part[:, column].contiguous()).to(part)
    return tuple(f"{float(value):g}" for value in values)


def described(columns: Sequence[Column]) -> str:
    """How many columns there are of each kind, for people: "3 columns: 2 counts, 1 category (colour: red, green)"."""
    counts = {kind: [column for column in columns if column.kind == kind] for kind in KINDS}
    words = [f"{len(found)} {kind}" + _listed(found, len(columns)) for kind, found in counts.items() if found]
    return ", ".join(words)


def _listed(columns: Sequence[Column], total: int) -> str:
    names = [column.name for column in columns if column.name is not None]
    return f" ({_some(names)})" if names and total > len(columns) else ""
