"""What all runs of a study of recipes share: read by its command too, and so without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polyvae.checks.ranges import Amount, Count, Positive, Seed, Widths, check

Binarise = Literal["auto", "dynamic", "fixed", "threshold", "none"]


@dataclass(frozen=True)
class Budget:
    """What every run of a study of recipes is given, so that they can be compared; the optimiser is Adam.

    seeds: runs of each recipe, with seeds from 0 on, of the weights, the order and the noise.
    epochs: passes over the training part of every run.
    batch_size: examples a step.
    lr: Adam's.
    limit: so many training examples, the other parts in proportion.
    binarise: bits drawn anew for every training batch and once for the other parts (dynamic), or once in all (fixed), a
        threshold, or none; auto is dynamic for grey pictures.
    data_seed: of the cut into parts, the same for all runs.
    """

    seeds: Count = 3
    epochs: Amount = 40
    batch_size: Count = 128
    lr: Positive = 1e-3
    limit: Count | None = None
    binarise: Binarise = "auto"
    data_seed: Seed = 0

    def __post_init__(self) -> None:
        check(Budget, vars(self))


@dataclass(frozen=True)
class Networks:
    """The networks of every recipe that takes them, and the size of its latent.

    latent: dimensions of z.
    network: of encoder and decoder, by default the perceptron of Burda, Grosse and Salakhutdinov, 2016.
    widths: of its layers, in the encoder's order.
    """

    latent: Count = 50
    network: str = "mlp-tanh"
    widths: Widths = (200, 200)

    def __post_init__(self) -> None:
        check(Networks, vars(self))
