"""Whether the examples of an array follow each other in time, so that parts cut at random hold neighbours of others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from polyvae.data.readers.mapped import rows_of

ALIKE = 0.25  # of what random rows differ by, below which consecutive ones are clearly alike
FEWEST = 20  # examples, below which chance alone may make neighbours alike
_PAIRS = 256
_VALUES = 2**22  # in all rows that are looked at, but for so large ones that these would be fewer than 32


def series_notes(tensors: Mapping[str, Tensor], where: str) -> tuple[str, ...]:
    """A note where consecutive x [N, ...], which are cut at random, are clearly alike.

    Not where examples have classes: these may be in order, and a class would be held out whole.
    """
    x, y = tensors.get("x"), tensors.get("y")
    if x is None or (y is not None and y.ndim == 1) or likeness(x) >= ALIKE:
        return ()
    return (
        f"{where}: consecutive examples are alike, as in a series, and parts cut at random hold neighbours of what is "
        "trained on; --blocks 15, in Python pv.data.load(..., blocks=15), holds out whole runs of them, and 0 says "
        "that random is meant",
    )


def likeness(x: Tensor) -> float:
    """How much consecutive rows of x [N, ...] differ beside random ones: about 1 if shuffled, near 0 in a slow series.

        mean over the values j that vary of  E (x[t + 1, j] - x[t, j])^2 / E (x[s, j] - x[r, j])^2

    over at most 256 seeded places t, s and r; 1 for fewer than 20 rows. Source: von Neumann, Distribution of the ratio
    of the mean square successive difference to the variance, 1941.
    """
    if len(x) < FEWEST:
        return 1.0
    pairs = min(len(x) - 1, _PAIRS, max(32, _VALUES // x[0].numel()))
    places = torch.from_numpy(np.random.default_rng(0).choice(len(x) - 1, pairs, replace=False)).sort().values
    index = places.to(x.device)
    rows, following = (rows_of(x, index + shift).flatten(1).double() for shift in (0, 1))
    # Of both: values that seldom differ from zero may do so in one of them alone.
    variance = torch.cat([rows, following]).var(0)
    ratios = ((following - rows).square().mean(0) / (2 * variance))[variance > 0]
    return float(ratios.mean()) if len(ratios) else 1.0
