"""What holds of every figure: a seeded subset, a drawing, its arrays in a file, and a model left as it was."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers.figures import model, read, split
from polyvae import figures, recipes
from polyvae.data.loading import wrap
from polyvae.data.split import Split
from polyvae.figures.kinds import Curves, GroupKL, KLBars, LatentMap, Reconstructions, Samples, Strips
from polyvae.model.spec import Spec


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
        "groups": GroupKL({"z1": 3.5, "z2": 20.0}, {"z1": 4, "z2": 1568}, "5 of 9 examples"),
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


@pytest.mark.parametrize("name", ["vae", "two_level", "cvae", "ae", "ladder"])
def test_all_figures_of_a_model_in_one_call(tmp_path, name):
    paths = figures.save_figures(model(name), split(), tmp_path, [{"epoch": 1, "train_loss": 2.0}])
    stems = {path.stem for path in paths}
    assert {"curves", "reconstructions", "samples", "interpolations"} <= stems
    assert ("kl" in stems) == (name != "ae")
    assert ("groups" in stems) == (name in ("two_level", "ladder"))
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
