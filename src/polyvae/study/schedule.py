"""Where runs are run: in this process, in several on this machine, or on the machines of a Ray cluster."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from polyvae.study.thesis.run import Job, RunFailed
from polyvae.study.worker import named_runner
from polyvae.training.cpu import processors

RUNNER = "polyvae.study.thesis.run:run"
WORKER = "import sys; from polyvae.study.worker import main; main(sys.argv[1])"
Answers = Iterator[tuple[Job, dict[str, Any]]]


def answers(jobs: Sequence[Job], workers: int = 1, ray: str | None = None, runner: str = RUNNER) -> Answers:
    """Every job with its answer (see `worker.answer`), in the order in which they are done.

    `runner`: "module:function", called with a job. Ctrl-C lets what is being trained save its state first.
    """
    if ray is not None:
        from polyvae.study.cluster import on_cluster

        return on_cluster(jobs, workers, ray, runner)
    return _here(jobs, runner) if min(workers, len(jobs)) < 2 else _beside(jobs, min(workers, len(jobs)), runner)


def share(workers: int) -> str:
    """Threads for each of so many processes, unless the user has said how many."""
    return os.environ.get("OMP_NUM_THREADS") or str(max(1, processors() // workers))


def _here(jobs: Sequence[Job], runner: str) -> Answers:
    run = named_runner(runner)
    for job in jobs:
        try:
            found = {"result": run(job)}
        except RunFailed as error:
            found = {"failed": str(error)}
        yield job, found


def _beside(jobs: Sequence[Job], workers: int, runner: str) -> Answers:
    """In processes of their own, which end when this one does: then their input closes."""
    waiting = list(reversed(jobs))
    done: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
    command = [sys.executable, "-c", WORKER, runner]
    environment = {**os.environ, "OMP_NUM_THREADS": share(workers)}
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(workers)
    ]
    busy: dict[int, Job] = {}

    def listen(number: int) -> None:
        for line in processes[number].stdout or ():
            done.put((number, line))
        done.put((number, ""))

    def give(number: int) -> None:
        pipe = processes[number].stdin
        assert pipe is not None
        if waiting:
            busy[number] = waiting.pop()
            pipe.write(json.dumps(busy[number].as_dict()) + "\n")
            pipe.flush()

    try:
        for number in range(workers):
            threading.Thread(target=listen, args=(number,), daemon=True).start()
            give(number)
        while busy:
            number, line = done.get()
            job = busy.pop(number, None)
            if job is None:
                continue
            if not line:
                code = processes[number].wait()
                raise RuntimeError(f"the process of {job.cell.name}, fold {job.fold}, ended with status {code}")
            yield job, json.loads(line)
            give(number)
    finally:
        _end(processes)


def _end(processes: Sequence[subprocess.Popen[str]], patience: float = 60.0) -> None:
    """Asks processes to stop, which they do once their state is saved; ends those that do not."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
