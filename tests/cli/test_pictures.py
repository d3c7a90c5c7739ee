"""The commands that draw: their pictures and the arrays of these."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import PNG, TINY, Say

PICTURES = {
    "sample": (["--number", "6", "--pixels"], "samples", {"pictures": (2, 3, 1, 8, 8)}),
    "reconstruct": (["--number", "5"], "reconstructions", {"original": (5, 1, 8, 8), "reconstruction": (5, 1, 8, 8)}),
    "traverse": (["--number", "2", "--columns", "3", "--at-prior"], "traversals-z", {"pictures": (2, 3, 1, 8, 8)}),
    "interpolate": (["--number", "2", "--columns", "4"], "interpolations", {"pictures": (2, 4, 1, 8, 8)}),
}


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("command", PICTURES)
def test_pictures_and_their_arrays(command: str, say: Say, run: Path, tmp_path: Path) -> None:
    options, name, shapes = PICTURES[command]
    code, out, err = say(command, run, *options, "--npz", tmp_path / "a.npz")
    assert (code, err) == (0, "")
    assert out.split() == [str(run / "figures" / f"{name}.png"), str(tmp_path / "a.npz")]
    assert (run / "figures" / f"{name}.png").read_bytes().startswith(PNG)
    with np.load(tmp_path / "a.npz") as arrays:
        assert {key: arrays[key].shape for key in shapes} == shapes
        first = {key: arrays[key] for key in shapes}
    _, out, _ = say(command, run, *options, "--npz", tmp_path / "b.npz", "--out", tmp_path / "b.png", "--json")
    assert json.loads(out) == {"files": [str(tmp_path / "b.png"), str(tmp_path / "b.npz")]}
    assert (tmp_path / "b.png").read_bytes().startswith(PNG)
    with np.load(tmp_path / "b.npz") as arrays:
        assert all(np.array_equal(arrays[key], value) for key, value in first.items())


@pytest.mark.usefixtures("unhurried")
def test_figures_draws_everything_into_a_folder(say: Say, run: Path, tmp_path: Path) -> None:
    code, out, err = say("figures", run, "--out", tmp_path / "all", "--arrays")
    assert (code, err) == (0, "")
    written = [Path(line) for line in out.splitlines()]
    assert {"curves", "kl", "reconstructions", "samples", "interpolations"} <= {path.stem for path in written}
    assert all(path.read_bytes().startswith(PNG) and path.with_suffix(".npz").exists() for path in written)


def test_a_conditional_model_is_sampled_with_a_column_for_each_label(say: Say, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert say("train", "cvae", *TINY, "--epochs", "1", "--run", folder)[0] == 0
    assert say("sample", folder, "--number", "20", "--npz", tmp_path / "a.npz")[0] == 0
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["pictures"].shape == (2, 10, 1, 8, 8)
        assert list(arrays["columns"]) == [str(label) for label in range(10)]


def test_a_normal_prior_is_sampled_at_a_temperature(say: Say, run: Path, tmp_path: Path) -> None:
    spread = []
    for temperature in (0, 0.5, 1):
        line = ("sample", run, "--number", 16, "--temperature", temperature, "--npz", tmp_path / "s.npz")
        assert say(*line, "--out", tmp_path / "s.png")[0] == 0
        with np.load(tmp_path / "s.npz") as arrays:
            spread.append(arrays["pictures"].reshape(16, -1).std(0).sum())
    assert spread[0] == pytest.approx(0, abs=1e-4)
    assert spread[0] < spread[1] < spread[2]
    code, _, err = say("sample", run, "--temperature", -1)
    assert code == 2
    assert "--temperature: expected a number of at least 0, got '-1'" in err
