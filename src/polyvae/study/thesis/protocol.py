"""What all runs of a study share: read by its command too, and so without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polyvae.checks.ranges import Amount, Count, Seed, Widths


@dataclass(frozen=True)
class Protocol:
    """How every run of a study is trained, so that they can be compared.

    limit: so many training images of each fold, the validation part in proportion.
    epochs, batch_size: passes over the training part, and examples a step, of every run.
    seed: of the folds, the weights and the noise.
    precision: fp32, bf16, or fp16 with loss scaling.
    widths: channels of the networks in the place of the configurations', for small studies.
    decoder: of all methods: flat as published, or multiscale, which joins what convolutions of m see to z's maps.
    """

    limit: Count | None = None
    epochs: Amount = 100
    batch_size: Count = 128
    seed: Seed = 0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    widths: Widths | None = None
    decoder: Literal["flat", "multiscale"] = "flat"
