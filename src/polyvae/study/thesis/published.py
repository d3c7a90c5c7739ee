"""The published table of the study, beside which ours is printed.

Edvards Zakovskis: Multitask variational autoencoders, master's thesis, University of Bergen, 2024: five-fold
cross-validation, means over the folds of the last validation values. `published.csv` holds its figures by our names of
the cells.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import sqrt

SOURCE = "Zakovskis: Multitask variational autoencoders, University of Bergen, 2024"
PIXELS = {"mnist": 28 * 28, "cifar10": 3 * 32 * 32, "celeba": 3 * 64 * 64}


@dataclass(frozen=True)
class Published:
    """Published means over five folds and their standard deviations.

    mse: squared error per pixel without m. latent: KL in nats, or the loss of the codes.
    """

    mse: float
    mse_sd: float
    latent: float
    latent_sd: float


@cache
def published() -> dict[str, Published]:
    """Every published line by the name of its cell.

    What stands beside the published means is a variance; the deviation here is its root. Of the Gaussian models'
    reconstructions 49 of the 54 variances are larger than any five non-negative numbers of that mean can have, so
    these are read as variances of the squared error summed over a picture, and their root is divided by its pixels.
    """
    text = files("polyvae.study.thesis").joinpath("published.csv").read_text(encoding="utf-8")
    return {row["cell"]: _line(row) for row in csv.DictReader(text.splitlines())}


def _line(row: dict[str, str]) -> Published:
    dataset, family, _ = row["cell"].split("-", 2)
    summed = PIXELS[dataset] if family == "gaussian" else 1
    return Published(
        float(row["reconstruction"]),
        sqrt(float(row["reconstruction_variance"])) / summed,
        float(row["latent"]),
        sqrt(float(row["latent_variance"])),
    )
