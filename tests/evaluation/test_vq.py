"""What evaluation, figures and commands make of a quantised latent."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from helpers.striped import FIT, recipe, stripes
from polyvae.cli import main
from polyvae.data import Split
from polyvae.evaluation import describe_codes
from polyvae.figures import interpolations, samples, save_figures, traversals
from polyvae.training.fit import fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits."""
    folder = tmp_path_factory.mktemp("vq") / "run"
    sizes = ["--codes", "8", "--dim", "4", "--widths", "8,16", "--revive", "0.5", "--likelihood", "bernoulli"]
    options = ["--data", "digits", "--limit", "300", "--epochs", "2", "--lr", "0.003", "--run", str(folder)]
    assert main(["train", "vq_vae", *sizes, *options]) == 0
    return folder


def test_evaluation_says_what_codes_carry_and_what_they_have_not(trained: Path, capsys: Any) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(trained), "--samples", "3", "--json", "--baselines"]) == 0
    report = json.loads(capsys.readouterr().out)
    latent = report["latents"]["z"]
    assert latent["rate_bits"] == pytest.approx(4 * 3)  # P log2 K
    assert latent["kl_source"] == "analytic"
    assert report["bound"] == pytest.approx(-report["reconstruction"]["x"] - 4 * math.log(8))
    assert report["importance_bound"] == pytest.approx(report["bound"])
    assert report["bound_bits"] == pytest.approx(-report["bound"] / (64 * math.log(2)))
    words = latent["codebook"]
    assert (words["size"], words["positions"]) == (8, 4)
    assert 1 <= words["perplexity"] <= 8
    assert words["usage"] * 8 == pytest.approx(round(words["usage"] * 8))
    for name in ("active_units", "activity", "kl_per_dimension", "aggregate"):
        assert latent[name] is None
    assert any("words of a codebook" in note for note in report["notes"])
    assert list(report["baselines"]) == ["ppca", "pca"]
    assert report["baselines"]["pca"]["latents"]["z"]["dimensions"] == 4  # as many as there are codes
    assert main(["evaluate", str(trained), "--samples", "3"]) == 0
    shown = capsys.readouterr().out
    assert "perplexity of 8 codes at 4 places" in shown
    assert "codes used" in shown


def test_perplexity_usage_and_information_are_those_of_the_codes() -> None:
    made, data = recipe(), stripes()
    fit(made, data, **FIT)
    x = data.train.batch(torch.arange(72))["x"]
    code = describe_codes(made, Split({"x": torch.cat([x, x])}))["z"]
    codes = made.model.encode({"x": x})["z"].codes.flatten(1)
    share = codes.flatten().bincount(minlength=9) / codes.numel()
    assert code.words is not None
    assert code.words.perplexity == pytest.approx(float(torch.exp(-torch.xlogy(share, share).sum())), rel=1e-5)
    assert code.words.usage == pytest.approx(float((share > 0).double().mean()))
    assert torch.equal(code.words.counts, 2 * nn.functional.one_hot(codes, 9).sum(0))
    maps = codes.unique(dim=0, return_counts=True)[1] / 72.0
    assert code.information == pytest.approx(float(-(maps * maps.log()).sum()), rel=1e-5)
    assert code.aggregate == 144


def test_figures_of_codes_walk_from_word_to_word(tmp_path: Path) -> None:
    made, data = recipe(), stripes()
    run = fit(made, data, **FIT)
    split = data.validation
    strips = traversals(made, split, steps=5, rows=3, example=2)
    assert strips.pictures.shape == (3, 5, 1, 8, 8)
    assert len(set(strips.positions.tolist())) == 5
    codes = made.model.encode(split.batch(torch.tensor([2])))["z"].codes
    row, column = (int(index) for index in strips.rows[1].partition("[")[2].partition("]")[0].split(","))
    changed = codes.clone()
    changed[0, row, column] = int(strips.positions[3])
    expected = made.model.decode({"z": changed})["x"].mean[0].detach().clamp(0, 1)
    np.testing.assert_allclose(strips.pictures[1, 3], expected.numpy(), atol=1e-6)
    assert [float(name.split()[-1]) for name in strips.rows] == sorted(
        (float(name.split()[-1]) for name in strips.rows), reverse=True
    )
    with pytest.raises(ValueError, match="z is a map of codes, whose prior has no mean"):
        traversals(made, split, example=None)
    assert samples(made, rows=2, columns=3).pictures.shape == (2, 3, 1, 8, 8)
    assert interpolations(made, split, pairs=2, steps=4).pictures.shape == (2, 4, 1, 8, 8)
    names = [path.stem for path in save_figures(made, split, tmp_path, run.history)]
    assert names == ["curves", "reconstructions", "samples", "traversals-z", "map-z", "interpolations"]


@pytest.mark.parametrize("command", ["sample", "reconstruct", "traverse", "interpolate", "figures"])
def test_every_command_takes_a_quantised_run(command: str, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" if command == "figures" else tmp_path / "out.png"
    assert main([command, str(trained), "--out", str(out)]) == 0
    assert out.exists()


def test_what_a_command_cannot_do_with_codes_is_one_line(trained: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["traverse", str(trained), "--at-prior", "--out", str(tmp_path / "out.png")]) == 1
    assert capsys.readouterr().err.startswith("polyvae: z is a map of codes, whose prior has no mean")
