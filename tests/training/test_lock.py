"""One process and one thread a folder; a held file is waited for or refused."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import polyvae as pv
from helpers.processes import started, train, until
from helpers.runs import pictures, small
from polyvae.cli import main
from polyvae.data.files.writing import held
from polyvae.training import run_folder
from polyvae.training.run_folder import LOCK
from polyvae.training.store import METRICS, read_metrics


def test_a_folder_that_is_trained_in_is_refused_by_name_and_the_first_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process = started(tmp_path)
    folder = tmp_path / "run"
    try:
        assert until((folder / METRICS).exists)
        rows = len(read_metrics(folder / METRICS))
        with pytest.raises(pv.RunError, match=rf"{folder} is being trained by process {process.pid} on "):
            train(folder, resume=True)
        with pytest.raises(pv.RunError, match=f"process {process.pid}"):
            train(folder)
        assert main(["train", "vae", "--data", "digits", "--run", str(folder)]) == 1
        assert until(lambda: len(read_metrics(folder / METRICS)) > rows), "the first goes on"
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert (folder / LOCK).exists(), "killed"
    epochs = len(read_metrics(folder / METRICS)) + 1
    train(folder, epochs, resume=True)
    assert not (folder / LOCK).exists()


def test_two_threads_of_one_process_do_not_share_a_folder_either(tmp_path: Path) -> None:
    refused: list[Exception] = []

    class Waits(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *arguments: Any) -> Any:
            if not refused and (tmp_path / "run" / LOCK).exists():
                other = threading.Thread(target=second)
                other.start()
                other.join()
            return self.inner(*arguments)

    def second() -> None:
        try:
            train(tmp_path / "run")
        except Exception as error:
            refused.append(error)

    data = pictures()
    recipe = small("vae", data)
    recipe = replace(recipe, objective=Waits(recipe.objective))
    pv.fit(recipe, data, tmp_path / "run", epochs=1, device="cpu", progress=False)
    assert f"process {os.getpid()}" in str(refused[0])
    assert isinstance(refused[0], pv.RunError)


def test_a_held_file_is_waited_for_or_refused_and_gone_when_it_is_let_go_of(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    order = []

    def waits() -> None:
        with held(path):
            order.append("second")

    with held(path):
        other = threading.Thread(target=waits)
        other.start()
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()}"), held(path, wait=False):
            pass
        time.sleep(0.3)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert not path.exists()


def test_a_run_that_ended_between_the_first_look_and_the_lock_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    train(folder)
    look = run_folder.begun
    looks = iter([False, False])  # at first it was not there
    monkeypatch.setattr(run_folder, "begun", lambda place: next(looks, None) is None and look(place))
    with pytest.raises(pv.RunError, match="already holds a run"):
        train(folder)
