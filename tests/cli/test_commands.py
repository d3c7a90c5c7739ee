"""The commands, called as a shell calls them but within this process: what they write, print, and say of mistakes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from torch.multiprocessing.spawn import ProcessRaisedException

import polyvae
from polyvae import data
from polyvae.cli import COMMANDS, main

TINY = ["--data", "digits", "--network", "mlp", "--widths", "16", "--latent", "3", "--limit", "200"]
PNG = b"\x89PNG"
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command: its exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "vae", *TINY, "--epochs", "2", "--run", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be spoilt."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


HELPS = [*([name] for name in COMMANDS), ["train", "beta_vae"], ["datasets", "fetch"]]


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_of_every_command_has_an_example(command: list[str], say: Say) -> None:
    code, out, err = say(*command, "--help")
    assert (code, err) == (0, "")
    assert f"usage: polyvae {' '.join(command)}" in out
    assert f"example:\n  polyvae {command[0]}" in out


def test_help_of_a_recipe_lists_its_own_options_with_defaults(say: Say) -> None:
    _, out, _ = say("train", "mmd_vae", "--help")
    assert "--bandwidth X" in out
    assert "(default: rbf)" in out
    assert "--beta" not in out
    assert "--objective" not in out  # no text can stand for a module


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


def test_a_run_records_what_was_asked_for(trained: Path) -> None:
    recorded = json.loads((trained / "run.json").read_text())
    assert recorded["recipe"]["name"] == "vae"
    assert recorded["recipe"]["options"] == {"network": "mlp", "widths": [16], "latent": 3, "seed": 0}
    assert recorded["data"]["call"] == {"name": "digits", "limit": 200}
    assert recorded["settings"]["epochs"] == 2


def test_runs_without_a_folder_take_the_next_free_number(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        code, out, err = say("train", "ppca", "--data", "digits", "--latent", "4", "--json")
        assert code == 0
        result = json.loads(out)
        assert result["run"] == f"runs/ppca-digits-{number}"
        assert result["recipe"]["name"] == "ppca"
        assert result["run"] in err


def test_a_run_goes_on_with_more_epochs_exactly_as_if_asked_for_at_once(say: Say, run: Path, tmp_path: Path) -> None:
    code, out, _ = say("train", "--resume", "--run", run, "--epochs", "3", "--json")
    assert code == 0
    assert json.loads(out)["epochs"] == 3
    assert say("train", "vae", *TINY, "--epochs", "3", "--run", tmp_path / "whole")[0] == 0
    resumed, whole = (load_file(folder / "weights.safetensors") for folder in (run, tmp_path / "whole"))
    assert resumed.keys() == whole.keys()
    assert all(bool((tensor == whole[name]).all()) for name, tensor in resumed.items())
    code, _, err = say("train", "--resume", "--run", run, "--epochs", "3")
    assert code == 0
    assert "has all its 3 epochs" in err


def test_the_result_of_training_is_said_in_words(say: Say, run: Path) -> None:
    code, out, _ = say("train", "--resume", "--run", run)
    assert code == 0
    assert f"run: {run}\n" in out
    assert "best epoch: 2 of 2\n" in out
    assert f"the last epoch is the best yet: polyvae train --resume --run {run} --epochs 4 goes on\n" in out
    assert "plain bound: -" in out
    assert f"polyvae evaluate {run}" in out


def test_epochs_that_made_nothing_better_are_said_to_be_in_vain(say: Say, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(size=(40, 4)).astype(np.float32)
    np.save(tmp_path / "noise.npy", noise)
    asked = ("--data", tmp_path / "noise.npy", "--epochs", "40", "--lr", "0.05", "--run", tmp_path / "vain")
    code, out, _ = say("train", "vae", *asked)
    assert code == 0
    best = int(out.split("best epoch: ")[1].split(" of 40")[0])
    assert 0 < 2 * best < 40
    assert f"what came after epoch {best} was no better: --patience {max(5, best // 2)} stops earlier\n" in out


def test_of_a_table_nothing_is_said_of_pictures(say: Say, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    assert say("train", "vae", "--data", tmp_path / "rows.npy", "--epochs", "1", "--run", tmp_path / "run")[0] == 0
    code, out, _ = say("evaluate", tmp_path / "run", "--samples", "2", "--baselines")
    assert code == 0
    assert "squared error" in out
    assert not {"PSNR", "SSIM"} & set(out.replace(",", " ").split())


@pytest.mark.usefixtures("unhurried")
def test_evaluation_is_one_json_document_with_its_baselines(say: Say, run: Path) -> None:
    code, out, err = say("evaluate", run, "--samples", "7", "--json", "--baselines")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["split"], report["samples"], report["recipe"]["name"]) == ("test", 7, "vae")
    assert report["bound"] < report["importance_bound"] < 0
    assert report["baselines"]["ppca"]["bound"] is not None
    assert report["baselines"]["pca"]["bound"] is None
    assert report["baselines"]["pca"]["mse"] < report["mse"]
    assert not any("ppca" in note for note in report["notes"])
    assert json.loads((run / "evaluation.json").read_text()) == report
    assert json.loads(say("evaluate", run, "--samples", "7", "--json", "--baselines")[1]) == report


def test_baselines_of_bits_are_said_to_be_densities_beside_probabilities(say: Say, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 2, (80, 6))
    np.save(tmp_path / "bits.npy", rows)
    folder = tmp_path / "bits"
    options = ("--latent", "2", "--network", "mlp", "--widths", "8", "--epochs", "1", "--run", folder)
    assert say("train", "vae", "--data", tmp_path / "bits.npy", *options)[0] == 0
    code, out, _ = say("evaluate", folder, "--samples", "2", "--json", "--baselines")
    assert code == 0
    report = json.loads(out)
    assert (report["discrete"], report["baselines"]["ppca"]["discrete"]) == (True, False)
    assert any("ppca is on a density of all values" in note for note in report["notes"])


def test_a_mixed_table_is_said_to_have_densities_and_probabilities(say: Say, tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    pairs = zip(stream.normal(size=80), stream.poisson(3, 80), strict=True)
    rows = [f"{x:.4f},{count},{x + 1:.3f}" for x, count in pairs]
    (tmp_path / "a.csv").write_text("\n".join(["size,visits,width", *rows]))
    folder = tmp_path / "mixed"
    options = ("--latent", "2", "--network", "mlp", "--widths", "8", "--epochs", "1", "--run", folder)
    assert say("train", "vae", "--data", tmp_path / "a.csv", *options)[0] == 0
    code, out, _ = say("evaluate", folder, "--samples", "2", "--json", "--baselines")
    notes = json.loads(out)["notes"]
    assert code == 0
    assert "no bits per dimension: some values have probabilities, others densities" in notes
    assert any("densities of real and positive columns and probabilities of bits, counts" in note for note in notes)


@pytest.mark.usefixtures("unhurried")
def test_evaluation_as_a_table(say: Say, run: Path) -> None:
    out = run / "reports" / "train.json"
    code, shown, err = say("evaluate", run, "--samples", "2", "--split", "train", "--baselines", "--out", out)
    assert (code, err) == (0, "")
    assert "vae on the train part of digits" in " ".join(shown.split())
    assert all(word in shown for word in ("K = 2", "ppca", "pca", "nats", f"report: {out}"))
    assert json.loads(out.read_text())["examples"] == 200


def test_without_a_test_part_the_validation_part_is_taken_and_said(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = data.load

    @wraps(load)
    def without_test(*arguments: Any, **options: Any) -> data.Data:
        found = load(*arguments, **options)
        return replace(found, test=found.test.take([]))

    monkeypatch.setattr(data, "load", without_test)
    folder = tmp_path / "run"
    assert say("train", "ppca", "--data", "digits", "--limit", "200", "--run", folder)[0] == 0
    code, out, err = say("evaluate", folder, "--samples", "1", "--json")
    assert (code, json.loads(out)["split"]) == (0, "validation")
    assert "the validation part is taken" in err
    code, _, err = say("evaluate", folder, "--split", "test")
    assert code == 1
    assert "the test part of digits is empty" in err


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


def test_data_may_have_moved_since_they_were_trained_on(say: Say, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    here = ["--data-dir", str(tmp_path / "here")]
    assert say("train", "vae", *TINY, *here, "--epochs", "1", "--run", folder)[0] == 0
    there = ["--data-dir", str(tmp_path / "there")]
    assert say("train", "--resume", "--run", folder, "--epochs", "2", *there)[0] == 0
    assert say("reconstruct", folder, *there)[0] == 0


def test_fetch_says_where_the_data_set_lies(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "fetch", lambda name, data_dir: Path(data_dir) / name)
    assert say("datasets", "fetch", "mnist", "--data-dir", tmp_path) == (0, f"{tmp_path / 'mnist'}\n", "")
    out = say("datasets", "fetch", "mnist", "--data-dir", tmp_path, "--json")[1]
    assert json.loads(out) == {"name": "mnist", "where": str(tmp_path / "mnist")}


def test_lists_of_data_sets_and_recipes(say: Say) -> None:
    code, out, _ = say("datasets", "--json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert found["digits"]["present"]
    assert found["mnist"]["shape"] == [1, 28, 28]
    code, out, _ = say("datasets", "list")
    assert code == 0
    assert all(name in out for name in found)
    code, out, _ = say("recipes", "--json")
    papers = {entry["name"]: entry["paper"] for entry in json.loads(out)}
    assert "Importance Weighted Autoencoders" in papers["iwae"]
    assert papers["ae"] == ""
    assert all(name in say("recipes")[1] for name in papers)


def test_a_table_of_fewer_columns_than_latents_has_baselines_too(say: Say, tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(60, 3)))
    given = ["--epochs", "1", "--run", tmp_path / "run"]
    assert say("train", "vae", "--data", tmp_path / "table.npy", *given)[0] == 0
    code, out, _ = say("evaluate", tmp_path / "run", "--samples", "2", "--baselines", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["baselines"]["ppca"]["latents"]["z"]["dimensions"] == 2
    assert any("the latents hold 16 numbers, the baselines 2" in note for note in report["notes"])


def test_fewer_epochs_than_are_done_change_nothing_of_a_run_s_plan(say: Say, tmp_path: Path) -> None:
    given = ["--data", "digits", "--limit", "60", "--network", "mlp", "--widths", "4", "--epochs", "3"]
    assert say("train", "vae", *given, "--run", tmp_path / "run")[0] == 0
    before = (tmp_path / "run" / "run.json").read_bytes()
    code, _, err = say("train", "--resume", "--run", tmp_path / "run", "--epochs", "2")
    assert code == 2
    assert "has 3 epochs already, more than the 2 asked for" in err
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_training_that_max_steps_ends_says_where_and_how_to_go_on(say: Say, tmp_path: Path) -> None:
    options = ["--data", "digits", "--limit", "300", "--network", "mlp", "--widths", "4", "--epochs", "2"]
    code, _, err = say("train", "vae", *options, "--max-steps", "1", "--run", tmp_path / "run")
    assert code == 0
    code, out, _ = say("train", "vae", *options, "--max-steps", "3", "--run", tmp_path / "epoch")
    assert (code, "best epoch: 1 of 1" in out, "the last epoch is the best yet" in out) == (0, True, False)
    assert "300 training examples of digits in 10 classes, cut at random" in err
    assert "stopped at step 1 of 6 (--max-steps), within the first epoch, so that there is no bound yet" in err
    assert f"polyvae train --resume --run {tmp_path / 'run'} --max-steps 6" in err
