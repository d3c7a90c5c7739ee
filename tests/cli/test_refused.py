"""What is refused: a line that is not understood is one line and 2, a failure while running one line and 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch.multiprocessing.spawn import ProcessRaisedException

import polyvae
from helpers.commands import TINY, Say
from polyvae.cli import main

USAGE = {
    "no command is named": (["trian"], "did you mean train"),
    "no such option at the top": (["--verbose"], "no option --verbose"),
    "no such recipe": (["train", "beta_vea", "--data", "digits"], "did you mean beta_vae"),
    "no recipe": (["train", "--data", "digits"], "which recipe?"),
    "no data": (["train", "vae"], "which data?"),
    "unknown data": (["train", "vae", "--data", "digis"], "did you mean 'digits'"),
    "unknown option": (["train", "vae", "--data", "digits", "--latnt", "3"], "did you mean --latent"),
    "option of another recipe": (["train", "vae", "--data", "digits", "--beta", "3"], "no option --beta"),
    "shortened option": (["train", "vae", "--data", "digits", "--epoch", "3"], "no option --epoch"),
    "not a number": (["train", "vae", "--data", "digits", "--epochs", "2.5"], "expected a whole number, got '2.5'"),
    "not a choice": (["train", "vae", "--data", "digits", "--network", "cnv"], "did you mean conv"),
    "out of range": (["train", "vae", "--data", "digits", "--lr", "-1"], "--lr is a positive number; got -1.0"),
    "refused by the recipe": (["train", "mmd_vae", "--data", "digits", "--alpha", "2"], "must be at least 0"),
    "needs labels": (["train", "cvae", "--data", "frey.npy"], "these data have none"),
    "underscored": (["train", "vae", "--data", "digits", "--learning_rate", "1"], "did you mean --lr"),
    "no folder to resume": (["train", "--resume"], "--run DIR"),
    "one argument too many": (["evaluate", "a", "b"], "'b' is one argument too many"),
    "no run": (["evaluate"], "required: RUN"),
    "no such data set": (["datasets", "fetch", "mnis"], "did you mean mnist"),
    "no such verb": (["datasets", "fecth", "mnist"], "did you mean fetch"),
    "not a picture file": (["sample", "RUN", "--out", "samples.jpg"], "--out is a PNG file"),
    "no pictures": (["reconstruct", "RUN", "--number", "0"], "--number: expected a whole number of at least 1"),
    "no samples": (["evaluate", "RUN", "--samples", "0"], "--samples: expected a whole number of at least 1"),
    "no such example": (["traverse", "RUN", "--example", "9999"], "--example is from 0"),
    "another recipe": (["train", "ppca", "--resume", "--run", "RUN"], "holds a run of vae, not of ppca"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_command_line_not_understood_is_one_line_and_2(
    case: str, say: Say, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("frey.npy", np.random.default_rng(0).random((30, 1, 4, 4), dtype=np.float32))
    arguments, expected = USAGE[case]
    code, out, err = say(*(trained if argument == "RUN" else argument for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("polyvae: ")
    assert err.count("\n") == 1
    assert expected in err
    assert not Path("runs").exists()


def _write(path: Path, text: str) -> None:
    path.write_text(text)


FAILURES = {
    "no run there": (["evaluate", "nothing"], None, "nothing is no run folder"),
    "not JSON": (
        ["evaluate", "run"],
        lambda: _write(Path("run/run.json"), '{"recipe": '),
        "run/run.json does not describe a run",
    ),
    "not a run": (["sample", "run"], lambda: _write(Path("run/run.json"), "[]"), "does not describe a run"),
    "no weights": (
        ["sample", "run"],
        lambda: Path("run/weights.safetensors").unlink(),
        "weights.safetensors does not exist",
    ),
    "half the weights": (
        ["sample", "run"],
        lambda: Path("run/weights.safetensors").write_bytes(Path("run/weights.safetensors").read_bytes()[:-9]),
        "run/weights.safetensors is not a whole safetensors file",
    ),
    "half the state": (
        ["train", "--resume", "--run", "run", "--epochs", "3"],
        lambda: Path("run/state.safetensors").write_bytes(Path("run/state.safetensors").read_bytes()[:-9]),
        "run/state.safetensors is not a whole safetensors file",
    ),
    "a run there already": (["train", "vae", *TINY, "--run", "run"], None, "add --resume to go on with it"),
    "other files there": (["train", "vae", *TINY, "--run", "."], None, "holds other files"),
    "another setting": (["train", "--resume", "--run", "run", "--lr", "0.1"], None, "lr: 0.001 then, 0.1 now"),
    "another option": (["train", "vae", "--resume", "--run", "run", "--latent", "4"], None, "'latent': 4"),
    "other data": (["train", "--resume", "--run", "run", "--limit", "100"], None, "'limit': 100"),
    "no files of the data": (
        ["train", "vae", "--data", "svhn", "--data-dir", "here", "--no-download"],
        None,
        "polyvae datasets fetch svhn",
    ),
    "not a folder to write": (["sample", "run", "--out", "run/run.json/a.png"], None, "run/run.json"),
    "no such latent": (["traverse", "run", "--latent-name", "y"], None, "a latent of the model is one of z; got 'y'"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_while_running_is_one_line_and_1(
    case: str, say: Say, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLYVAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments, spoil, expected = FAILURES[case]
    if spoil is not None:
        spoil()
    code, out, err = say(*arguments)
    assert (code, out) == (1, "")
    *notes, message = err.splitlines()
    assert all(note.startswith(("polyvae: note: ", "training in ", "going on with ")) for note in notes)
    assert message.startswith("polyvae: ")
    assert expected in message


def test_a_traceback_is_kept_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYVAE_DEBUG", "1")
    with pytest.raises(ValueError, match="is no run folder"):
        main(["evaluate", "nothing"])


def test_what_went_wrong_in_another_process_is_one_line_too(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*arguments: object, **options: object) -> None:
        told = "Process 1 terminated\nTraceback:\n  File x\npolyvae.meter.NonFiniteError: at step 3 loss = nan\n"
        raise ProcessRaisedException(told, 1, 2)

    monkeypatch.setattr(polyvae, "fit", fit)
    code, out, err = say("train", "vae", *TINY, "--run", tmp_path / "run")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "polyvae: at step 3 loss = nan"
