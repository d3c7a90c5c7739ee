"""Which weights a curve of rate and distortion is drawn over: read by its command too, and so without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from polyvae.checks.ranges import Count, Range, check

Betas = Annotated[Sequence[float], Range(0, open=True)]


@dataclass(frozen=True)
class Sweep:
    """Over which weights a curve is drawn, and how exactly its points are measured.

    betas: weights of the divergence, each a training of its own.
    scored: so many examples of the test part at most, a seeded subset.
    samples: draws of the latents for each, K of the importance-weighted bound.
    """

    betas: Betas = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    scored: Count = 2000
    samples: Count = 64

    def __post_init__(self) -> None:
        check(Sweep, vars(self))
        if len(set(self.betas)) < len(self.betas) or not self.betas:
            raise ValueError(f"betas: each weight once, at least one; got {list(self.betas)}")
