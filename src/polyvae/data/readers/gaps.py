"""Values of arrays that are missing: NaN, masked ones, or what a mask beside x says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

import numpy as np

from polyvae.data.columns.gaps import filled
from polyvae.data.columns.table import Table
from polyvae.data.errors import DataError
from polyvae.data.memory_maps import is_large, pieces


def unmasked(value: np.ma.MaskedArray, where: str) -> np.ndarray:
    """A masked array of numbers as a plain one, NaN where it is masked. Raises DataError for masked text."""
    hidden = np.ma.getmaskarray(value)
    if not hidden.any():
        return np.asarray(value.data)
    if value.dtype.kind not in "biuf":
        raise DataError(where, "a value in every cell", f"{int(hidden.sum()):,} masked", "leave these rows out")
    return np.where(hidden, np.nan, value.data).astype(value.dtype if value.dtype.kind == "f" else np.float64)


def masked_levels(value: np.ma.MaskedArray) -> dict[str, np.ndarray]:
    """Masked pictures of whole numbers, which hold no NaN: x with its smallest level where it is masked, and `seen`."""
    hidden = np.ma.getmaskarray(value)
    low = value.compressed().min() if not hidden.all() else 0
    return {"x": value.filled(low), "seen": ~hidden}


def with_mask(table: Table, where: str, gaps: bool) -> Table:
    """The table with what is not seen of x filled by what is; with `gaps`, NaN is not seen."""
    x, seen = table.arrays.get("x"), table.arrays.get("seen")
    if x is None or is_large(x.nbytes) or (seen is None and not gaps):
        return table
    known = ~np.isnan(x) if x.dtype.kind == "f" and gaps else np.ones(x.shape, bool)
    if seen is None and known.all():
        return table
    if seen is not None:
        known = known & shown(seen, x, where)
    arrays = {**table.arrays, "seen": known}
    if x.dtype != np.uint8:  # any byte is a grey level
        if x.ndim <= 2:
            columns = {n: (x[..., n], known[..., n]) for n in range(x.shape[1])} if x.ndim > 1 else {0: (x, known)}
            if empty := [n for n, (_, there) in columns.items() if not there.any()]:
                raise DataError(where, "at least one value in every column", f"none in column {empty[0]}", "drop it")
            made = [filled(*pair) for pair in columns.values()]
            arrays["x"] = np.stack(made, 1) if x.ndim > 1 else made[0]
        elif not known.any():
            raise DataError(where, "values", "none is seen", "give data that is not empty")
        else:
            arrays["x"] = np.where(known, x, x[known].min())
    if seen is not None:
        return replace(table, arrays=arrays)  # who gives a mask knows what it says
    share = f"{int((~known).sum()):,} of {known.size:,} values ({1 - known.mean():.1%})"
    return replace(table, arrays=arrays, notes=(*table.notes, f"{where}: {share} of x are missing, and kept as gaps"))


def shown(seen: np.ndarray, x: np.ndarray, where: str) -> np.ndarray:
    """A user's mask in the shape of x, as booleans. Raises DataError for other numbers and shapes."""
    place = f"{where}['seen']"
    if not np.isin(seen, (0, 1)).all():
        raise DataError(place, "True or 1 where a value of x is there, False or 0 where it is not", "other numbers")
    try:
        if len(seen) != len(x):
            raise ValueError
        return np.broadcast_to(seen.astype(bool), x.shape)
    except ValueError:
        raise DataError(place, f"a mask of the shape {list(x.shape)} of x", f"shape {list(seen.shape)}") from None


def check_mask(seen: Sequence[int], x: Sequence[int], where: str) -> None:
    """DataError for a mask whose shape does not broadcast to that of x."""
    if len(seen) != len(x) or any(side not in (1, other) for side, other in zip(seen, x, strict=True)):
        expected = f"a mask that broadcasts to x {list(x)}"
        raise DataError(f"{where}['seen']", expected, f"{list(seen)}", "give it the shape of x")


def check_numbers(array: np.ndarray, place: str) -> None:
    """DataError for values that are not finite."""
    start = 0
    for piece in pieces(array):
        if not (isfinite(float(piece.min())) and isfinite(float(piece.max()))):
            row = start + int(np.argwhere(~np.isfinite(piece))[0][0])
            advice = "drop or fill what is missing, and rescale what overflows"
            raise DataError(place, "finite numbers (float32)", f"NaN or infinity, first in example {row}", advice)
        start += len(piece)
