"""Figures of completions: their arrays, the grid they make, and that they are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from polyvae import complete, figures, recipes
from polyvae.completion.completer import Completer
from polyvae.completion.scores import Errors, Score
from polyvae.data.split import Split
from polyvae.figures import panels
from polyvae.figures.kinds import Completions, PointErrors
from polyvae.model.spec import Spec
from polyvae.observe.masks import observation, sparse

PNG = b"\x89PNG"


def split(count=9, shape=(1, 6, 8)):
    return Split({"x": torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))})


def model(shape=(1, 6, 8)):
    return recipes.semi_conditional(Spec(shape, levels=None), network="mlp", widths=(8,), latent=2, seed=0)


def made(shape=(2, 1, 3, 4), low=0.0, high=1.0):
    generator = np.random.default_rng(0)

    def values(*lead):
        return generator.uniform(low, high, (*lead, *shape)).astype(np.float32)

    mask = (generator.random((shape[0], 1, *shape[2:])) < 0.5).astype(np.float32)
    return Completions(values(), mask, values(), values() / 4, values(), values(), values(3))


def test_the_arrays_are_those_of_complete_with_the_masks_that_were_drawn() -> None:
    found = figures.completions(model(), split(), observation("uniform", 5), Completer(20), count=7, samples=3)
    x = torch.from_numpy(found.truth)
    drawn = {row.numpy().tobytes() for row in split().tensors["x"]}
    assert len({row.numpy().tobytes() for row in x} & drawn) == 7
    assert found.part == "7 of 9 examples"
    mask = torch.from_numpy(found.mask)
    assert mask.sum((1, 2, 3)).tolist() == [5] * 7
    expected = complete(model(), x, mask, draws=2000)
    assert found.samples.shape == (3, 7, 1, 6, 8)
    # The draws follow those of the masks, so that they are others; with many of them both are the same law.
    many = figures.completions(model(), split(), observation("uniform", 5), Completer(2000), count=7, samples=3)
    np.testing.assert_allclose(many.mean, expected.mean.numpy(), atol=0.02)
    np.testing.assert_allclose(many.std, expected.std.numpy(), atol=0.02)
    seen = sparse(x, mask)[:, :1]
    assert bool((seen[mask.bool()] == x[mask.bool()]).all())


def test_the_band_of_the_figure_holds_nine_tenths_of_what_is_drawn() -> None:
    spec = Spec((6,), levels=None)
    table = recipes.semi_conditional(spec, network="mlp", widths=(8,), latent=2, seed=0)
    found = figures.completions(table, split(9, (6,)), observation("uniform", 2), Completer(3000), samples=3000)
    drawn = figures.completions(
        table, split(9, (6,)), observation("uniform", 2), Completer(3000), samples=3000, pixels=True
    )
    inside = (found.low <= drawn.samples) & (drawn.samples <= found.high)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    assert drawn.samples.std() > found.samples.std()


def test_panels_show_truth_what_is_seen_mean_spread_and_draws() -> None:
    found = made()
    (block,), names = panels(found)
    pictures = block.pictures
    assert pictures.shape == (2, 7, 3, 3, 4)
    assert names == ["truth", "seen", "mean", "spread", "draw 1", "draw 2", "draw 3"]
    np.testing.assert_allclose(pictures[:, 0], found.truth.repeat(3, 1))
    np.testing.assert_allclose(pictures[:, 2], found.mean.repeat(3, 1))
    np.testing.assert_allclose(pictures[1, 4], found.samples[0, 1].repeat(3, 0))
    seen = found.mask[0, 0] > 0
    np.testing.assert_allclose(pictures[0, 1][:, seen], found.truth[0][:, seen].repeat(3, 0))
    colours = np.unique(pictures[0, 1][:, ~seen], axis=1)
    assert colours.shape == (3, 1)
    assert colours[0, 0] < colours[2, 0]  # a blue, which no grey pixel has
    bar = block.bars[0]
    assert (bar.low, bar.high) == (0, pytest.approx(found.std.max()))
    # The map grows lighter with the spread, so that it is read without its colours too.
    light = (pictures[:, 3] * np.reshape([0.299, 0.587, 0.114], (3, 1, 1))).sum(1)
    order = np.argsort(found.std.ravel())
    assert (np.diff(light.ravel()[order]) >= -0.01).all()


def test_pictures_in_colour_stay_in_colour_and_fields_have_a_panel_and_colour_bars_for_each_channel() -> None:
    (block,), _ = panels(made((2, 3, 3, 4)))
    np.testing.assert_allclose(block.pictures[:, 0], made((2, 3, 3, 4)).truth)
    field = replace(made((2, 3, 3, 4), -5, 3), unit=False, names=("u", "v"))
    found, names = panels(field)
    assert [block.name for block in found] == ["u", "v", "channel 2"]
    assert len(names) == 7
    for channel, block in enumerate(found):
        assert block.pictures.shape == (2, 7, 3, 3, 4)
        value, spread = block.bars
        truth = field.truth[:, channel]
        assert (value.low, value.high) == (pytest.approx(truth.min()), pytest.approx(truth.max()))
        assert value.below == (min(field.mean[:, channel].min(), field.samples[:, :, channel].min()) < truth.min())
        assert (spread.low, spread.high) == (0, pytest.approx(field.std[:, channel].max()))
    assert len(panels(made((2, 2, 3, 4)))[0]) == 2


def test_the_figure_of_a_field_has_its_bars_headings_and_names() -> None:
    field = replace(made((2, 2, 8, 8), -5, 3), unit=False, names=("u", "v"), part="2 of 9 examples")
    drawn = figures.drawing(field, "Completed from 5 points")
    words = {text.get_text() for text in drawn.findobj(Text)}
    assert {"Completed from 5 points: 2 of 9 examples", "u", "v", "truth", "draw 1", "draw 3"} <= words
    bars = [axes.get_label() for axes in drawn.axes if "colour bar" in str(axes.get_label())]
    assert bars == ["colour bar value", "colour bar spread, standard deviation"] * 2


def test_a_grey_picture_has_a_bar_for_its_spread_alone() -> None:
    drawn = figures.drawing(made((2, 1, 8, 8)))
    assert [axes.get_label() for axes in drawn.axes[1:]] == ["colour bar spread, standard deviation"]


def test_seen_pixels_of_large_fields_are_drawn_larger_in_the_colours_of_their_values() -> None:
    field = replace(made((1, 1, 70, 80)), unit=False)
    field.mask[:] = 0
    field.mask[0, 0, 10, 20] = field.mask[0, 0, 0, 79] = 1
    (block,), names = panels(field)
    assert names[1] == "seen, enlarged"
    seen, truth = block.pictures[0, 1], block.pictures[0, 0]
    np.testing.assert_array_equal(seen[:, 9:12, 19:22], np.broadcast_to(truth[:, 10:11, 20:21], (3, 3, 3)))
    np.testing.assert_array_equal(seen[:, :2, 78:], np.broadcast_to(truth[:, :1, 79:], (3, 2, 2)))
    shown = (seen != seen[:, 30:31, 30:31]).any(0).sum()
    assert shown == 9 + 4


def test_a_constant_picture_without_spread_is_drawn_too() -> None:
    one = np.full((1, 1, 2, 2), 7.0, dtype=np.float32)
    found = Completions(one, one * 0, one, one * 0, one, one, one[None], unit=False)
    (block,), _ = panels(found)
    assert np.isfinite(block.pictures).all()


@pytest.mark.parametrize("shape", [(2, 1, 6, 8), (2, 3, 6, 8), (3, 7)])
def test_completions_are_drawn(shape: tuple[int, ...], tmp_path) -> None:
    found = made(shape) if len(shape) == 4 else made_table(*shape)
    path = figures.draw(found, tmp_path / "a.png", "Completed", npz=True)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["mask"], found.mask)


def made_table(count, columns):
    values = np.random.default_rng(0).normal(size=(6, count, columns)).astype(np.float32)
    mask = (values[5] > 0).astype(np.float32)
    return Completions(values[0], mask, values[1], abs(values[2]), values[1] - 1, values[1] + 1, values[3:4])


def score(method: str, points: float, mse: float | None) -> Score:
    errors = Errors(mse, None, mse, {}, {})
    return Score(method, int(points), points, errors, errors)


def test_errors_are_sorted_by_points_and_drawn(tmp_path) -> None:
    found = figures.point_errors(
        [score("model", 8, 1.0), score("linear", 2, 4.0), score("model", 2, 3.0), score("model", 9, None)]
    )
    assert isinstance(found, PointErrors)
    assert list(found.mse) == ["model", "linear"]
    np.testing.assert_array_equal(found.points["model"], [2, 8, 9])
    np.testing.assert_array_equal(found.mse["model"], [3, 1, np.nan])
    np.testing.assert_array_equal(found.crps["linear"], [4])
    assert figures.draw(found, tmp_path / "a.png", "Errors", npz=True).read_bytes().startswith(PNG)
    drawn = figures.drawing(found)
    lines = drawn.axes[0].get_lines()
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 2  # a second cue beside the colour
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["model", "linear"]


def test_a_seen_cell_of_a_table_has_no_band_and_columns_are_called_so() -> None:
    found = made_table(3, 7)
    drawn = figures.drawing(found, "Completed")
    for column, axes in enumerate(drawn.axes):
        heights = np.array([bar.get_height() for bar in axes.patches])
        np.testing.assert_array_equal(np.isfinite(heights), found.mask[:, column] == 0)
    errors = figures.drawing(figures.point_errors([score("model", 2, 3.0)], "columns"))
    assert {axes.get_xlabel() for axes in errors.axes} == {"columns seen"}
