"""A start that fails or is refused leaves nothing in the way of the next."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import polyvae as pv
from helpers.processes import train
from helpers.runs import pictures, small
from polyvae.cli import main
from polyvae.training.run_folder import LOCK
from polyvae.training.store import DESCRIPTION, METRICS, STATE, WEIGHTS, read_tensors

FAILED = {
    "no such device": ({"device": "mps"}, ValueError, "no mps device"),
    "precision without a GPU": ({"precision": "fp16"}, ValueError, "fp16 needs a GPU"),
    "too many processes": ({"devices": 99}, ValueError, "devices"),
}


@pytest.mark.parametrize("case", FAILED)
def test_a_start_that_fails_does_not_block_the_corrected_one(case: str, tmp_path: Path) -> None:
    settings, kind, message = FAILED[case]
    with pytest.raises(kind, match=message):
        train(tmp_path / "runs" / "first", **settings)
    assert list(tmp_path.iterdir()) == []
    train(tmp_path / "runs" / "first", 1)


class Broken(nn.Module):
    """An objective that fails at a step of training in a folder."""

    def __init__(self, inner: nn.Module, at: int, folder: Path) -> None:
        super().__init__()
        self.inner, self.at, self.folder = inner, at, folder

    def forward(self, model: Any, batch: Any, step: Any = 0) -> Any:
        if step == self.at and (self.folder / LOCK).exists():
            raise RuntimeError("out of memory")
        return self.inner(model, batch, step)


@pytest.mark.parametrize("there", [False, True])
def test_a_first_step_that_fails_leaves_nothing_and_a_later_one_a_run(there: bool, tmp_path: Path) -> None:
    data, folder = pictures(), tmp_path / "run"
    recipe = small("vae", data)
    options: dict[str, Any] = {"epochs": 1, "batch_size": 16, "progress": False, "save_every": 0.0}
    if there:
        folder.mkdir()
    with pytest.raises(RuntimeError, match="out of memory"):
        pv.fit(replace(recipe, objective=Broken(recipe.objective, 0, folder)), data, folder, **options)
    assert [path.name for path in tmp_path.iterdir()] == (["run"] if there else [])
    assert not there or list(folder.iterdir()) == []
    with pytest.raises(RuntimeError, match="out of memory"):
        pv.fit(replace(recipe, objective=Broken(recipe.objective, 2, folder)), data, folder, **options)
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, STATE]
    assert read_tensors(folder / STATE)[1]["step"] == 2


def test_the_corrected_command_takes_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--data", "digits", "--network", "mlp", "--widths", "8", "--latent", "2", "--limit", "100"]
    line = ["train", "vae", *tiny, "--epochs", "1", "--run", str(tmp_path / "run")]
    assert main([*line, "--device", "cpu", "--precision", "fp16"]) == 1
    assert "fp16 needs a GPU" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*line, "--device", "cpu"]) == 0


def test_a_finished_run_with_a_schedule_says_what_more_epochs_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", 2, schedule="cosine")
    with pytest.raises(pv.RunError, match=r"epochs: 2 then, 5 now.* cosine schedule .*train one of 5 epochs in a new"):
        train(tmp_path / "run", 5, schedule="cosine", resume=True)
    tiny = ["--data", "digits", "--network", "mlp", "--widths", "8", "--latent", "2", "--limit", "100"]
    folder = str(tmp_path / "line")
    assert main(["train", "vae", *tiny, "--epochs", "1", "--schedule", "linear", "--run", folder]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--run", folder]) == 0
    said = capsys.readouterr().err
    assert "its linear schedule ends there, for more train a new run" in said
    assert "--epochs" not in said
    assert main(["train", "--resume", "--run", folder, "--epochs", "3"]) == 1
    assert "train one of 3 epochs in a new folder" in capsys.readouterr().err


def test_what_was_killed_before_its_first_state_is_in_nobody_s_way(tmp_path: Path) -> None:
    train(tmp_path / "run", 1)
    shutil.copytree(tmp_path / "run", tmp_path / "killed", ignore=lambda *_: {STATE, WEIGHTS, METRICS})
    assert (tmp_path / "killed" / DESCRIPTION).exists()
    train(tmp_path / "killed", 1, seed=3)
    assert pv.Run.load(tmp_path / "killed").description["settings"]["seed"] == 3


def test_a_folder_that_is_taken_is_said_before_anything_is_looked_at(tmp_path: Path) -> None:
    train(tmp_path / "run", 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("")
    for name, message in {"run": "already holds a run; resume it", "other": "holds other files"}.items():
        with pytest.raises(pv.RunError, match=message):
            pv.fit("vae", "no such data", tmp_path / name)
