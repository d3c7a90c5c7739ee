"""How far a whole study is: on a terminal a bar over all epochs with the time left, else a line for each run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn

from polyvae.data.bars import bar
from polyvae.study.job import Job
from polyvae.training.progress import Pace
from polyvae.training.store import METRICS

POLL = 1.0  # seconds between two looks at what runs have written


class Lines:
    """A line on standard error for each run that is done."""

    def __init__(self, jobs: Sequence[Job], done: int) -> None:
        self.total, self.done = len(jobs) + done, done
        self.pace = Pace(self.total, done)

    def tell(self, job: Job, words: str) -> None:
        self.done += 1
        print(f"{self.done}/{self.total} {words}{self.pace.left(self.done)}", file=sys.stderr, flush=True)

    def close(self) -> None: ...


class Bar:
    """A bar over the epochs of all runs, moved by what the runs write into their folders; finished runs above it."""

    def __init__(self, jobs: Sequence[Job], done: int, console: Console) -> None:
        self.jobs, self.before = jobs, done
        self.finished: set[tuple[str, int]] = set()
        self.epochs = jobs[0].epochs if jobs else 1
        self.progress = bar(
            "{task.fields[runs]} runs", MofNCompleteColumn(), TextColumn("epochs, left"), console=console
        )
        self.task = self.progress.add_task("", total=(done + len(jobs)) * self.epochs, runs="")
        self._look()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.progress.start()
        self.thread.start()

    def tell(self, job: Job, words: str) -> None:
        self.finished.add(job.key)
        self._look()
        self.progress.console.print(words, markup=False, highlight=False)

    def close(self) -> None:
        self.stopped.set()
        self.thread.join()
        self.progress.stop()

    def _watch(self) -> None:
        while not self.stopped.wait(POLL):
            self._look()

    def _look(self) -> None:
        trained = [self.epochs if job.key in self.finished else min(_trained(job), self.epochs) for job in self.jobs]
        runs = f"{self.before + len(self.finished)}/{self.before + len(self.jobs)}"
        self.progress.update(self.task, completed=self.before * self.epochs + sum(trained), runs=runs)


def _trained(job: Job) -> int:
    """The epochs that a run has written down."""
    try:
        return (job.folder / METRICS).read_bytes().count(b"\n") - 1
    except OSError:
        return 0


def shown(jobs: Sequence[Job], done: int, wanted: bool | None) -> Lines | Bar:
    """A bar where standard error is a terminal (or where `wanted`), else lines."""
    console = Console(stderr=True)
    return Bar(jobs, done, console) if (console.is_terminal if wanted is None else wanted) else Lines(jobs, done)
