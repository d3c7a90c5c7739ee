"""What a training step costs: seconds and memory, in a process of its own on one thread."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from polyvae.data import Data
from polyvae.study.trained import Job
from polyvae.training.cpu import give_back

STEPS, EPOCHS = 30, 3  # steps of an epoch; the fastest epoch after the first counts, since others may run beside
PROCESS = "from polyvae.study.compare.cost import main; main()"


def cost(job: Job) -> dict[str, float | None]:
    """Seconds a step and MB at the peak of training, above what the process held before: {"step_seconds", "memory_mb"}.

    Steps are those of `fit` on some of the training part. On a CPU it is the processor's time, which, unlike the
    clock's, grows little where other processes run. RuntimeError where the process fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    paths = filter(None, [*sys.path, os.environ.get("PYTHONPATH")])
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    made = subprocess.run(
        [sys.executable, "-c", PROCESS], input=pickle.dumps(job), capture_output=True, env=environment, check=False
    )
    if made.returncode:
        lines = made.stderr.decode(errors="replace").strip().splitlines() or [f"status {made.returncode}"]
        raise RuntimeError(f"the process that measures a step failed: {lines[-1]}")
    return json.loads(made.stdout.splitlines()[-1])


def main() -> None:
    """Measures the job on standard input and prints the answer."""
    job: Job = pickle.load(sys.stdin.buffer)
    print(json.dumps(measured(job)))


def measured(job: Job) -> dict[str, float | None]:
    """The answer of `cost`, in this process."""
    from polyvae.training.fit import fit

    recipe, data = job.recipe(), some(job)
    device = job.device
    before, ends = _begin(device), []
    clock = time.perf_counter if device == "cuda" else time.process_time
    fit(
        recipe,
        data,
        progress=False,
        epochs=EPOCHS,
        batch_size=job.budget.batch_size,
        lr=job.budget.lr,
        weight_decay=0.0,
        seed=job.seed,
        device=device,
        callbacks=[lambda row: ends.append(clock())],
    )
    steps = -(-len(data.train) // job.budget.batch_size)
    fastest = min((after - before for before, after in pairwise(ends)), default=None)
    peak = _peak(device)
    return {
        "step_seconds": None if fastest is None else fastest / steps,
        "memory_mb": None if peak is None or before is None else (peak - before) / 2**20,
    }


def some(job: Job) -> Data:
    """The first batches of the training part, and so little of the validation part that it costs nothing."""
    found = job.data()
    train = found.train.take(range(min(len(found.train), STEPS * job.budget.batch_size)))
    validation = found.validation.take(range(min(len(found.validation), 2)))
    return replace(found, train=train, validation=validation)


def _begin(device: str) -> int | None:
    """The bytes in use, from which on the peak is watched; None where the system does not tell."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    give_back()  # or the training would begin with memory that reading the data has left
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    except OSError:
        return None
    return _status("VmRSS")


def _peak(device: str) -> int | None:
    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def _status(name: str) -> int | None:
    """A line of what Linux tells of this process, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    held: dict[str, Any] = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(held[name].split()[0]) * 1024 if name in held else None
