"""What the study of disentanglement measures, and its usual grid: read by its command too, and so without torch."""

from __future__ import annotations

from dataclasses import dataclass

from polyvae.checks.ranges import Amount, Count, check

RECIPES = "vae, beta_vae:beta=4, beta_tcvae:beta=2, beta_tcvae:beta=6, factor_vae:gamma=10, factor_vae:gamma=35"


@dataclass(frozen=True)
class Factored:
    """How every run is scored, once, after training.

    scored: so many examples of the test part, a seeded subset; the limit of training does not cut that part.
    traversals: so many dimensions of the first seed's code are walked along, those that carry most; 0 for no picture.
    """

    scored: Count = 10_000
    traversals: Amount = 10

    def __post_init__(self) -> None:
        check(Factored, vars(self))
