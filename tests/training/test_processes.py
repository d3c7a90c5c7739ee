"""No more processes than processors, none without its parent, and signals that ask to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.processes import alive, family, started, train, until
from helpers.runs import same, weights
from polyvae.cli import main
from polyvae.training import devices
from polyvae.training.cpu import processors
from polyvae.training.processes import on_signals
from polyvae.training.run_folder import LOCK
from polyvae.training.settings import Settings
from polyvae.training.store import DESCRIPTION, METRICS, STATE, read_metrics, read_tensors


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
