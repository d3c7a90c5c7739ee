"""Figures: their arrays first, then that the drawings show them pixel by pixel."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from torch import nn

from polyvae import figures, recipes
from polyvae.data.cuts import subset
from polyvae.data.loading import wrap
from polyvae.data.split import Split
from polyvae.evaluation import describe_codes
from polyvae.figures.kinds import Curves, KLBars, LatentMap, Reconstructions, Samples, Strips
from polyvae.model.families.real import Point
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import VAE, Conditional


def split(count=40, shape=(1, 6, 8), classes=3):
    torch.manual_seed(0)
    return Split({"x": torch.randint(0, 256, (count, *shape), dtype=torch.uint8), "y": torch.arange(count) % classes})


def model(name="vae", shape=(1, 6, 8), **options):
    spec = Spec(shape, classes=3)
    plain = {} if name in ("sigma_vae", "ae") else {"likelihood": "bernoulli"}  # whose means need no clamping
    small = {"network": "mlp", "widths": (8,), "latent": 3, "seed": 0}
    return recipes.named(name)(spec, **{**plain, **small, **options})


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def identity(size=2):
    """z = x and x = z, exactly."""

    def eye():
        net = nn.Linear(size, size, bias=False)
        nn.init.eye_(net.weight)
        return net

    return VAE(Conditional(eye(), Point(), "x"), StandardNormal(size), Conditional(eye(), Point(), "z"))


def test_reconstructions_are_the_deterministic_means():
    made = model()
    found = figures.reconstructions(made, split(), 7)
    x = subset(split(), 7, 0).batch(torch.arange(7))
    np.testing.assert_allclose(found.original, x["x"].numpy())
    np.testing.assert_allclose(found.reconstruction, made.model.reconstruct(x)["x"].mean.detach().numpy(), rtol=1e-5)


def test_figures_take_a_seeded_subset_of_sorted_data_with_every_class() -> None:
    data = Split({"x": torch.zeros(40, 1, 6, 8), "y": torch.arange(40) // 10})
    data.tensors["x"][:] = data.tensors["y"].view(-1, 1, 1, 1) / 4
    found = figures.reconstructions(model(), data, 8)
    assert sorted(set(found.original[:, 0, 0, 0])) == [0, 0.25, 0.5, 0.75]
    assert found.part == "8 of 40 examples"
    other = figures.reconstructions(model(), data, 8, seed=1)
    assert found.original.shape == other.original.shape
    assert set(figures.latent_map(model(), data, count=8).labels) == {0, 1, 2, 3}
    assert figures.latent_map(model(), data, count=40).part == ""
    assert figures.kl_bars(model(), data, count=30).part == "30 of 40 examples"
    assert figures.traversals(model(), data, rows=2).part == "2 of 3 dimensions, KL over all 40 examples"
    assert figures.interpolations(model(), data, pairs=3).part == "6 of 40 examples"


def field_model(channels=2):
    torch.manual_seed(0)
    spec = Spec((channels, 6, 8), levels=None)
    data = Split({"x": 5 * torch.randn(40, channels, 6, 8) - 3})
    return recipes.vae(spec, network="mlp", widths=(8,), latent=3, likelihood="normal", seed=0), data


def test_values_of_fields_are_not_clamped_and_each_channel_has_its_own_panel_and_colour_bar() -> None:
    made, data = field_model()
    found = figures.reconstructions(made, data, 6)
    assert not found.unit
    np.testing.assert_allclose(found.original.min(), subset(data, 6, 0).tensors["x"].min())
    assert found.original.min() < -10
    walks = figures.interpolations(made, data)
    assert walks.ends.min() < 0
    for figure in (found, walks, figures.traversals(made, data), figures.samples(made, data)):
        assert not figure.unit
        drawn = figures.drawing(dataclasses.replace(figure, names=("u", "v")), "Fields")
        bars = [axes for axes in drawn.axes if axes.get_label() == "colour bar value"]
        assert len(bars) == 2
        assert {"u", "v"} <= {text.get_text() for text in drawn.findobj(Text)}
    drawn = figures.drawing(found)
    low, high = found.original[:, 0].min(), found.original[:, 0].max()
    bar = next(axes for axes in drawn.axes if axes.get_label() == "colour bar value")
    assert bar.get_ylim() == (pytest.approx(low), pytest.approx(high))


def test_names_of_columns_and_classes_are_those_of_the_data() -> None:
    columns = (Column("real", "u", scale=5.0), Column("positive", None))
    spec = Spec((2, 6, 8), classes=2, levels=None, labels=("calm", "rough"), columns=columns)
    made = recipes.cvae(spec, network="mlp", widths=(8,), latent=3, seed=0)
    data = Split({"x": 0.1 + 0.8 * torch.rand(40, 2, 6, 8), "y": torch.arange(40) % 2})  # by chance within [0, 1]
    found = figures.reconstructions(made, data)
    assert (found.unit, found.names) == (False, ("u", "channel 1"))
    assert figures.samples(made, data).columns == ("calm", "rough")
    assert set(figures.latent_map(made, data).labels) == {"calm", "rough"}


def test_every_example_is_drawn_and_the_last_row_is_filled_with_white() -> None:
    pictures = np.zeros((18, 1, 6, 6))
    drawn = figures.drawing(Reconstructions(pictures, pictures))
    shown = drawn.axes[0].get_images()[0].get_array()
    assert (shown == 0).all(-1).sum() == 2 * 18 * (6 * 12) ** 2
    assert [text.get_text() for text in drawn.axes[0].get_yticklabels()] == ["original", "reconstruction"] * 2


def test_classes_differ_by_marker_and_name_as_well_as_by_colour() -> None:
    rng = np.random.default_rng(0)
    drawn = figures.drawing(
        LatentMap(rng.random((500, 2)), np.arange(500) % 10, ("a", "b"), "500 of 900 examples"), "Map"
    )
    axes = drawn.axes[0]
    assert axes.get_title() == "Map: 500 of 900 examples"
    looks = {(each.get_paths()[0].vertices.tobytes(), tuple(each.get_facecolor()[0])) for each in axes.collections}
    assert len(looks) == 10
    assert len({shape for shape, _ in looks}) == 8
    assert [text.get_text() for text in axes.texts] == [str(label) for label in range(10)]
    many = figures.drawing(LatentMap(rng.random((500, 2)), np.arange(500) % 50, ("a", "b")))
    assert many.axes[1].get_ylabel() == "label, 50 of them"
    assert [text.get_text() for text in many.axes[1].get_yticklabels()][-1] == "49"


def test_a_map_of_codes_is_shown_on_its_principal_axes() -> None:
    made = recipes.vq_vae(Spec((1, 8, 8)), codes=8, dim=3, widths=(8, 8), seed=0)
    assert figures.latent_map(made, split(shape=(1, 8, 8))).axes == ("z, first axis", "z, second axis")


HISTORY = [
    {
        "epoch": epoch + 1,
        "lr": 1e-3,
        "train_loss": loss,
        "validation_loss": loss + 1,
        "train_bound": -loss - 1e-7,
        "validation_bound": -loss - 1,
        "validation_kl": kl,
        "validation_nll": loss + 1,
    }
    for epoch, (loss, kl) in enumerate([(9.0, 1.0), (4.0, 2.0), (5.0, 3.0)])
]


def test_curves_mark_the_best_epoch_and_leave_out_what_is_constant_or_mirrored() -> None:
    found = figures.curves(HISTORY)
    assert set(found.quantities) == {"lr", "loss", "bound", "kl", "nll"}  # the arrays keep everything
    assert found.best == 2
    drawn = figures.drawing(found, "Training")
    assert [axes.get_title() for axes in drawn.axes] == ["bound = -loss", "kl", "nll"]
    for axes in drawn.axes:
        lines = axes.get_lines()
        assert any(list(line.get_xdata()) == [2] and line.get_marker() == "*" for line in lines)
        roles = [line for line in lines if line.get_label() in ("train", "validation")]
        assert len({line.get_linestyle() for line in roles}) == len(roles)
    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert set(names) == {"train", "validation", "best epoch, 2"}
    assert figures.curves(HISTORY, "kl").best == 1
    assert figures.curves([{"epoch": 1, "train_loss": 2.0}]).best is None
    one = figures.drawing(figures.curves(HISTORY[:1]))
    assert [axes.get_title() for axes in one.axes] == ["lr", "bound = -loss", "kl", "nll"]


def test_ticks_are_plain_numbers() -> None:
    values = {"loss": {"train": np.array([1e-5, 3e-5, 2e-5])}, "bound": {"train": 1e5 + np.array([0.01, 0.02, 0.05])}}
    drawn = figures.drawing(Curves(np.arange(3.0), values))
    for axes in drawn.axes:
        drawn.canvas.draw()
        assert axes.yaxis.get_offset_text().get_text() == ""
        assert all("e" not in tick.get_text() for tick in axes.get_yticklabels())


def test_no_panel_is_empty() -> None:
    rng = np.random.default_rng(0)
    for figure in (
        Curves(np.arange(3.0), {name: {"train": rng.random(3)} for name in "abcd"}),
        Reconstructions(rng.random((5, 4)), rng.random((5, 4))),
        Samples(rng.random((2, 3, 4))),
    ):
        drawn = figures.drawing(figure)
        assert len(drawn.axes) == 4
        assert all(axes.has_data() for axes in drawn.axes)


def test_all_arrays_of_pictures_lie_between_zero_and_one_even_where_the_likelihoods_mean_does_not():
    made = model("sigma_vae")
    with torch.no_grad():
        for parameter in made.model.heads["x"].likelihood.net.parameters():
            parameter.mul_(50)
    found = [
        figures.reconstructions(made, split()).reconstruction,
        figures.samples(made, draw=True).pictures,
        figures.traversals(made, split()).pictures,
        figures.interpolations(made, split()).pictures,
    ]
    assert all(array.min() == 0 and array.max() == 1 for array in found)


def test_samples_have_their_rows_and_columns_and_follow_the_seed():
    made = model()
    first, again = figures.samples(made, rows=2, columns=5), figures.samples(made, rows=2, columns=5)
    assert first.pictures.shape == (2, 5, 1, 6, 8)
    assert np.array_equal(first.pictures, again.pictures)
    assert not np.array_equal(first.pictures, figures.samples(made, rows=2, columns=5, seed=1).pictures)


def test_drawn_samples_of_a_bernoulli_likelihood_are_bits_and_means_are_not():
    made = model()
    assert set(np.unique(figures.samples(made, draw=True).pictures)) == {0.0, 1.0}
    assert len(np.unique(figures.samples(made).pictures)) > 2


def test_a_conditional_model_has_one_column_a_class():
    made = model("cvae")
    net = made.model.heads["x"].likelihood
    made.model.heads["x"].likelihood = Conditional(Labels(net.net), net.family, net.given)
    found = figures.samples(made, split(), rows=4)
    assert found.columns == ("0", "1", "2")
    assert found.pictures.shape == (4, 3, 1, 6, 8)
    for column in range(3):
        expected = torch.tensor(float(column)).sigmoid()
        np.testing.assert_allclose(found.pictures[:, column], expected, rtol=1e-6)


class Labels(nn.Module):
    """Raw output: the label that the one-hot vector stands for."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, z, y):
        return y.argmax(1).float().view(-1, 1, 1, 1).expand(-1, 1, 6, 8)


def test_a_conditional_model_without_a_split_is_told_what_it_needs():
    with pytest.raises(ValueError, match="need a split"):
        figures.samples(model("cvae"))


def test_traversals_move_one_dimension_at_a_time_and_stand_in_the_order_of_their_divergence():
    torch.manual_seed(0)
    data = Split({"x": torch.randn(50, 3) * torch.tensor([1.0, 3.0, 0.1])})
    made = identity(3)
    found = figures.traversals(made, data, example=4, steps=5, limit=2.0)
    assert [row.split("]")[0] for row in found.rows] == ["z[1", "z[0", "z[2"]
    np.testing.assert_allclose(found.positions, [-2, -1, 0, 1, 2])
    for row, dimension in enumerate((1, 0, 2)):
        expected = data.tensors["x"][4].repeat(5, 1)
        expected[:, dimension] = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
        np.testing.assert_allclose(found.pictures[row], expected.numpy(), atol=1e-6)
    centred = figures.traversals(made, data, example=None, steps=3).pictures
    np.testing.assert_allclose(centred[0], [[0, -3, 0], [0, 0, 0], [0, 3, 0]], atol=1e-6)


def test_traversals_rank_by_divergence_where_there_is_one():
    made = model()
    kl = describe_codes(made, split())["z"].kl
    found = figures.traversals(made, split(), rows=2)
    assert [row.split()[0] for row in found.rows] == [f"z[{j}]" for j in kl.argsort(descending=True)[:2].tolist()]
    assert "KL" in found.rows[0]


def test_the_lower_of_two_latents_follows_the_one_that_moves():
    made = model("two_level", top=2)
    top, lower = figures.traversals(made, split()), figures.traversals(made, split(), "z1")
    assert (len(top.rows), len(lower.rows)) == (2, 3)
    held = made.model.encode(split().batch(torch.tensor([0])))
    z2 = held["z2"].mean.clone()
    z2[:, int(top.rows[0][3])] = float(top.positions[0])
    values = {"z2": z2, "z1": made.model.prior["z1"]({"z2": z2}).mean}
    np.testing.assert_allclose(top.pictures[0, 0], made.model.decode(values)["x"].mean[0].detach().numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="a latent of the model is one of"):
        figures.traversals(made, split(), "z")


def test_interpolations_are_straight_and_end_at_the_two_codes():
    data = Split({"x": torch.tensor([[1.0, 0.0], [0.0, 1.0]])})
    found = figures.interpolations(identity(), data, steps=3)
    first, last = found.ends[0]
    np.testing.assert_allclose(found.pictures[0], [first, (first + last) / 2, last], atol=1e-6)


def test_spherical_interpolations_keep_the_length_and_turn_at_constant_speed():
    data = Split({"x": torch.tensor([[2.0, 0.0], [0.0, 2.0]])})
    found = figures.interpolations(identity(), data, steps=4, spherical=True).pictures[0]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 2, atol=1e-5)
    angles = np.degrees(np.arctan2(found[:, 1], found[:, 0]))
    np.testing.assert_allclose(np.abs(np.diff(angles)), 30, atol=1e-3)
    same = figures.interpolations(identity(), Split({"x": torch.ones(2, 2)}), steps=3, spherical=True)
    np.testing.assert_allclose(same.pictures, 1, atol=1e-6)


def test_interpolation_needs_two_examples():
    with pytest.raises(ValueError, match="two examples"):
        figures.interpolations(identity(), Split({"x": torch.ones(1, 2)}))


def test_latent_map_shows_the_most_active_dimensions_or_the_principal_axes():
    torch.manual_seed(0)
    x = torch.randn(300, 3) * torch.tensor([1.0, 3.0, 0.1])
    data = Split({"x": x, "y": torch.arange(300) % 4})
    found = figures.latent_map(identity(3), data)
    assert found.axes == ("z[1]", "z[0]")
    np.testing.assert_allclose(found.points, x[:, [1, 0]].numpy(), rtol=1e-6)
    assert np.array_equal(found.labels, np.arange(300) % 4)
    turned = torch.linalg.qr(torch.randn(3, 3))[0]
    principal = figures.latent_map(identity(3), Split({"x": x @ turned}), method="pca").points
    spread = x.var(0).sort(descending=True).values[:2].numpy()
    np.testing.assert_allclose(np.var(principal, axis=0), spread, rtol=0.05)
    with pytest.raises(ValueError, match="method"):
        figures.latent_map(identity(3), data, method="tsne")


def test_bars_are_the_divergences_and_a_model_without_any_says_so():
    np.testing.assert_allclose(
        figures.kl_bars(model(), split()).kl["z"], describe_codes(model(), split())["z"].kl.numpy(), rtol=1e-6
    )
    with pytest.raises(ValueError, match="no latent"):
        figures.kl_bars(identity(), Split({"x": torch.randn(5, 2)}))


def test_curves_are_gathered_by_quantity_and_part():
    history = [
        {"epoch": 1, "train_loss": 3.0, "validation_loss": 4.0, "lr": 0.1, "note": "text", "step": 5, "seconds": 2.0},
        {"epoch": 2, "train_loss": 2.0, "validation_loss": None, "lr": 0.1, "train_kl": 5},
    ]
    found = figures.curves(history)
    assert found.epochs.tolist() == [1, 2]
    assert set(found.quantities) == {"loss", "lr", "kl"}
    np.testing.assert_array_equal(found.quantities["loss"]["train"], [3, 2])
    np.testing.assert_array_equal(found.quantities["loss"]["validation"], [4, np.nan])
    np.testing.assert_array_equal(found.quantities["kl"]["train"], [np.nan, 5])


@pytest.mark.parametrize(
    ("channels", "colour"), [(1, (0.5,) * 3), (2, (0.5, 0.5, 0.0)), (3, (0.5,) * 3), (5, (0.5,) * 3)]
)
def test_montage_places_every_picture_with_its_gap(channels, colour):
    pictures = np.full((2, 3, channels, 4, 5), 0.5, dtype=np.float32)
    whole = figures.montage(pictures, gap=2)
    assert whole.shape == (2 * 6 + 2, 3 * 7 + 2, 3)
    np.testing.assert_allclose(whole[2:6, 9:14], np.broadcast_to(colour, (4, 5, 3)))
    assert np.all(whole[6:8] == 1)


def test_montage_takes_pictures_only():
    with pytest.raises(ValueError, match="rows, columns"):
        figures.montage(np.zeros((3, 4)))


def test_saved_montage_holds_the_bytes_of_the_pictures(tmp_path):
    pictures = np.random.default_rng(0).random((2, 2, 1, 4, 5), dtype=np.float32)
    path = figures.save_montage(tmp_path / "deep" / "grid.png", pictures, scale=3, gap=1)
    shown = read(path)
    first = figures.to_bytes(pictures[0, 0, 0]).repeat(3, 0).repeat(3, 1)
    assert np.array_equal(shown[3:15, 3:18, 0], first)
    assert [file.name for file in path.parent.iterdir()] == ["grid.png"]


def test_a_drawn_grid_holds_the_bytes_of_the_pictures_too(tmp_path):
    pictures = np.zeros((1, 2, 1, 30, 30), dtype=np.float32)
    pictures[0, 1, 0, 10:20, 10:20] = 100 / 255
    shown = read(figures.draw(Samples(pictures), tmp_path / "grid.png", "Title"))[44:]  # below the title
    assert int((shown == 100).all(-1).sum()) == (10 * 4) ** 2
    assert int((shown == 0).all(-1).sum()) == 2 * (30 * 4) ** 2 - (10 * 4) ** 2


def test_every_kind_of_figure_is_drawn_and_saved_as_arrays(tmp_path):
    rng = np.random.default_rng(0)
    kinds = {
        "reconstructions": Reconstructions(rng.random((5, 3, 6, 6)), rng.random((5, 3, 6, 6))),
        "table": Reconstructions(rng.random((5, 12)), rng.random((5, 12))),
        "samples": Samples(rng.random((2, 3, 1, 6, 6)), ("a", "b", "c")),
        "rows": Samples(rng.random((2, 3, 4))),
        "strips": Strips(rng.random((2, 3, 1, 6, 6)), ("a", "b"), np.arange(3.0), rng.random((2, 2, 1, 6, 6))),
        "lines": Strips(rng.random((2, 3, 4)), ("a", "b"), np.arange(3.0)),
        "map": LatentMap(rng.random((50, 2)), np.arange(50) % 12, ("z[0]", "z[1]")),
        "unlabelled": LatentMap(rng.random((5, 2)), None, ("z[0]", "z[1]")),
        "bars": KLBars({"z2": rng.random(3), "z1": rng.random(60)}),
        "curves": Curves(np.arange(3.0), {"loss": {"train": rng.random(3), "validation": rng.random(3)}}),
    }
    for name, figure in kinds.items():
        path = figures.draw(figure, tmp_path / f"{name}.png", name, npz=True)
        assert min(read(path).shape[:2]) > 100
        with np.load(path.with_suffix(".npz")) as arrays:
            assert arrays.files
            field = dataclasses.fields(figure)[0].name
            assert any(key.startswith(field) for key in arrays.files)
    with pytest.raises(TypeError, match="no drawing"):
        figures.draw("text", tmp_path / "no.png")


@pytest.mark.parametrize("name", ["vae", "two_level", "cvae", "ae"])
def test_all_figures_of_a_model_in_one_call(tmp_path, name):
    paths = figures.save_figures(model(name), split(), tmp_path, [{"epoch": 1, "train_loss": 2.0}])
    stems = {path.stem for path in paths}
    assert {"curves", "reconstructions", "samples", "interpolations"} <= stems
    assert ("kl" in stems) == (name != "ae")
    assert all(path.exists() for path in paths)


def test_all_figures_of_a_table(tmp_path):
    torch.manual_seed(0)
    made = recipes.vae(Spec((4,), levels=None), network="mlp", widths=(8,), latent=2, seed=0)
    x = torch.randn(40, 4)
    for data in (Split({"x": x}), x.numpy(), wrap(x)):
        assert len(figures.save_figures(made, data, tmp_path)) == 6


def test_figures_leave_the_mode_and_the_random_state_alone():
    made, data = model(), split()
    made.model.train()
    before = torch.get_rng_state()
    figures.samples(made)
    figures.traversals(made, data)
    figures.interpolations(made, data)
    assert made.model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_pyplot_is_never_imported():
    code = "import sys, polyvae.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
