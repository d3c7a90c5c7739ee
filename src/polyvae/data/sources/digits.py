"""scikit-learn's handwritten digits of 8x8, which come with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec


def _digits(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    # Seventeen grey levels, 0 to 16: floats keep them exactly, bytes would not.
    return {"all.x": np.asarray(x, np.float32).reshape(-1, 1, 8, 8) / 16, "all.y": np.asarray(y, np.int64)}


DIGITS = Source(
    "digits",
    About(
        "Digits of scikit-learn: Alpaydin and Kaynak, Optical recognition of handwritten digits, 1998",
        "CC BY 4.0",
        {"all": 1_797},
        "it comes with scikit-learn",
    ),
    Spec((1, 8, 8), classes=10, levels=17),
    _digits,
)
