"""`polyvae fit-completion`: a law q(z | m) fitted to a run, used by complete, stopped and refused on a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import Say
from polyvae.cli import main


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line on digits that reads no observation."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    line = ["--data", "digits", "--limit", "150", "--epochs", "2", "--run", str(folder)]
    assert main(["train", "vae", "--latent", "2", "--network", "mlp", "--widths", "8", *line]) == 0
    return folder


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(plain, tmp_path / "run")


QUICK = ["--network", "mlp", "--widths", 8, "--law", "diagonal"]
FAST = ["--count", 10, "--draws", 5, "--score", 10]


def test_the_command_fits_and_complete_draws_from_it(folder: Path, tmp_path: Path, say: Say) -> None:
    asked = ["complete", folder, *FAST, "--out", tmp_path / "a.png", "--json"]
    code, out, err = say(*asked)
    assert (code, out) == (1, "")
    assert "(polyvae fit-completion)" in err
    own = say("sample", folder, "--number", 4, "--out", tmp_path / "s.png")[0], (tmp_path / "s.png").read_bytes()
    code, out, err = say("fit-completion", folder, *QUICK, "--epochs", 2, "--json")
    assert (code, err.splitlines()[0]) == (0, f"training in {folder}/completion: latents of digits")
    assert err.splitlines()[1] == "the bound of an epoch is log q(z | m) of what was drawn from the posteriors"
    found = json.loads(out)
    assert found["completion"] == str(folder / "completion")
    assert (found["law"], found["epochs"]) == ("diagonal", 2)
    assert found["fitted_nats"] < 0
    assert found["own_nats"] < 0
    code, out, _ = say(*asked)
    scores = json.loads(out)["scores"]
    assert (code, json.loads(out)["latents"]) == (0, "the fitted q(z | m)")
    assert scores[0]["method"] == "model"
    weighed = json.loads(say(*asked, "--weigh", "seen")[1])
    assert weighed["latents"] == "the fitted q(z | m), weighed"
    weighed = weighed["scores"][0]["unseen"]
    moved = json.loads(say(*asked, "--weigh", "hamiltonian", "--moves", 2)[1])["scores"][0]["unseen"]
    without = json.loads(say(*asked, "--weigh", "seen", "--code-prior", "own")[1])
    assert without["latents"] == "p(z), weighed"
    without = without["scores"][0]["unseen"]
    assert len({each["mse"] for each in (scores[0]["unseen"], weighed, moved, without)}) == 4
    assert say("sample", folder, "--number", 4, "--out", tmp_path / "s.png")[0] == 0
    assert own == (0, (tmp_path / "s.png").read_bytes())
    assert "--weigh seen" in say(*asked, "--code-prior", "own")[2]


def test_it_is_gone_on_with_and_told_in_words(folder: Path, say: Say) -> None:
    assert say("fit-completion", folder, *QUICK, "--epochs", 1)[0] == 0
    code, out, err = say("fit-completion", folder, "--resume", "--epochs", 2)
    assert code == 0
    assert f"going on with {folder}/completion" in err
    assert "best epoch: " in out
    assert "log q(z | m) of the validation part: " in out
    assert "by the run's own prior" in out
    assert f"next: polyvae complete {folder}" in out


def test_one_that_says_less_than_the_own_prior_says_so(folder: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyvae.training.second_stage.completing.own_nats", lambda run, data: 100.0)
    code, out, err = say("fit-completion", folder, *QUICK, "--epochs", 1)
    assert code == 0
    assert "100.00 by the run's own prior" in out
    more = f"`polyvae fit-completion {folder} --resume --epochs 2` goes on"
    assert f"polyvae: note: so far it says less of z than the run's own prior; {more}" in err


def test_ctrl_c_leaves_one_that_goes_on(folder: Path, tmp_path: Path, say: Say, ctrl_c: Any) -> None:
    with ctrl_c():
        code, _, err = say("fit-completion", folder, *QUICK, "--epochs", 3, "--batch-size", 32)
    assert code == 1
    assert f"interrupted; go on with `polyvae fit-completion {folder} --resume`" in err
    asked = ["complete", folder, *FAST, "--weigh", "seen", "--out", tmp_path / "a.png"]
    note = f"{folder}/completion is not finished (0 of 3 epochs): the own prior of {folder} is taken; "
    assert f"note: {note}`polyvae fit-completion {folder} --resume` finishes it" in say(*asked)[2]
    assert say("fit-completion", folder, "--resume")[0] == 0
    assert "not finished" not in say(*asked)[2]


def test_one_of_former_weights_is_told_how_it_is_fitted_again(folder: Path, tmp_path: Path, say: Say) -> None:
    assert say("fit-completion", folder, *QUICK, "--epochs", 1)[0] == 0
    assert say("train", "--resume", "--run", folder, "--epochs", 4)[0] == 0
    code, _, err = say("complete", folder, *FAST, "--out", tmp_path / "a.png")
    assert code == 1
    assert f"trained on since its completion was: its latents are others now. Remove {folder}/completion" in err
    assert f"`polyvae fit-completion {folder}`; complete goes without by --code-prior own" in err


def test_the_command_says_what_is_wrong(folder: Path, tmp_path: Path, say: Say) -> None:
    seeing = tmp_path / "seeing"
    line = ["--data", "digits", "--limit", 60, "--epochs", 1, "--network", "mlp", "--decoder", "flat"]
    assert say("train", "arbitrary_conditioning", *line, "--run", seeing)[0] == 0
    wrong = {
        (2, "DIR"): [],
        (1, "is no run folder"): [tmp_path / "nowhere"],
        (1, "holds no completion to go on with"): [folder, "--resume"],
        (1, "reads m already: it completes as it is"): [seeing],
        (2, "--components: expected a whole number of at least 1"): [folder, "--components", 0],
        (2, "--law: expected one of autoregressive, mixture, full, diagonal"): [folder, "--law", "flow"],
        (2, "--count"): [folder, "--count", 99],
        (2, "has no option --laws; did you mean --law"): [folder, "--laws", "full"],
        (2, "--epochs: expected"): [folder, "--epochs", 0],
    }
    for (code, said), arguments in wrong.items():
        found, out, err = say("fit-completion", *arguments)
        assert (found, out) == (code, "")
        assert said in err
        assert err.count("\n") == 1, err
    assert not (folder / "completion").exists()
    assert say("fit-completion", folder, *QUICK, "--epochs", 1)[0] == 0
    assert "already holds a completion; add --resume" in say("fit-completion", folder)[2]
    assert "example:" in say("fit-completion", "--help")[1]
