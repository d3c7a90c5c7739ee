"""What the shapes assignment trains, and how it is read: read by its command too, and so without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from polyvae.checks.ranges import Count, Positive, Range, Weight, Widths, check

Noises = Annotated[Sequence[float], Range(0, open=True)]
Side = Annotated[int, Range(8, 1024, whole=True)]
Epochs = Annotated[Sequence[int], Range(1, whole=True)]


@dataclass(frozen=True)
class Assignment:
    """What is trained on the shapes, and when it is read; the optimiser is Adam.

    noises: variances of the noise that the codes of `bir_vae` pass through, each a variant beside the VAE.
    readings: epochs at which every training is measured, the last of them its end.
    seeds: runs of each variant.
    pictures: of the training part.
    size: pixels a side.
    latent: dimensions of z.
    network: of encoder and decoder.
    widths: of its layers, or their channels, in the encoder's order.
    weight: of the MMD.
    batch_size: examples a step.
    lr: Adam's.
    scored: so many new pictures are reconstructed, and so many drawn, for each reading.
    """

    noises: Noises = (2.0, 5.0, 15.0)
    readings: Epochs = (10, 20, 50)
    seeds: Count = 3
    pictures: Count = 10_000
    size: Side = 28
    latent: Count = 128
    network: str = "conv"
    widths: Widths = (8, 16, 32)
    weight: Weight = 1000.0
    batch_size: Count = 128
    lr: Positive = 1e-3
    scored: Count = 3000

    def __post_init__(self) -> None:
        check(Assignment, vars(self))
        if list(self.readings) != sorted(set(self.readings)) or not self.readings:
            raise ValueError(f"readings are epochs that rise, such as 10,20,50; got {list(self.readings)}")
        if len(set(self.noises)) < len(self.noises):
            raise ValueError(f"noises: each variance once; got {list(self.noises)}")
