"""What a module may say of its own training: a group of the optimiser for its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """How the parameters of one module are trained, as its attribute `optimizer`: what is not said is as of the rest.

    lr_scale: factor of the learning rate, which schedule and warm-up then move.
    betas: decays of Adam's two moments, in [0, 1).
    clip: largest norm of the group's own gradient, clipped apart from the rest.
    weight_decay: in the place of the run's, at least 0.

    A part, a term or any module within them may declare one; of nested ones the innermost counts.
    """

    lr_scale: float = 1.0
    betas: tuple[float, float] | None = None
    clip: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("lr_scale", self.lr_scale), ("clip", self.clip)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} of an optimiser group is a positive number; got {value!r}")
        if self.betas is not None and not (len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)):
            raise ValueError(f"betas of an optimiser group are two numbers in [0, 1); got {self.betas!r}")
        if self.weight_decay is not None and not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay of an optimiser group is a number of at least 0; got {self.weight_decay!r}")
