"""Figures of completions that others measured, which stand beside those of the study as they were told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VAEAC = (
    "an outside comparison, November 2026, not this command: the authors' code of Ivanov, Figurnov, Vetrov: "
    "Variational Autoencoder with Arbitrary Conditioning, 2019"
)
NORMAL = "the same comparison: the normal law of the training part, conditioned and not cut off at the limits"
UNET = "the same comparison: a U-Net of its own, trained on (picture, mask)"
PROTOCOL = (
    "Quoted figures are of 10,000 training pictures, 500 test pictures and 5 to 6 minutes of one thread, over unseen "
    "pixels; other test pictures and masks than here, so that no difference is paired with them."
)


@dataclass(frozen=True)
class Quoted:
    """Scores of a method on a data set by the number of seen pixels, and where they are told."""

    dataset: str
    label: str
    scores: Mapping[str, Mapping[str, float]]
    source: str


def _by_points(*values: float) -> dict[str, float]:
    return dict(zip(("5", "20", "40", "80", "200"), values, strict=True))


QUOTED = (
    Quoted(
        "mnist",
        "VAEAC, quoted",
        {
            "mse": _by_points(0.0649, 0.0564, 0.0475, 0.0359, 0.0219),
            "crps": _by_points(0.0977, 0.0874, 0.0763, 0.0621, 0.0441),
        },
        VAEAC,
    ),
    Quoted(
        "mnist",
        "normal law uncut, quoted",
        {
            "mse": _by_points(0.0615, 0.0522, 0.0429, 0.0323, 0.0183),
            "crps": _by_points(0.1012, 0.0925, 0.0832, 0.0717, 0.0543),
        },
        NORMAL,
    ),
    Quoted(
        "mnist",
        "a U-Net, quoted",
        {
            "mse": _by_points(0.0633, 0.0549, 0.0454, 0.0337, 0.0195),
            "crps": _by_points(0.0817, 0.0733, 0.0639, 0.0522, 0.0379),
        },
        UNET,
    ),
)


def quoted(dataset: str) -> tuple[Quoted, ...]:
    """What is quoted of a data set."""
    return tuple(each for each in QUOTED if each.dataset == dataset)
