"""How far a whole study is: on a terminal a bar over all epochs with the time left, else a line for each run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from polyvae.study.job import Job
from polyvae.study.records import Row
from polyvae.training.progress import Pace, bar
from polyvae.training.store import METRICS

POLL = 1.0  # seconds between two looks at what runs have written
Words = Callable[[Row], str]  # a result in a few


class Lines:
    """A line on standard error for each run that is done."""

    def __init__(self, jobs: Sequence[Job], done: int, words: Words) -> None:
        self.total, self.done, self.words = len(jobs) + done, done, words
        self.pace = Pace(self.total, done)

    def tell(self, job: Job, answer: dict[str, Any]) -> None:
        self.done += 1
        line = f"{self.done}/{self.total} {said(job, answer, self.words)}{self.pace.left(self.done)}"
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None: ...


class Bar:
    """A bar over the epochs of all runs, moved by what the runs write into their folders; finished runs above it."""

    def __init__(self, jobs: Sequence[Job], done: int, words: Words, console: Console) -> None:
        self.words = words
        self.jobs = {job.key: job for job in jobs}
        self.epochs = jobs[0].epochs if jobs else 1
        self.reached = dict.fromkeys(self.jobs, 0)
        self.progress = bar(console, "{task.fields[runs]} runs", "epochs, left")
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
        self.progress.console.print(said(job, answer, self.words), markup=False, highlight=False)

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


def shown(jobs: Sequence[Job], done: int, words: Words, wanted: bool | None) -> Lines | Bar:
    """A bar where standard error is a terminal (or where `wanted`), else lines."""
    console = Console(stderr=True)
    wanted = console.is_terminal if wanted is None else wanted
    return Bar(jobs, done, words, console) if wanted else Lines(jobs, done, words)


def said(job: Job, answer: dict[str, Any], words: Words) -> str:
    """A run's result, or what it failed with, in a line."""
    if "result" not in answer:
        return f"failed: {answer.get('failed')}"
    cell, fold = job.key
    return f"{cell} fold {fold}: {words(answer['result']['row'])}"
