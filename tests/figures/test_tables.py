"""Figures of mixed tables: labels by their names, counts in bins of whole numbers, samples beside the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from polyvae import figures, recipes
from polyvae.completion.completer import Completer
from polyvae.data import wrap
from polyvae.data.split import Data
from polyvae.figures.kinds import Completions, Reconstructions, Samples, Strips
from polyvae.observe.masks import observation

STREAM = np.random.default_rng(3)
FRAME = pd.DataFrame(
    {
        "height": STREAM.normal(1e4, 50, 300),
        "colour": STREAM.choice(["red", "green", "blue"], 300, p=[0.6, 0.3, 0.1]),
        "visits": STREAM.poisson(3, 300) + 2 * STREAM.poisson(1, 300),
        "tall": STREAM.integers(0, 2, 300),
    }
)
NAMES = ("height", "colour", "visits", "tall")
CODES = {"1": ("blue", "green", "red"), "3": ("0", "1")}


@pytest.fixture(scope="module")
def data() -> Data:
    return wrap(FRAME, test=0.3)


@pytest.fixture(scope="module")
def made(data: Data) -> recipes.Recipe:
    return recipes.vae(data.spec, network="mlp", widths=(8,), latent=2, seed=0)


def panel(drawn: Figure, name: str) -> Axes:
    return next(axes for axes in drawn.axes if axes.get_title() == name)


def ticks(axes: Axes, which: str) -> list[str]:
    return [text.get_text() for text in getattr(axes, f"get_{which}ticklabels")()]


def test_samples_of_a_table_are_drawn_values_beside_the_data_by_label(made: recipes.Recipe, data: Data) -> None:
    found = figures.samples(made, data.test, 10, 20)
    assert found.pictures.shape == (10, 20, 4)
    assert (found.names, found.codes, found.part) == (NAMES, CODES, "200 draws, 90 examples")
    values = found.pictures.reshape(-1, 4)
    assert len(np.unique(values[:, 0])) == 200  # a mean would be nearly one number
    assert set(np.unique(values[:, 3])) == {0, 1}
    assert (values[:, 2] == values[:, 2].round()).all()
    np.testing.assert_array_equal(np.sort(found.data[:, 0]), np.sort(data.test.tensors["x"][:, 0].numpy()))
    axes = panel(figures.drawing(found, "Samples"), "colour")
    assert ticks(axes, "x") == ["blue", "green", "red"]
    heights = [patch.get_height() for patch in axes.patches if isinstance(patch, Rectangle)]
    for place, group in enumerate((found.data, values)):
        shares = [float((group[:, 1] == code).mean()) for code in range(3)]
        assert heights[3 * place : 3 * place + 3] == pytest.approx(shares)


def test_counts_are_in_bins_of_whole_numbers(made: recipes.Recipe, data: Data) -> None:
    drawn = figures.drawing(figures.samples(made, data.test, 10, 20))
    shapes = [patch for patch in panel(drawn, "visits").patches if isinstance(patch, Polygon)]
    assert len(shapes) == 2
    edges = np.unique(shapes[0].get_xy()[:, 0])
    assert (np.diff(edges) == 1).all()
    assert edges[0] % 1 == 0.5


def test_what_a_conditional_table_is_given_is_what_examples_hold() -> None:
    given = wrap(FRAME.rename(columns={"colour": "label"}), label="label")
    source = recipes.cvae(given.spec, network="mlp", widths=(8,), latent=2, seed=0)
    found = figures.samples(source, given.train, 5, 6)
    assert (found.pictures.shape, found.columns) == ((1, 30, 3), ())


def test_reconstructions_say_what_share_of_each_label_becomes_which() -> None:
    original = np.array([[1.0, 0, 0, 1], [2.0, 0, 1, 1], [3.0, 2, 2, 0], [4.0, 2, 3, 0]])
    guess = np.array([[1.0, 0, 0, 0.9], [2.0, 2, 1, 0.2], [3.0, 2, 2, 0.1], [4.0, 2, 3, 0.1]])
    drawn = figures.drawing(Reconstructions(original, guess, unit=False, names=NAMES, codes=CODES))
    axes = panel(drawn, "colour")
    assert ticks(axes, "x") == ticks(axes, "y") == ["blue", "green", "red"]
    shares = axes.get_images()[0].get_array()
    np.testing.assert_allclose(shares, [[0.5, 0, 0], [0, 0, 0], [0.5, 0, 1]])
    assert [text.get_text() for text in axes.texts] == ["50 %", "0 %"] + ["0 %"] * 2 + ["50 %", "100 %"]
    np.testing.assert_allclose(panel(drawn, "tall").get_images()[0].get_array(), [[1, 0.5], [0, 0.5]])


def test_walks_step_from_label_to_label_and_bits_are_probabilities() -> None:
    values = STREAM.random((2, 5, 4)).round(2)
    values[:, :, 1] = [[0, 0, 1, 2, 2], [0, 0, 1, 2, 2]]
    drawn = figures.drawing(Strips(values, ("1", "2"), np.arange(5.0), values[:, [0, -1]], names=NAMES, codes=CODES))
    axes = panel(drawn, "colour")
    assert ticks(axes, "y") == ["blue", "green", "red"]
    first, second = (line.get_ydata() for line in axes.get_lines())
    assert np.all(np.asarray(second) - np.asarray(first) == pytest.approx(0.25))  # apart, and rounded the same label
    assert np.array_equal(np.round(first), values[0, :, 1])
    assert panel(drawn, "tall").get_ylabel() == "probability of 1"


def test_completions_of_a_table_have_a_panel_a_column_and_the_chance_of_every_label(data: Data) -> None:
    source = recipes.arbitrary_conditioning(data.spec, network="mlp", widths=(8,), latent=2, seed=0)
    found = figures.completions(source, data.test, observation("points", positions=[0]), Completer(50))
    assert found.chances["1"].shape == (6, 3)
    assert found.chances["3"].shape == (6, 2)
    for chances in found.chances.values():
        np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.chances["1"].argmax(1), found.mean[:, 1])
    np.testing.assert_allclose(found.chances["3"][:, 1], found.mean[:, 3], rtol=1e-5)
    drawn = figures.drawing(found)
    assert tuple(axes.get_title() for axes in drawn.axes) == NAMES
    axes = panel(drawn, "colour")
    assert ticks(axes, "y") == ["blue", "green", "red"]
    sizes = axes.collections[0].get_sizes()
    np.testing.assert_allclose(sizes, 260 * found.chances["1"].ravel(), rtol=1e-5)


def test_of_many_labels_the_frequent_ones_are_named_and_the_rest_are_counted() -> None:
    words = tuple(f"a rather long name {number}" for number in range(20))
    code = np.concatenate([np.arange(20), np.full(30, 7), np.full(20, 3)]).astype(float)[:, None]
    axes = figures.drawing(Samples(code[None], data=code, codes={"0": words})).axes[0]
    shown = ticks(axes, "x")
    assert len(shown) == 8
    assert shown[-1] == "13 others"
    assert max(map(len, shown)) <= 14
    heights = [patch.get_height() for patch in axes.patches if isinstance(patch, Rectangle)]
    assert sum(heights[:8]) == pytest.approx(1)
    assert heights[7] == pytest.approx(13 / 70)


def test_a_wide_table_without_names_is_a_line_an_example() -> None:
    values = STREAM.normal(size=(6, 2, 30))
    found = Completions(values[0], values[5] > 0, values[1], abs(values[2]), *values[3:5], values[3:4])
    assert [axes.get_title() for axes in figures.drawing(found).axes] == ["example 1", "example 2"]


def test_every_figure_of_a_model_of_a_mixed_table_is_written_with_its_arrays(
    made: recipes.Recipe, data: Data, tmp_path
) -> None:
    paths = figures.save_figures(made, data.test, tmp_path, [{"epoch": 1, "train_loss": 2.0}], npz=True)
    assert {path.stem for path in paths} >= {"curves", "reconstructions", "samples", "traversals-z", "interpolations"}
    with np.load(tmp_path / "samples.npz") as arrays:
        assert list(arrays["codes/1"]) == ["blue", "green", "red"]
        assert len(arrays["data"]) == 90
        assert arrays["pictures"].size >= 4000


@pytest.mark.filterwarnings("ignore:.*kept as gaps")
def test_what_a_table_lacks_is_in_no_figure(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    gaps = FRAME.astype({"visits": "Int64", "tall": "Int64"}).mask(rng.random(FRAME.shape) < 0.3)
    data = wrap(gaps, test=0.5, gaps=True)
    made = recipes.incomplete(data.spec, network="mlp", widths=(8,), latent=2, samples=2, seed=0)
    lacking = ~data.test.tensors["seen"].numpy()
    assert lacking.any()
    found = figures.reconstructions(made, data.test, len(data.test))
    beside = figures.samples(made, data.test, 5, 5)
    assert np.isnan(found.original).sum() == np.isnan(beside.data).sum() == lacking.sum()
    ends = figures.interpolations(made, data.test, 20).ends
    assert ends is not None
    assert np.isnan(ends).any()
    axes = panel(figures.drawing(found, "Reconstructions"), "height")
    (points,) = [each for each in axes.collections if len(each.get_offsets()) > 2]
    assert len(points.get_offsets()) == int((~np.isnan(found.original[:, 0])).sum())
    assert len(figures.save_figures(made, data.test, tmp_path)) > 4
