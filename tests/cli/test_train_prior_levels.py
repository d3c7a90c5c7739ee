"""`polyvae train-prior` of a run with several maps of codes: each map's prior trained, used, stopped and refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import Say
from polyvae.cli import main

TINY = ["--channels", "8", "--layers", "2", "--first-kernel-size", "3", "--lr", "0.01", "--batch-size", "40"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    data = ["--data", "digits", "--limit", "150", "--epochs", "1", "--run", str(folder), "--likelihood", "bernoulli"]
    assert main(["train", "vq_vae_2", "--codes", "8", "--codes-above", "4", "--dim", "2", "--widths", "4", *data]) == 0
    return folder


@pytest.fixture
def folder(digits: Path, tmp_path: Path) -> Path:
    return shutil.copytree(digits, tmp_path / "run")


def test_the_prior_of_every_map_is_trained_told_and_used(folder: Path, tmp_path: Path, say: Say) -> None:
    code, out, err = say("train-prior", folder, *TINY, "--epochs", 2, "--condition")
    assert code == 0
    assert err.startswith(f"training in {folder}/prior/top, then {folder}/prior/bottom: codes of digits\n")
    assert "top codes of the validation part: " in out
    assert "together: " in out
    code, out, _ = say("train-prior", folder, "--resume", "--epochs", 3, "--json")
    found = json.loads(out)
    assert code == 0
    assert list(found["levels"]) == ["top", "bottom"]
    assert [each["epochs"] for each in found["levels"].values()] == [3, 3]
    assert found["uniform_nats"] == pytest.approx(4 * math.log(4) + 16 * math.log(8))
    assert found["learned_nats"] == pytest.approx(sum(each["learned_nats"] for each in found["levels"].values()))
    code, out, _ = say("evaluate", folder, "--json", "--samples", 2)
    report = json.loads(out)
    assert code == 0
    assert report["kl"] == pytest.approx(sum(each["kl"] for each in report["latents"].values()), rel=1e-5)
    assert report["priors"]["uniform"]["kl"] == pytest.approx(found["uniform_nats"])
    code, out, _ = say("evaluate", folder / "prior" / "bottom", "--json", "--samples", 2)
    assert code == 0
    assert json.loads(out)["bound"] == pytest.approx(-report["latents"]["bottom"]["kl"], rel=1e-5)
    pictures = []
    for options in ([], ["--code-prior", "uniform"], ["--temperature", 0], ["--top-k", 1]):
        assert say("sample", folder, "--number", 20, "--out", tmp_path / "s.png", *options)[0] == 0
        pictures.append((tmp_path / "s.png").read_bytes())
    assert pictures[2] == pictures[3]
    assert len(set(pictures)) == 3


def test_ctrl_c_leaves_priors_that_go_on(folder: Path, say: Say, ctrl_c: Any) -> None:
    with ctrl_c():
        code, _, err = say("train-prior", folder, *TINY, "--epochs", 2)
    assert code == 1
    assert f"interrupted; go on with `polyvae train-prior {folder} --resume`" in err
    code, _, err = say("sample", folder)
    assert code == 0
    assert "is not finished" in err
    assert say("train-prior", folder, "--resume")[0] == 0
    assert "is not finished" not in say("sample", folder)[2]


def test_one_map_is_trained_alone_and_the_rest_is_asked_for(folder: Path, say: Say) -> None:
    assert say("train-prior", folder, *TINY, "--epochs", 1, "--level", "bottom")[0] == 0
    assert "(top not begun): the own prior of" in say("sample", folder)[2]
    wrong = {
        (2, "--level is one of top, bottom; got 'midle'"): ["--level", "midle"],
        (1, "already holds a learned prior; add --resume"): [],
        (1, "prior/bottom already holds a learned prior"): ["--level", "bottom"],
        (2, "has no option --above"): ["--above", "2,2,2"],
    }
    for (code, words), options in wrong.items():
        found, _, err = say("train-prior", folder, *options)
        assert (found, words in err) == (code, True), (options, err)
    assert say("train-prior", folder, *TINY, "--epochs", 1, "--level", "top")[0] == 0
    assert "not begun" not in say("sample", folder)[2]


def test_completion_takes_the_learned_priors_and_maps_that_no_file_holds_are_refused(
    folder: Path, tmp_path: Path, say: Say
) -> None:
    assert say("train-prior", folder, *TINY, "--epochs", 1)[0] == 0
    out = ["--out", tmp_path / "c.png", "--draws", 5, "--score", 2, "--split", "validation"]
    assert say("complete", folder, "--count", 20, "--weigh", "seen", *out)[0] == 0
    refused = say("train", "pixel_cnn", "--data", "digits", "--limit", 50, "--above", "2,2,2", "--run", tmp_path / "x")
    assert refused[0] == 1
    assert "the model needs ['above1']" in refused[2]
    assert not (tmp_path / "x").exists()
