"""How far a whole study is: on a terminal a bar over all epochs with the time left, else a line for each run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from polyvae.study.thesis.run import Job
from polyvae.training.progress import Pace
from polyvae.training.store import METRICS

POLL = 1.0  # seconds between two looks at what runs have written


class Lines:
    """A line on standard error for each run that is done."""

    def __init__(self, jobs: Sequence[Job], done: int) -> None:
        self.total, self.done = len(jobs) + done, done
        self.pace = Pace(self.total, done)

    def tell(self, job: Job, answer: dict[str, Any]) -> None:
        self.done += 1
        print(f"{self.done}/{self.total} {said(job, answer)}{self.pace.left(self.done)}", file=sys.stderr, flush=True)

    def close(self) -> None: ...


class Bar:
    """A bar over the epochs of all runs, moved by what the runs write into their folders; finished runs above it."""

    def __init__(self, jobs: Sequence[Job], done: int, console: Console) -> None:
        self.jobs = {job.key: job for job in jobs}
        self.epochs = jobs[0].protocol.epochs if jobs else 1
        self.reached = dict.fromkeys(self.jobs, 0)
        self.progress = Progress(
            TextColumn("{task.fields[runs]} runs"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("epochs, left"),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self.total, self.done = len(jobs) + done, done
        start = done * self.epochs + self._look()
        self.task = self.progress.add_task("", total=self.total * self.epochs, completed=start, runs=self._runs())
        self.before = done * self.epochs
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.progress.start()
        self.thread.start()

    def tell(self, job: Job, answer: dict[str, Any]) -> None:
        self.done += 1
        self.jobs.pop(job.key, None)
        self.reached[job.key] = self.epochs
        self.progress.update(self.task, runs=self._runs(), completed=self.before + sum(self.reached.values()))
        self.progress.console.print(said(job, answer), markup=False, highlight=False)

    def close(self) -> None:
        self.stopped.set()
        self.thread.join()
        self.progress.stop()

    def _runs(self) -> str:
        return f"{self.done}/{self.total}"

    def _watch(self) -> None:
        while not self.stopped.wait(POLL):
            self.progress.update(self.task, completed=self.before + self._look())

    def _look(self) -> int:
        for key, job in list(self.jobs.items()):
            try:
                lines = (job.folder / METRICS).read_bytes().count(b"\n") - 1
            except OSError:
                continue
            self.reached[key] = max(self.reached[key], min(lines, self.epochs))
        return sum(self.reached.values())


def shown(jobs: Sequence[Job], done: int, wanted: bool | None) -> Lines | Bar:
    """A bar where standard error is a terminal (or where `wanted`), else lines."""
    console = Console(stderr=True)
    return Bar(jobs, done, console) if (console.is_terminal if wanted is None else wanted) else Lines(jobs, done)


def said(job: Job, answer: dict[str, Any]) -> str:
    """A run's result, or what it failed with, in a line."""
    if "result" not in answer:
        return f"failed: {answer.get('failed')}"
    row = answer["result"]["row"]
    unit = {"gaussian": "KL", "vq": "code loss"}.get(row["family"], "latent")
    numbers = f"mse {row['mse']:.5f}, {unit} {row['latent']:.4g}"
    return f"{job.cell.name} fold {job.fold}: {numbers}, {row['seconds']:.0f} s"
