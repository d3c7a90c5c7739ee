"""Labels of which some are missing."""

from __future__ import annotations

import numpy as np

from polyvae.data.columns.gaps import filled
from polyvae.data.errors import DataError
from polyvae.model.conditions import flag

KNOWN = flag("y")  # the name of the mask, boolean [N]; absent where all labels are known


def told(y: np.ndarray, known: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """Labels [N] with known ones in the place of those that are missing, and which are known; DataError without any."""
    if known.all():
        return {"y": y}
    if not known.any():
        raise DataError(where, "at least one label", "none", 'leave the labels away: label=""')
    return {"y": filled(y, known), KNOWN: known}


def missing(y: np.ndarray) -> np.ndarray:
    """Which labels [N] of an array are missing: NaN, -1 but of `two_signs`, or empty text."""
    if y.dtype.kind == "U":
        return np.char.strip(y) == ""
    return np.isnan(y) if y.dtype.kind == "f" else (y == -1) & (not two_signs(y))


def two_signs(y: np.ndarray) -> bool:
    """Whether whole numbers [N] are -1 and 1 and no others: two classes, and none that is missing."""
    return y.dtype.kind == "i" and np.unique(y).tolist() == [-1, 1]
