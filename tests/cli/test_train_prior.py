"""`polyvae train-prior`: a learned prior trained, used, reported, stopped and refused at the command line."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import polyvae as pv
from helpers.commands import Say
from polyvae.cli import main
from polyvae.model.priors.pixelcnn import PixelCNNPrior
from polyvae.training.second_stage import sharpened


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised run of the command line."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    data = ["--data", "digits", "--limit", "150", "--epochs", "1", "--run", str(folder)]
    data += ["--likelihood", "bernoulli"]
    assert main(["train", "vq_vae", "--codes", "8", "--dim", "2", "--widths", "4,4", *data]) == 0
    return folder


TINY = ["--channels", "8", "--layers", "2", "--first-kernel-size", "3", "--lr", "0.01"]


def test_the_commands_train_use_and_report_a_learned_prior(digits: Path, tmp_path: Path, say: Say) -> None:
    folder = shutil.copytree(digits, tmp_path / "run")
    code, out, err = say("train-prior", folder, *TINY, "--epochs", 3, "--condition", "--json")
    first, *epochs = err.splitlines()
    assert (code, first) == (0, f"training in {folder}/prior: codes of digits")
    assert all(line.startswith("epoch ") for line in epochs)
    found = json.loads(out)
    assert found["uniform_nats"] == pytest.approx(4 * math.log(8))
    assert found["learned_nats"] < found["uniform_nats"]
    code, out, _ = say("evaluate", folder, "--json")
    report = json.loads(out)
    uniform, learned = report["priors"]["uniform"], report["priors"]["learned"]
    assert code == 0
    assert report["bound_bits"] == learned["bound_bits"] < uniform["bound_bits"]
    code, out, _ = say("evaluate", folder, "--json", "--code-prior", "uniform")
    plain = json.loads(out)
    assert "priors" not in plain
    for name in ("kl", "bound", "bound_bits"):
        assert plain[name] == pytest.approx(uniform[name], rel=1e-6)
    _, out, _ = say("evaluate", folder)
    assert f"│ learned              │ {learned['kl']:8.2f} │" in out
    pictures = []
    for options in ([], ["--code-prior", "uniform"], ["--temperature", 0], ["--top-k", 1]):
        assert say("sample", folder, "--number", 20, "--out", tmp_path / "s.png", *options)[0] == 0
        pictures.append((tmp_path / "s.png").read_bytes())
    assert pictures[2] == pictures[3]
    assert len(set(pictures)) == 3
    assert say("figures", folder, "--out", tmp_path / "figures")[0] == 0
    code, out, err = say("train-prior", folder, "--resume", "--epochs", 4)
    assert code == 0
    assert "of 4" in out
    assert f"going on with {folder}/prior" in err
    assert len(pv.Run.load(folder / "prior").history) == 4
    code, out, _ = say("evaluate", folder / "prior", "--json")
    assert code == 0
    assert json.loads(out)["bound"] == pytest.approx(-json.loads(say("evaluate", folder, "--json")[1])["kl"], rel=1e-5)


def test_ctrl_c_leaves_a_prior_that_goes_on(digits: Path, tmp_path: Path, say: Say, ctrl_c: Any) -> None:
    folder = shutil.copytree(digits, tmp_path / "run")
    with ctrl_c():
        code, _, err = say("train-prior", folder, *TINY, "--epochs", 3, "--batch-size", 32)
    assert code == 1
    assert f"interrupted; go on with `polyvae train-prior {folder} --resume`" in err
    assert say("train-prior", folder, "--resume")[0] == 0
    assert len(pv.Run.load(folder / "prior").history) == 3


def test_the_commands_say_what_is_wrong_with_a_prior(digits: Path, tmp_path: Path, say: Say) -> None:
    folder = shutil.copytree(digits, tmp_path / "run")
    assert say("train", "vae", "--data", "digits", "--limit", 50, "--epochs", 1, "--run", tmp_path / "vae")[0] == 0
    wrong = {
        (1, "has no map of codes"): ["train-prior", tmp_path / "vae"],
        (1, "is no run folder"): ["train-prior", tmp_path / "nowhere"],
        (1, "no learned prior to go on with"): ["train-prior", folder, "--resume"],
        (2, "--epochs: expected a whole number of at least 1"): ["train-prior", folder, "--epochs", -1],
        (2, "has no option --layrs"): ["train-prior", folder, "--layrs", 3],
        (1, "has no learned prior yet"): ["sample", folder, "--code-prior", "learned"],
        (1, "has no learned prior yet; train one"): ["evaluate", folder, "--code-prior", "learned"],
        (2, "--temperature is for priors that are normal or draw"): ["sample", folder, "--temperature", 0.5],
        (2, "--temperature and --top-k are for runs"): ["sample", folder, "--top-k", 3],
        (2, "expected an odd number of at least 3"): ["train-prior", folder, "--kernel-size", 4],
    }
    for (code, words), arguments in wrong.items():
        found, _, err = say(*arguments)
        assert (found, words in err) == (code, True), (arguments, err)
        assert "training in" not in err  # nothing is begun
    assert say("train-prior", folder, *TINY, "--epochs", 1)[0] == 0
    assert "add --resume to go on with it" in say("train-prior", folder)[2]


def test_a_pixel_cnn_over_pictures_is_sharpened_too(tmp_path: Path, say: Say) -> None:
    tiny = ["--channels", "4", "--layers", "1", "--first-kernel-size", "3"]
    data = ["--data", "digits", "--limit", "60", "--binarise", "threshold", "--epochs", "1", "--run", tmp_path / "run"]
    assert say("train", "pixel_cnn", *tiny, *data)[0] == 0
    out = tmp_path / "s.png"
    assert (
        say(
            "sample",
            tmp_path / "run",
            "--number",
            4,
            "--temperature",
            0,
            "--out",
            out,
            "--npz",
            out.with_suffix(".npz"),
        )[0]
        == 0
    )
    made = sharpened(pv.Run.load(tmp_path / "run"), 0.0)
    assert isinstance(made.model.prior["z"], PixelCNNPrior)
    assert isinstance(made.model.heads["x"], nn.Module)
    assert len(made.model.generate(count=3)["x"].mean.unique(dim=0)) == 1
