"""What a model must know of the data: shapes and counts, no values."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Spec:
    """The shape of one example and of what may condition it.

    `x`: (C, H, W) for pictures, (d,) for tables. `classes`: number of labels when `y` holds integer labels
    0..classes-1. `y`: length when `y` holds vectors. `levels`: grey levels of the original values (256 for bytes scaled
    to [0, 1], 2 for binarised pictures, None for continuous data); bits per dimension are counted with it.
    """

    x: tuple[int, ...]
    classes: int | None = None
    y: int | None = None
    levels: int | None = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", tuple(int(side) for side in self.x))
        if not self.x or min(self.x) < 1:
            raise ValueError(f"Spec.x is the shape of one example, every side at least 1; got {self.x}")
        if self.classes is not None and self.classes < 1:
            raise ValueError(f"Spec.classes counts the labels; got {self.classes}")

    @property
    def dimensions(self) -> int:
        """Number of values in one example."""
        return prod(self.x)

    @property
    def condition(self) -> int | None:
        """Length of the vector that stands for `y`: one-hot labels or the vector itself; None without one."""
        return self.y if self.classes is None else self.classes
