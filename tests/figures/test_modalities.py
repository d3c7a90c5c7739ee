"""Figures of models of several modalities: what stands in a sheet and in a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.coherent import copying, triples
from polyvae.data import Data
from polyvae.figures.modalities import modal_map, sheet
from polyvae.figures.plots import draw, drawing
from polyvae.recipes import RECIPES


@pytest.fixture(scope="module")
def data() -> Data:
    return triples()


def test_a_sheet_has_reconstructions_then_crosses_then_draws(data: Data, tmp_path: Path) -> None:
    recipe = RECIPES["mmvae"](data.spec, seed=0, latent=3)
    made = sheet(recipe, data.test, data.spec.values, columns=6)
    assert made is not None
    assert list(made.pictures) == ["reconstructed", "made of another", "drawn"]
    assert made.rows["reconstructed"] == ("c", "c, of itself", "c, of all")
    assert made.rows["made of another"] == ("c of a", "c of a", "c of b", "c of b", "c given")
    assert made.rows["drawn"] == ("c",)
    for words, pictures in made.pictures.items():
        assert pictures.shape == (len(made.rows[words]), 6, 3, 9, 9)
    assert np.array_equal(made.pictures["reconstructed"][0], made.pictures["made of another"][-1])
    again = sheet(recipe, data.test, data.spec.values, columns=6)
    assert again is not None
    assert all(np.array_equal(made.pictures[words], again.pictures[words]) for words in made.pictures)
    assert draw(made, tmp_path / "sheet.png").stat().st_size > 1000


def test_the_columns_of_a_sheet_take_the_classes_by_turns(data: Data) -> None:
    made = sheet(RECIPES["mvae"](data.spec, seed=0, latent=3), data.test, data.spec.values, columns=6)
    assert made is not None
    bright = made.pictures["reconstructed"][0][:, 0].mean(2)  # of each row of the picture
    classes = [int(each.reshape(3, 3).mean(1).argmax()) for each in bright]
    assert classes == [0, 1, 2, 0, 1, 2]


def test_a_sheet_of_no_pictures_is_none(data: Data) -> None:
    specs = {name: spec for name, spec in data.spec.values.items() if name != "c"}
    assert sheet(copying(), data.test, specs) is None


def test_blocks_of_a_sheet_are_as_high_as_their_rows(data: Data) -> None:
    made = sheet(RECIPES["mvae"](data.spec, seed=0, latent=3), data.test, data.spec.values, columns=4)
    heights = [axes.get_position().height for axes in drawing(made, "sheet").axes]
    assert heights[0] / heights[2] == pytest.approx(31 / 11)  # three pictures of nine pixels and a gap, and one of them
    assert heights[1] / heights[2] == pytest.approx(51 / 11)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_map_has_a_point_for_each_row_and_modality(method: str, data: Data, tmp_path: Path) -> None:
    specs = {name: spec for name, spec in data.spec.values.items() if name != "c"}
    made = modal_map(copying(), data.test, specs, method=method, count=40)
    assert made.points.shape == (80, 2)
    assert made.given.tolist() == ["a"] * 40 + ["b"] * 40
    assert made.labels is not None
    assert np.array_equal(made.labels[:40], made.labels[40:])
    middles = np.stack([made.points[made.labels == label].mean(0) for label in range(3)])
    nearest = np.square(made.points[:, None] - middles).sum(2).argmin(1)
    assert (nearest == made.labels).mean() > 0.9  # the posterior is told the class by either
    assert draw(made, tmp_path / "map.png").stat().st_size > 1000


def test_a_map_of_a_latent_that_there_is_not_is_refused(data: Data) -> None:
    recipe = RECIPES["dmvae"](data.spec, seed=0, latent=3)
    assert len(modal_map(recipe, data.test, data.spec.values, "w_a", "pca", 12).points) == 36
    with pytest.raises(ValueError, match="a latent of the model"):
        modal_map(recipe, data.test, data.spec.values, "w_d", "pca", 12)
    with pytest.raises(ValueError, match="method"):
        modal_map(recipe, data.test, data.spec.values, method="umap")


def test_global_noise_stays_as_it_was(data: Data) -> None:
    recipe = RECIPES["mvae"](data.spec, seed=0, latent=3)
    state = torch.get_rng_state()
    sheet(recipe, data.test, data.spec.values, columns=3)
    assert torch.equal(torch.get_rng_state(), state)
