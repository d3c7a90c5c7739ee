"""Where runs are run: in this process, in several on this machine, or on the machines of a Ray cluster."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from polyvae.study.job import Job, RunFailed, named_runner
from polyvae.training.cpu import processors

WORKER = "import sys; from polyvae.study.worker import main; main(sys.argv[1])"
Answers = Iterator[tuple[Any, dict[str, Any]]]


def answers(jobs: Sequence[Job], runner: str, workers: int = 1, ray: str | None = None) -> Answers:
    """Every job with its answer (see `job.answer`), in the order in which they are done.

    `runner`: "module:function", called with a job. Ctrl-C lets what is being trained save its state first.
    """
    if ray is not None:
        from polyvae.study.cluster import on_cluster

        return on_cluster(jobs, runner, workers, ray)
    workers = min(workers, len(jobs))
    return _here(jobs, runner) if workers < 2 else _beside(jobs, runner, workers)


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


def _beside(jobs: Sequence[Job], runner: str, workers: int) -> Answers:
    """In processes of their own, which end when this one does: then their input closes."""
    waiting = list(reversed(jobs))
    done: queue.SimpleQueue[tuple[int, dict[str, Any] | None]] = queue.SimpleQueue()
    command = [sys.executable, "-c", WORKER, runner]
    # What this process can import, such as a user's recipes, the others can.
    paths = os.pathsep.join(filter(None, [*sys.path, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "OMP_NUM_THREADS": share(workers), "PYTHONPATH": paths}
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        for _ in range(workers)
    ]
    busy: dict[int, Job] = {}

    def listen(number: int) -> None:
        pipe = processes[number].stdout
        assert pipe is not None
        with pipe:  # nobody else closes it, which an answer being read would not bear
            try:
                while True:
                    done.put((number, pickle.load(pipe)))
            except (EOFError, pickle.UnpicklingError):  # it has ended, perhaps within an answer
                done.put((number, None))

    def give(number: int) -> None:
        pipe = processes[number].stdin
        assert pipe is not None
        if waiting:
            busy[number] = waiting.pop()
            pickle.dump(busy[number], pipe)
            pipe.flush()

    try:
        for number in range(workers):
            threading.Thread(target=listen, args=(number,), daemon=True).start()
            give(number)
        while busy:
            number, found = done.get()
            job = busy.pop(number, None)
            if job is None:
                continue
            if found is None:
                code = processes[number].wait()
                raise RuntimeError(f"the process of {job.title}, ended with status {code}")
            yield job, found
            give(number)
    finally:
        _end(processes)


def _end(processes: Sequence[subprocess.Popen[bytes]], patience: float = 60.0) -> None:
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
        if process.stdin is not None:
            process.stdin.close()
