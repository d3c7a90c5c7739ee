"""Reconstructions and samples: their arrays, and what is drawn of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import nn

from helpers.figures import model, split
from polyvae import data, figures, fit, recipes
from polyvae.completion import Completer
from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.figures.kinds import Reconstructions
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import Conditional
from polyvae.observe.masks import observation


def test_reconstructions_are_the_deterministic_means():
    made = model()
    found = figures.reconstructions(made, split(), 7)
    x = subset(split(), 7, 0).batch(torch.arange(7))
    np.testing.assert_allclose(found.original, x["x"].numpy())
    np.testing.assert_allclose(found.reconstruction, made.model.reconstruct(x)["x"].mean.detach().numpy(), rtol=1e-5)


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


def test_channels_of_the_librarys_own_fields_are_called_by_their_names(tmp_path: Path) -> None:
    found = data.load("vortices", limit=50, size=16)
    run = fit(recipes.vae(found, network="mlp", widths=(4,), latent=2), found, epochs=1, progress=False)
    assert figures.reconstructions(run, found.validation, 3).names == ("u", "v", "p")
    fields = np.random.default_rng(0).normal(size=(2, 30, 4, 6)) * 3
    np.savez(tmp_path / "flow.npz", wind=fields[0], heat=fields[1])
    own = data.load(tmp_path / "flow.npz")
    run = fit(recipes.vae(own, network="mlp", widths=(4,), latent=2), own, epochs=1, progress=False)
    shown = figures.completions(run, own.validation, observation("uniform", 4), Completer(5, "weighed"), 2, 2)
    assert shown.names == ("wind", "heat")
    assert figures.reconstructions(field_model()[0], field_model()[1], 3).names == ()
