"""`polyvae train`: where the run lies, how it goes on, and what is said at its end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import polyvae as pv
from helpers.commands import TINY, Say


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


def test_data_may_have_moved_since_they_were_trained_on(say: Say, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    here = ["--data-dir", str(tmp_path / "here")]
    assert say("train", "vae", *TINY, *here, "--epochs", "1", "--run", folder)[0] == 0
    there = ["--data-dir", str(tmp_path / "there")]
    assert say("train", "--resume", "--run", folder, "--epochs", "2", *there)[0] == 0
    assert say("reconstruct", folder, *there)[0] == 0


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


def test_a_closed_form_says_what_is_not_trained_and_what_its_bound_is_worth(say: Say, tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    codes, shapes = stream.normal(size=(40, 2)), stream.normal(size=(2, 6, 8))
    np.savez(tmp_path / "flow.npz", u=np.tensordot(codes, shapes, 1))
    sensors = ["--data", str(tmp_path / "flow.npz"), "--mask", "points", "--positions", "1,2,3,4"]
    folder = tmp_path / "run"
    code, out, err = say("train", "gaussian_process", *sensors, "--run", folder, "--epochs", "7")
    assert code == 0
    assert "polyvae: note: gaussian_process is fitted at once, --epochs changed nothing\n" in err
    assert "the bound is no measure here" in out
    assert f"polyvae complete {folder}" in out
    before = load_file(folder / "weights.safetensors")
    code, _, err = say("train", "--resume", "--run", folder, "--epochs", "9")
    assert code == 0
    assert (
        "polyvae: note: gaussian_process is fitted at once: nothing of it is left to train, --epochs changed nothing\n"
        in err
    )
    assert "epochs;" not in err
    assert err.count("changed nothing") == 1
    after = load_file(folder / "weights.safetensors")
    assert all(bool((tensor == after[name]).all()) for name, tensor in before.items())
    code, _, err = say("train", "--resume", "--run", folder, "--epochs", "1")  # it has a row of metrics, no epoch
    assert "ask for more" not in err
    assert code == 0


def test_the_bound_of_a_closed_form_of_all_of_x_is_a_measure(say: Say, tmp_path: Path) -> None:
    code, out, err = say("train", "ppca", "--data", "digits", "--latent", "4", "--run", tmp_path / "run")
    assert code == 0
    assert "no measure" not in out
    assert "fitted at once" not in err


def test_a_history_of_readings_comes_from_the_times_of_the_data(say: Say, tmp_path: Path) -> None:
    t, column = np.arange(120) * 0.1, np.linspace(0, 2 * np.pi, 12, endpoint=False)
    u = np.sin(t[:, None, None] - column + np.linspace(0, 1, 6)[:, None])
    np.savez(tmp_path / "flow.npz", u=2 * u, v=u + 1, t=t)
    np.savez(tmp_path / "timeless.npz", u=2 * u, v=u + 1)
    asked = ["--mask", "readings", "--positions", "1.5,2.25,3,8.5", "--noise", "0.1", "--history", "3"]
    folder, line = tmp_path / "run", ["train", "gaussian_process", "--data", str(tmp_path / "flow.npz")]
    assert say(*line, *asked, "--run", folder)[0] == 0
    before = load_file(folder / "weights.safetensors")
    data = pv.data.with_past(pv.data.load(tmp_path / "flow.npz"), [(1.5, 2.25), (3, 8.5)], 3)
    options = {"mask": "readings", "positions": [1.5, 2.25, 3, 8.5], "noise": 0.1, "history": 3}
    by_hand = pv.fit(pv.recipes.gaussian_process(data, seed=0, **options), data, tmp_path / "own", progress=False)
    own = load_file(tmp_path / "own" / "weights.safetensors")
    assert all(bool((tensor == own[name]).all()) for name, tensor in before.items())
    assert say("train", "--resume", "--run", folder)[0] == 0
    assert say("evaluate", folder, "--samples", "5")[0] == 0
    assert by_hand.history[0]["validation_bound"] == pv.Run.load(folder).history[0]["validation_bound"]
    timeless = ["--data", tmp_path / "timeless.npz", "--blocks", "10", "--run", tmp_path / "no"]
    code, _, err = say("train", "gaussian_process", *timeless, *asked)
    assert code == 1
    assert "a time t of each example" in err
    assert "train without a history" in err
    assert not (tmp_path / "no").exists()
