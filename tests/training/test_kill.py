"""A training process killed, stopped, or left without room on its disk goes on from its last whole state."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.runs import pictures, same, small, timeless
from polyvae.training.store import METRICS, STATE, WEIGHTS, read_metrics, read_tensors

PLACES = [str(folder) for folder in Path(__file__).parents[:2]]  # of this file and of what tests share
SCRIPT = """
import sys
sys.path[:0] = {tests!r}
from test_kill import real

if __name__ == "__main__":
    real(sys.argv[1], int(sys.argv[2]))
    print("done", flush=True)
"""


def real(folder: str | Path, epochs: int) -> None:
    """The run that is killed: convolutions, a moving average, a state as often as it can be written."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many in the killed process as in the one that resumes
    try:
        data = pictures(side=8)
        recipe = small("vae", data, network="conv", widths=[4, 4])
        options = {"batch_size": 8, "seed": 1, "average": 0.9, "save_every": 0.0, "device": "cpu", "progress": False}
        pv.fit(recipe, data, folder, resume=True, epochs=epochs, **options)
    finally:
        torch.set_num_threads(threads)


def started(tmp_path: Path, folder: Path, epochs: int, **options: Any) -> subprocess.Popen[str]:
    """The run in a process of its own, which says "done" at its end."""
    path = tmp_path / "train.py"
    path.write_text(SCRIPT.format(tests=PLACES))
    command = [sys.executable, str(path), str(folder), str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def result(folder: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]], dict[str, Tensor]]:
    state, numbers = read_tensors(folder / STATE)
    return read_tensors(folder / WEIGHTS)[0], timeless(numbers["history"]), state


def killed_and_resumed(kills: int, epochs: int, tmp_path: Path) -> None:
    """Each round: a new process killed by SIGKILL at a random moment, then resumed to its end."""
    chance = random.Random(0)
    began = time.monotonic()
    real(tmp_path / "whole", epochs)
    length = time.monotonic() - began
    expected = result(tmp_path / "whole")
    reached = []
    for number in range(kills):
        folder = tmp_path / f"killed-{number}"
        process = started(tmp_path, folder, epochs)
        until = time.monotonic() + 120
        while not (folder / STATE).exists() and time.monotonic() < until:
            time.sleep(0.01)  # importing takes most of a short run: kill it while it trains
        time.sleep(chance.uniform(0, 0.7 * length))
        process.kill()
        process.communicate()
        reached.append(read_tensors(folder / STATE)[1]["step"])
        real(folder, epochs)
        mine = result(folder)
        assert same(mine[0], expected[0]), f"kill {number} of {kills}, after step {reached[-1]}"
        assert mine[1] == expected[1]
        assert same(mine[2], expected[2])
        assert not list(folder.glob(".*"))
    print(f"{kills} of {kills} are the same; killed when these steps were saved: {reached}")


def test_killed_at_random_moments_and_resumed(tmp_path: Path) -> None:
    killed_and_resumed(3, 12, tmp_path)


@pytest.mark.slow
def test_killed_at_twenty_random_moments_and_resumed(tmp_path: Path) -> None:
    killed_and_resumed(20, 30, tmp_path)


def test_a_full_disk_leaves_the_earlier_state_whole(tmp_path: Path) -> None:
    run = tmp_path / "run"
    real(run, 2)
    before = (run / STATE).read_bytes()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    process = started(tmp_path, run, 4, preexec_fn=limit)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "RunError" in err
    assert str(run / STATE) in err
    assert "what was there before is intact" in err
    assert (run / STATE).read_bytes() == before
    assert not list(run.glob(".*"))
    real(run, 4)
    real(tmp_path / "whole", 4)
    assert same(result(run)[2], result(tmp_path / "whole")[2])


@pytest.mark.parametrize("ask", [signal.SIGINT, signal.SIGTERM])
def test_a_process_asked_to_stop_leaves_a_run_that_goes_on_the_same(ask: int, tmp_path: Path) -> None:
    process = started(tmp_path, tmp_path / "run", 200)
    until = time.monotonic() + 120
    while not (tmp_path / "run" / METRICS).exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(ask)
    out, err = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "done" not in out
    assert "KeyboardInterrupt" in err
    epochs = len(read_metrics(tmp_path / "run" / METRICS)) + 2
    real(tmp_path / "run", epochs)
    real(tmp_path / "whole", epochs)
    assert same(result(tmp_path / "run")[2], result(tmp_path / "whole")[2])
