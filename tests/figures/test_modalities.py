"""Figures of models of several modalities: what stands in a sheet and in a map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

import polyvae as pv
from helpers.coherent import copying, triples
from polyvae.completion.translate import translate
from polyvae.data import Data, Split
from polyvae.figures import whole
from polyvae.figures.kinds import ModalMap, Sheet
from polyvae.figures.modalities import modal_map, sheet, translated
from polyvae.figures.pixels import save_array
from polyvae.figures.plots import draw, drawing
from polyvae.figures.style import CLASSES
from polyvae.model.spec import Column, Modality
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
    assert made.rows["made of another"] == ("c, real", "c of a", "c of a, draw 2", "c of b", "c of b, draw 2")
    assert made.rows["drawn"] == ("c",)
    for words, pictures in made.pictures.items():
        assert pictures.shape == (len(made.rows[words]), 6, 3, 9, 9)
    assert np.array_equal(made.pictures["reconstructed"][0], made.pictures["made of another"][0])
    again = sheet(recipe, data.test, data.spec.values, columns=6)
    assert again is not None
    assert all(np.array_equal(made.pictures[words], again.pictures[words]) for words in made.pictures)
    assert draw(made, tmp_path / "sheet.png").stat().st_size > 1000


def test_of_three_pictures_each_is_made_once_of_each_other() -> None:
    pictures = {name: torch.rand(20, 1, 4, 4) for name in "abc"}
    data = pv.data.wrap(pictures, modalities="a,b,c", validation=4)
    made = sheet(RECIPES["mvae"](data.spec, seed=0, latent=2), data.train, data.spec.values, columns=3)
    assert made is not None
    assert made.rows["made of another"][:3] == ("a, real", "a of b", "a of c")
    assert sum(map(len, made.rows.values())) == 9 + 9 + 3


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


def test_a_translation_stands_below_what_is_real(data: Data) -> None:
    recipe = RECIPES["mmvae"](data.spec, seed=0, latent=3)
    part = data.test.take(range(6))
    made = translated(recipe, part, ["a"], ["b", "c"], draws=2, of=90)
    assert made is not None
    assert made.rows == {"c": ("real", "mean", "draw 1", "draw 2")}
    assert made.part == "6 of 90 examples"
    assert not made.ranges
    np.testing.assert_allclose(made.pictures["c"][0][:, 0], part.tensors["c"][:, 0].numpy())
    whole = translate(recipe, {"a": part.tensors["a"]}, "c", 50, seed=0, quantiles=())
    np.testing.assert_allclose(made.pictures["c"][1][:, 0], whole.mean[:, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(made.pictures["c"][2][:, 0], whole.samples[0][:, 0].numpy(), atol=1e-5)


def test_there_is_no_figure_of_a_translation_into_no_picture(data: Data) -> None:
    recipe = RECIPES["mmvae"](data.spec, seed=0, latent=3)
    assert translated(recipe, data.test, ["c"], ["a", "b"]) is None


def test_what_a_row_lacks_is_white_and_rows_without_what_is_given_are_counted(data: Data) -> None:
    recipe = RECIPES["mmvae"](data.spec, seed=0, latent=3)
    flags = {"a_present": torch.tensor([True, True, True, False]), "c_present": torch.tensor([False, True, True, True])}
    part = Split({**data.test.take(range(4)).tensors, "b_present": torch.ones(4, dtype=torch.bool), **flags})
    made = translated(recipe, part, ["a"], ["c"], draws=1)
    assert made is not None
    assert made.part == "3 of 4 examples"
    assert (made.pictures["c"][0, 0] == 1).all()
    np.testing.assert_allclose(made.pictures["c"][0, 1, 0], part.tensors["c"][1, 0].numpy())
    lacking = Split({**part.tensors, "c_present": torch.zeros(4, dtype=torch.bool)})
    made = translated(recipe, lacking, ["a"], ["c"], draws=1)
    assert made is not None
    assert made.rows["c"] == ("mean", "draw 1")


def test_every_channel_of_a_field_has_a_block_and_a_colour_bar(tmp_path: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    flow = pv.Spec((2, 6, 6), levels=None, columns=(Column(name="u"), Column(name="v")))
    pressure = pv.Spec((1, 6, 6), levels=None, columns=(Column(name="cp"),))
    spec = pv.Spec(levels=None, modalities=(Modality("flow", flow), Modality("pressure", pressure)))
    values = {"flow": torch.randn(8, 2, 6, 6, generator=draws), "pressure": torch.randn(8, 1, 6, 6, generator=draws)}
    recipe = RECIPES["mmvae"](spec, seed=0, latent=3, network="mlp")
    made = translated(recipe, Split(values), ["pressure"], ["flow"], draws=2)
    assert made is not None
    assert list(made.pictures) == ["pressure", "flow: u", "flow: v"]
    assert made.rows["flow: v"] == ("real", "mean", "draw 1", "draw 2")
    v = values["flow"][:, 1]
    np.testing.assert_allclose(made.ranges["flow: v"]["flow: v"][0], [v.min(), v.max()])
    assert made.ranges["flow: v"]["flow: v"][1, 1] >= float(v.max())  # what is shown holds what is real
    assert not np.array_equal(made.pictures["flow: u"][0], made.pictures["flow: v"][0])
    drawn = drawing(made, "flow of pressure")
    labels = [str(axes.get_label()) for axes in drawn.axes]
    assert [each for each in labels if each.startswith("colour bar")] == [
        f"colour bar {name}" for name in ("pressure", "flow: u", "flow: v")
    ]
    with np.load(save_array(tmp_path / "flow.npz", made)) as held:
        assert held["ranges/flow: v/flow: v"].shape == (2, 2)


def test_what_is_given_and_no_picture_stands_above_its_column() -> None:
    draws = torch.Generator().manual_seed(0)
    letters = tuple(Column("category", f"letter{place}", ("_", "a", "b")) for place in range(3))
    colour = pv.Spec((1,), levels=None, columns=(Column("category", "colour", ("red", "green")),))
    modalities = (Modality("text", pv.Spec((3,), levels=None, columns=letters)), Modality("colour", colour))
    c = Modality("c", pv.Spec((1, 6, 6)))
    spec = pv.Spec(levels=None, modalities=(*modalities, c))
    values = {"text": torch.tensor([[1.0, 2, 0], [2, 2, 1]]), "colour": torch.tensor([[0.0], [1.0]])}
    split = Split({**values, "c": torch.rand(2, 1, 6, 6, generator=draws)})
    recipe = RECIPES["mmvae"](spec, seed=0, latent=3, network="mlp")
    titles = {
        given: getattr(translated(recipe, split, list(given), ["c"], draws=1), "columns", None)
        for given in (("text",), ("colour",), ("text", "colour"))
    }
    assert titles == {("text",): ("ab", "bba"), ("colour",): ("red", "green"), ("text", "colour"): ()}  # too long


def test_a_white_picture_has_an_edge() -> None:
    white = Sheet({"scans": np.ones((1, 2, 3, 20, 20), np.float32)}, {"scans": ("scan",)})
    shown = np.asarray(drawing(white).axes[0].images[0].get_array())
    assert int((shown < 255).all(-1).sum()) == 2 * 4 * (20 * 6 + 1)  # six pixels for each value
    whole = np.pad(np.full((120, 120), 255), 1, constant_values=shown[5, 5, 0])
    assert np.array_equal(shown[5:127, 5:127, 0], whole)  # the edge lies around the picture, not on it


def _map(points: np.ndarray, labels: np.ndarray | None, given: list[str], names: tuple[str, ...] = ()) -> ModalMap:
    return ModalMap(points, labels, np.array(given), ("first", "second"), names=names)


def test_ten_classes_have_ten_colours_that_differ() -> None:
    def lab(colour: str) -> np.ndarray:
        """CIE L*a*b* of a colour of sRGB under D65."""
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        x, y, z = np.cbrt(np.array(matrix) @ linear / [0.9505, 1.0, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(10 * label, 1, (30, 2)) for label in range(10)])
    drawn = drawing(_map(points, np.arange(10).repeat(30), ["a"] * 300)).axes[0]
    scattered = [each for each in drawn.collections if len(np.asarray(each.get_offsets())) == 30]
    shades = [lab(each.get_facecolor()[0][:3]) for each in scattered]
    assert len(shades) == 10
    apart = [np.linalg.norm(a - b) for place, a in enumerate(shades) for b in shades[:place]]
    assert min(apart) > 18
    assert len(CLASSES) == 10


def test_names_stand_where_they_hide_nothing_and_no_other_name() -> None:
    rng = np.random.default_rng(0)
    ill, well = rng.normal(0, 1, (20, 2)), rng.normal(9, 1, (20, 2))
    points = np.concatenate([ill, well, well, [[4, 4]]])
    labels = np.array([0] * 20 + [1] * 40 + [2])
    given = ["a"] * 40 + ["b"] * 21
    drawn = drawing(_map(points, labels, given, ("ill", "well", "so-so"))).axes[0]
    assert [text.get_text() for text in drawn.texts] == ["ill a", "well a"]  # "well b" lies there too, "so-so b" is one
    legend = drawn.get_legend()
    assert legend is not None
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["a: given a", "b: given b", "ill", "well", "so-so"]
    assert all(text.get_bbox_patch() is None for text in drawn.texts)


def test_modalities_without_classes_have_a_colour_each() -> None:
    points = np.random.default_rng(0).random((20, 2))
    drawn = drawing(_map(points, None, ["a"] * 10 + ["b"] * 10)).axes[0]
    colours = {tuple(each.get_facecolor()[0][:3]) for each in drawn.collections}
    assert len(colours) == 2
    assert not drawn.texts


def test_a_map_knows_what_the_data_call_their_classes(data: Data) -> None:
    named = replace(data.spec, labels=("ill", "well", "so-so"))
    made = modal_map(RECIPES["mvae"](named, seed=0, latent=3), data.test, named.values, method="pca", count=12)
    assert made.names == ("ill", "well", "so-so")


def test_the_title_of_curves_tells_where_losses_do_not_compare(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: dict[str, str] = {}
    monkeypatch.setattr(whole, "draw", lambda figure, path, title, npz=False: titles.setdefault(Path(path).stem, title))
    for name, more in (("mmvae", {}), ("mmvae", {"weights": "even"}), ("mvae", {})):
        titles.clear()
        run = pv.fit(RECIPES[name](data.spec, seed=0, latent=2, **more), data, epochs=1, progress=False)
        whole.save_figures(run, data, tmp_path, run.history)
        assert ("weighs the modalities" in titles["curves"]) is (name == "mmvae" and not more)
