"""What a stranger's first mistakes are answered with: what was meant, what is accepted, what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import polyvae as pv
from helpers.runs import pictures, small
from polyvae.cli import main
from polyvae.data import DataError

linux = pytest.mark.skipif(sys.platform != "linux", reason="the system has no such folder")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a run on it."""
    folder = tmp_path_factory.mktemp("table")
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32))
    asked = ["--epochs", "1", "--network", "mlp", "--widths", "8", "--latent", "2", "--device", "cpu"]
    assert main(["train", "vae", "--data", str(folder / "x.npy"), "--run", str(folder / "run"), *asked]) == 0
    return folder


def test_a_misspelt_recipe_is_answered_with_the_nearest(table: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no recipe is named 'vea'; did you mean vae or vade or mvae\? The recipes are adv"
    ):
        pv.fit("vea", np.zeros((20, 3), np.float32))
    with pytest.raises(ValueError, match=r"likelihood is one of .*; got 'bernouli'; did you mean bernoulli"):
        pv.recipes.vae((1, 8, 8), likelihood="bernouli")


def test_what_others_call_a_setting_is_answered_with_ours(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for theirs, ours in {"learning_rate": "lr", "early_stopping": "patience"}.items():
        with pytest.raises(TypeError, match=rf"named '{theirs}'; did you mean {ours}\? The settings are epochs, "):
            pv.fit("vae", np.zeros((20, 3), np.float32), **{theirs: 1})
        flag = theirs.replace("_", "-")
        assert main(["train", "vae", "--data", str(table / "x.npy"), f"--{flag}", "1"]) == 2
        assert f"has no option --{flag}; did you mean --{ours}?" in capsys.readouterr().err


def test_a_path_or_a_name_is_data_as_in_the_command(table: Path) -> None:
    options = {"latent": 2, "network": "mlp", "widths": (8,), "seed": 0}
    for source in (str(table / "x.npy"), table / "x.npy"):
        data = pv.data.load(source)
        run = pv.fit(pv.recipes.vae(data, **options), source, epochs=1)
        again = pv.fit(pv.recipes.vae(data, **options), data, epochs=1)
        commanded = pv.Run.load(table / "run")
        for name, value in run.model.state_dict().items():
            assert torch.equal(value, again.model.state_dict()[name])
            assert torch.equal(value, commanded.model.state_dict()[name])
        assert run.description["data"] == again.description["data"] == commanded.description["data"]
    assert pv.fit("ppca", "digits").description["data"]["name"] == "digits"
    with pytest.raises(DataError, match=r"mnits: .*did you mean 'mnist'"):
        pv.fit("vae", "mnits")


def test_a_path_where_values_are_wanted_says_what_reads_it(table: Path) -> None:
    run = pv.Run.load(table / "run")
    for refused in (lambda: run.score(str(table / "x.npy")), lambda: pv.evaluate(run, table / "x.npy", samples=2)):
        with pytest.raises(DataError, match=r"expected values, found the name '.*x\.npy'; polyvae\.data\.load reads"):
            refused()


@pytest.mark.parametrize("line", ["train vae --data X", "train --resume --run RUN", "train-prior RUN"])
def test_no_epochs_are_refused_with_the_range(line: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = line.replace("X", str(table / "x.npy")).replace("RUN", str(table / "run")).split()
    assert main([*told, "--epochs", "0"]) == 2
    assert "--epochs: expected a whole number of at least 1, got '0'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="epochs is a whole number of at least 0"):
        pv.fit(small("vae", pictures()), pictures(), epochs=-1)


@linux
@pytest.mark.parametrize(
    "line",
    [
        "train vae --data X --run /proc/run",
        "evaluate RUN --out /proc/run.json",
        "complete RUN --weigh seen --out /proc/run.png",
        "complete RUN --weigh seen --npz /proc/run.npz",
        "sample RUN --out /proc/run.png",
        "figures RUN --out /proc/run",
        "study multitask --data digits --out /proc/run",
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_computed(
    line: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = line.replace("X", str(table / "x.npy")).replace("RUN", str(table / "run")).split()
    assert main(told) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(f"polyvae: {told[-1]}: nothing can be written in /proc (No such file or directory); ")
    assert found.err.count("\n") == 1
    assert "choose another place" in found.err


@linux
def test_a_run_that_cannot_be_written_is_told_without_numbers_of_the_system() -> None:
    with pytest.raises(pv.RunError, match=r"^/proc/run could not be written \(No such file or directory\); "):
        pv.fit(small("vae", pictures()), pictures(), "/proc/run", epochs=1)
