"""Figures of models with classes: a class is a vector of zeros and a one, and is shown as nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.figures import model, split
from polyvae import figures, recipes
from polyvae.figures.latents import latent_of
from polyvae.model.spec import Spec

SMALL = {"network": "mlp", "widths": (8,), "latent": 3, "seed": 0}


def seen_by_decoder(made: recipes.Recipe, name: str) -> list[torch.Tensor]:
    """What is decoded of a latent from now on."""
    found, decode = [], made.model.decode

    def spied(values, *rest):
        found.append(values[name])
        return decode(values, *rest)

    made.model.decode = spied  # pyright: ignore[reportAttributeAccessIssue]
    return found


def test_a_class_takes_its_values_and_no_others() -> None:
    made, data = model("m2", features=8), split()
    assert latent_of(made.model, None) == "z"
    decoded = seen_by_decoder(made, "y")
    found = figures.traversals(made, data, "y")
    assert (found.rows, found.columns, found.pictures.shape[:2]) == (("y",), ("0", "1", "2"), (1, 3))
    assert decoded[-1].equal(torch.eye(3))
    figures.interpolations(made, data, 4)
    assert decoded[-1].max(-1).values.unique().tolist() == [1.0]
    assert decoded[-1].sum(-1).unique().tolist() == [1.0]
    z = figures.traversals(made, data)
    assert {row[:2] for row in z.rows} == {"z["}
    text = {word.get_text() for axes in figures.drawing(found).axes for word in axes.get_xticklabels()}
    assert {"0", "1", "2"} <= text


def test_what_is_below_a_class_follows_it_and_clusters_are_called_so() -> None:
    made, data = recipes.vade(Spec((1, 6, 8)), 4, likelihood="bernoulli", **SMALL), split()
    found = figures.traversals(made, data, "c")
    with torch.no_grad():
        means = made.model.prior["z"]({"c": torch.eye(4)}).mean
        expected = made.model.eval().decode({"c": torch.eye(4), "z": means})["x"].mean
    np.testing.assert_allclose(found.pictures[0], expected.numpy(), atol=1e-6)
    assert figures.latent_map(made, data, "z", by_class=True).of == "cluster"
    assert figures.latent_map(model("m2", features=8), data, "z", by_class=True).of == "class"
    with pytest.raises(ValueError, match="no latents above each other"):
        figures.levels(made, data)


def test_examples_of_a_class_are_its_members_alone() -> None:
    made, data = model("m2", features=8), split(20)
    with torch.no_grad():
        q = made.model.posterior["y"]
        list(q.parameters())[-1].copy_(torch.tensor([0.0, -40.0, 0.2]))  # the second class is empty
    found = figures.clusters(made, data, examples=30, samples=2)
    blank = np.isnan(found.examples).all((2, 3, 4))
    counts = (~blank).sum(1)
    assert counts[1] == 0
    assert counts.sum() == 20
    assert found.rows[1] == "1: 0 examples"
    assert [int(row.split(": ")[1].split()[0].replace(",", "")) for row in found.rows] == counts.tolist()
    assert all(' % are "' in row for row, count in zip(found.rows, counts, strict=True) if count)
    shown = {each.tobytes() for each in found.examples[~blank]}
    assert len(shown) == 20
    assert figures.drawing(found, "Clusters") is not None


def test_all_figures_of_independent_latents_say_nothing_of_an_order(tmp_path: Path) -> None:
    names = {path.stem for path in figures.save_figures(model("m2", features=8), split(), tmp_path)}
    assert {"traversals-y", "traversals-z", "map-z", "clusters", "map-z-by-class"} <= names
    assert not names & {"map-y", "levels", "groups"}
    made = recipes.vade(Spec((1, 6, 8)), 4, likelihood="bernoulli", **SMALL)
    names = {path.stem for path in figures.save_figures(made, split(), tmp_path / "vade")}
    assert "groups" in names
    assert not names & {"map-c", "levels"}
