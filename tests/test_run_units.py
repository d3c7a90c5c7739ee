"""What a run is given and gives back is in the user's units: bytes, categories, labels, totals, values not seen."""

from __future__ import annotations

import numpy as np
import torch

import polyvae as pv

COLUMNS = (
    pv.Column("real", "size"),
    pv.Column("category", "town", ("Bonn", "Jena", "Ulm")),
    pv.Column("category", "grade", ("2", "5")),
)


def untrained(recipe: str = "vae", columns: tuple[pv.Column, ...] = COLUMNS, **options: object) -> pv.Run:
    spec = pv.Spec((len(columns),), levels=None, columns=columns)
    given = {"network": "mlp", "widths": [8], "latent": 2, **options}
    return pv.Run(getattr(pv.recipes, recipe)(spec, seed=0, **given))


def test_bytes_of_a_table_are_completed_as_the_numbers_that_they_are() -> None:
    run = untrained("arbitrary_conditioning", tuple(pv.Column("counts", centre=3.0) for _ in range(4)))
    x = np.random.default_rng(0).integers(0, 256, size=(6, 4))
    mask = np.array([[1, 1, 1, 0]])
    expected = run.complete(x.astype(np.float32), mask, draws=5).mean
    for given in (x.astype(np.uint8), x):
        np.testing.assert_array_equal(run.complete(given, mask, draws=5).mean, expected)
    found = pv.complete(run, torch.from_numpy(x.astype(np.uint8)), mask, draws=5).mean
    np.testing.assert_array_equal(found, expected)
