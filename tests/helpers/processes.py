"""Training in a process of its own, and what becomes of processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polyvae as pv
from helpers.runs import trained

TESTS = str(Path(__file__).parents[1])
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from helpers.processes import endless

if __name__ == "__main__":
    endless(sys.argv[1], int(sys.argv[2]))
"""


def train(folder: Path | None, epochs: int = 2, **settings: Any) -> pv.Run:
    """So many epochs of pictures on the processor."""
    return trained(run=folder, **{"epochs": epochs, "device": "cpu", **settings})


def endless(folder: str, devices: int) -> None:
    """A run that goes on until it is stopped."""
    train(Path(folder), 10**6, devices=devices, resume=True)


def started(tmp_path: Path, devices: int = 1) -> subprocess.Popen[str]:
    """That run in a process of its own."""
    path = tmp_path / "train.py"
    path.write_text(SCRIPT.format(tests=TESTS))
    command = [sys.executable, str(path), str(tmp_path / "run"), str(devices)]

    def heeded() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves run under nohup

    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heeded)


def until(condition: Any, seconds: float = 120) -> bool:
    """Waits for the condition; whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


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
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
