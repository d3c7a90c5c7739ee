"""What the comparison of recipes measures and how exactly: read by its command too, and so without torch."""

from __future__ import annotations

from dataclasses import dataclass

from polyvae.checks.ranges import Amount, Count, check


@dataclass(frozen=True)
class Scoring:
    """How every run is measured on the test part, once, after training.

    samples: K of the importance-weighted bound, draws for each example.
    scored: so many examples, a seeded subset, tell what the importance weights add to the plain bound of all.
    pictures: samples that are set beside as many real pictures in the Fréchet distance; 0 for none.
    timing: whether seconds a step and memory are measured, in a process of its own on one thread.
    """

    samples: Count = 1000
    scored: Count = 1000
    pictures: Amount = 10_000
    timing: bool = True

    def __post_init__(self) -> None:
        check(Scoring, vars(self))
