"""Columns that lose information as float32, since they vary by little more than its steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from polyvae.checks.names import shortened
from polyvae.data.memory_maps import PIECE, is_large, let_go, pieces

LOST = 0.01  # of a column's standard deviation, from which on a note names the column
_NOISE = 1e-12  # of the values: fractions that differ by less in double precision have been computed alike
_ROWS = 256  # of a large array, by which it is judged


def steps(x: np.ndarray, skipped: Collection[int] = ()) -> dict[int, tuple[float, float]]:
    """The columns or channels of which float32 loses more than `LOST`, by place: its step there, and their deviation.

    sd(x - float32(x)) > 0.01 sd(x), x [N, d] or [N], or [N, C, H, W] or [N, H, W], channels last as in `tensors_of`. A
    large array is judged by a few rows, drawn with a seed; columns in `skipped` are not judged.
    """
    plain = x.dtype.kind not in "iuf" or x.dtype.itemsize < 4 or x.dtype.newbyteorder("=") == np.float32
    if plain or x.ndim not in range(1, 5) or 0 in x.shape:
        return {}
    with np.errstate(all="ignore"):  # what is not finite is refused elsewhere
        parts = [_few(x)] if is_large(x.nbytes) else list(pieces(x))
        bounds = [(part.min(0), part.max(0)) for part in map(_flat, parts)]
        low, high = np.min([each for each, _ in bounds], 0), np.max([each for _, each in bounds], 0)
        first = _flat(parts[0][:1])[0].astype(np.float64)
        total = square = count = 0
        for part in map(_flat, parts):
            apart = part.astype(np.float64) - first
            total, square, count = total + apart.sum(0), square + np.square(apart).sum(0), count + len(part)
        deviation = np.sqrt(np.maximum(square / count - np.square(total / count), 0))
        step = np.spacing(
            np.maximum(np.abs(low.astype(np.float64)), np.abs(high.astype(np.float64))).astype(np.float32)
        )
        # Rounding is off by half a step at most: most columns are settled here.
        suspects = np.flatnonzero((low < high) & ~(step / 2 <= LOST * deviation)).tolist()
        found = {}
        for place in (place for place in suspects if place not in skipped):
            column = np.concatenate([_flat(part)[:, place] for part in parts])
            values = column.astype(np.longdouble)  # int64 has more digits than float64
            own, lost = float((values - values[0]).std()), float((values - column.astype(np.float32)).std())
            apart = own > _NOISE * abs(float(values[0])) or (column == np.round(column)).all()
            if lost > LOST * own and apart:
                found[place] = float(step[place]), own
    return found


def note(found: Mapping[str, tuple[float, float]], where: str | Path) -> tuple[str, ...]:
    """The note to a user on columns, by name, that `steps` found."""
    if not found:
        return ()
    words = [f"{name!r} (steps of {step:.3g}, standard deviation {own:.3g})" for name, (step, own) in found.items()]
    return (
        f"{where}: numbers are held in single precision, which is too coarse for "
        f"{shortened(words, 8, ' and {} more columns')}; "
        "subtract a constant from such a column, such as its smallest value",
    )


def exact(x: np.ndarray) -> bool:
    """Whether float32 holds a table [N, d]: every whole number exactly, and all columns as `steps` requires."""
    return not ((x != x.astype(np.float32)) & (x == np.round(x))).any() and not steps(x)


def _flat(x: np.ndarray) -> np.ndarray:
    """Rows [n, C] of the numbers of each column or channel."""
    if x.ndim in (1, 3):
        return x.reshape(-1, 1)
    if x.ndim != 4:
        return x
    last = x.shape[3] <= 3 < x.shape[1]
    return (x if last else np.moveaxis(x, 1, -1)).reshape(-1, x.shape[3 if last else 1])


def _few(x: np.ndarray) -> np.ndarray:
    """A copy of some rows of a large array; of a map, few pages are kept in memory."""
    count = max(2, min(_ROWS, len(x), PIECE // x[:1].nbytes))
    rows = []
    for row in np.sort(np.random.default_rng(0).integers(0, len(x), count)):
        rows.append(np.array(x[row]))
        if len(rows) % 32 == 0:
            let_go(x.ctypes.data)
    let_go(x.ctypes.data)
    return np.stack(rows)
