"""What a file's numbers stand for: symbols 0, 1, ... of a model, and the same numbers of them again."""

from __future__ import annotations

import numpy as np


def symbols_of(values: np.ndarray, levels: int | None) -> tuple[np.ndarray, float] | None:
    """Symbols int64 and the `top`, the number that the highest level has in this file; None where they have none.

    Of counts (no `levels`) the numbers are the symbols, and the top is 0. Of levels the top is 255 for bytes, 1 for
    numbers in [0, 1], or the highest level itself.
    """
    if not values.size or values.dtype.kind not in "buif":
        return None
    if levels is None:
        found = values.astype(np.int64) if values.dtype.kind != "f" or np.isfinite(values).all() else None
        if found is None or found.min() < 0 or not same(numbers_of(found, None, 0, values.dtype), values):
            return None
        return found, 0
    tops = (255.0, levels - 1.0) if values.dtype.kind in "ui" else (1.0,)
    for top in tops:
        with np.errstate(invalid="ignore", over="ignore"):
            found = np.rint(values.astype(np.float64) * ((levels - 1) / top))
        if not (found >= 0).all() or not (found < levels).all():
            continue
        whole = found.astype(np.int64)
        if same(numbers_of(whole, levels, top, values.dtype), values):
            return whole, top
    return None


def numbers_of(symbols: np.ndarray, levels: int | None, top: float, dtype: np.dtype) -> np.ndarray:
    """The numbers that stand for symbols in a file of this type."""
    if levels is None:
        return symbols.astype(dtype)
    exact = symbols * (top / (levels - 1)) if dtype.kind in "ui" else symbols / (levels - 1)
    return (np.rint(exact) if dtype.kind in "ui" else exact).astype(dtype)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether arrays are the same to the last bit, so that -0.0 is not 0."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
