"""One process a folder, no process without its parent, and failed starts that leave nothing in the way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import polyvae as pv
from helpers.runs import pictures, same, small, weights
from polyvae.cli import main
from polyvae.data.files.writing import held
from polyvae.training import devices
from polyvae.training.cpu import processors
from polyvae.training.processes import on_signals
from polyvae.training.run_folder import LOCK
from polyvae.training.settings import Settings
from polyvae.training.store import DESCRIPTION, METRICS, STATE, read_metrics, read_tensors

PLACES = [str(folder) for folder in Path(__file__).parents[:2]]  # of this file and of what tests share
SCRIPT = """
import sys
sys.path[:0] = {tests!r}
from test_two_at_once import endless

if __name__ == "__main__":
    endless(sys.argv[1], int(sys.argv[2]))
"""


def train(folder: Path | None, epochs: int = 2, **settings: Any) -> pv.Run:
    data = pictures()
    given = {"epochs": epochs, "batch_size": 16, "device": "cpu", "progress": False, **settings}
    return pv.fit(small("vae", data), data, folder, **given)


def endless(folder: str, devices: int) -> None:
    train(Path(folder), 10**6, devices=devices, resume=True)


def started(tmp_path: Path, devices: int = 1, before: str = "") -> subprocess.Popen[str]:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT.format(tests=PLACES))
    command = [*before.split(), sys.executable, str(path), str(tmp_path / "run"), str(devices)]

    def heeded() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves run under nohup

    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heeded)


def until(condition: Any, seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


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


def test_more_processes_than_processors_or_devices_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=rf"devices .*one for each processor.* has {processors()}, got 100"):
        train(tmp_path / "run", devices=100)
    assert not (tmp_path / "run").exists()
    line = ["train", "vae", "--data", "digits", "--run", str(tmp_path / "run"), "--devices", "100"]
    assert main([*line, "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert "got 100" in said
    assert "training in" not in said
    monkeypatch.chdir(tmp_path)
    assert main(["train", "vae", "--data", "digits", "--devices", "100", "--device", "cpu"]) == 1
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(devices.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices.torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="one for each cuda device: this machine has 1, got 2"):
        devices.fabric_of(Settings(device="cuda", devices=2))


def family(pid: int) -> set[int]:
    """The processes that a process has started, and theirs."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the test looks for processes in /proc")
@pytest.mark.parametrize("when", ["while they start", "while they train"])
def test_killed_a_parent_takes_its_processes_with_it(when: str, tmp_path: Path) -> None:
    process = started(tmp_path, devices=2)
    try:
        assert until(lambda: len(family(process.pid)) >= 2)
        if when == "while they train":
            assert until((tmp_path / "run" / METRICS).exists)
        children = family(process.pid)
    finally:
        process.kill()
        process.wait()
    began = time.monotonic()
    # At once; those that start end when they have read torch, which takes a minute where others keep the machine busy.
    seconds = 200 if when == "while they start" else 30
    assert until(lambda: not any(alive(child) for child in children), seconds), "the children live on"
    print(f"{len(children)} children ended {time.monotonic() - began:.1f} s after their parent")
    process.communicate()


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


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signal")
def test_a_terminal_that_closes_asks_to_stop_unless_it_was_told_not_to() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with on_signals(lambda number, frame: seen.append(number)):
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
        assert seen == [signal.SIGHUP, signal.SIGTERM, signal.SIGINT]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
        with on_signals(lambda number, frame: seen.append(number)):
            os.kill(os.getpid(), signal.SIGHUP)
        assert len(seen) == 3
    finally:
        signal.signal(signal.SIGHUP, before)


def test_hung_up_a_run_goes_on_from_where_it_was(tmp_path: Path) -> None:
    process = started(tmp_path)
    folder = tmp_path / "run"
    assert until((folder / METRICS).exists)
    process.send_signal(signal.SIGHUP)
    try:
        _, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert "KeyboardInterrupt" in err
    assert not (folder / LOCK).exists()
    epochs = len(read_metrics(folder / METRICS)) + 1
    assert read_tensors(folder / STATE)[1]["step"] > 0
    assert same(weights(train(folder, epochs, resume=True).recipe), weights(train(None, epochs).recipe))
    assert re.match(r"\{", json.dumps(json.loads((folder / DESCRIPTION).read_text())))
