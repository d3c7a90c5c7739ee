"""Missing values: which values of x are seen, and what stands where none is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, expm1

import torch
from torch import Tensor

from polyvae.model.networks.prepared import Centre
from polyvae.model.spec import Column

# What a network reads as zero, in the units of a column; of a category, a code that is no label's.
_NEUTRAL: Mapping[str, Callable[[Column], float]] = {
    "real": lambda column: column.centre,
    "positive": lambda column: exp(column.centre),
    "counts": lambda column: expm1(column.centre),
    "category": lambda column: -1.0,
}


@dataclass(frozen=True)
class Gaps:
    """Say which values of x are seen, booleans `seen` in the shape of x, and fill the others with a network's zero.

    The batch's own mask counts, which broadcasts to x, and what is not a number is not seen either. In a column of a
    known kind the filling is what its standardised number is zero at, a category without a label; elsewhere it is 0.
    `mask`: also add s, the mask as zeros and ones. `centre`: the layer in front of a network that takes a mean off,
    which then is the filling.
    """

    columns: tuple[Column, ...] = ()
    mask: bool = False
    centre: Centre | None = None

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x = values["x"]
        seen = ~x.isnan()
        if "seen" in values:
            seen = seen & values["seen"].bool()
        zero = neutral(self.columns, x) if self.centre is None else self.centre.mean.to(x)
        filled = torch.where(seen, x, zero)
        return {**values, "x": filled, "seen": seen, **({"s": seen.to(x.dtype)} if self.mask else {})}


def neutral(columns: tuple[Column, ...], x: Tensor) -> Tensor:
    """For each column of x [B, D, *rest] the number that a network reads as zero, [D, *1]; 0 without columns."""
    if not columns:
        return x.new_zeros(())
    return _neutral(columns, x.dtype, x.device).view(-1, *[1] * (x.ndim - 2))


@lru_cache(maxsize=16)  # a copy to the device at every step would wait for it
def _neutral(columns: tuple[Column, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    found = [_NEUTRAL[column.kind](column) if column.kind in _NEUTRAL else 0.0 for column in columns]
    return torch.tensor(found, dtype=dtype, device=device)
