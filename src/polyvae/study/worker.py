"""A process that runs jobs: each a line of JSON on its standard input, each answered by a line on its output."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from polyvae.study.thesis.run import Job, RunFailed

Runner = Callable[[Job], dict[str, Any]]


def named_runner(name: str) -> Runner:
    """The function "module:name"."""
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def answer(runner: Runner, job: Job) -> dict[str, Any]:
    """The run's result, or what it failed with: {"failed"} for this run alone, {"error", "kind"} for the study."""
    try:
        return {"result": runner(job)}
    except RunFailed as error:
        return {"failed": str(error)}
    except Exception as error:
        return {"error": str(error) or type(error).__name__, "kind": type(error).__name__}


def main(name: str) -> None:
    """Runs jobs until the input ends, which it also does when the process that gives them is killed."""
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            jobs.put(line)
        # Nobody is left to take a result; what is being trained is resumed from the state it saved last.
        os._exit(0)

    # Whatever else prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    runner = named_runner(name)
    threading.Thread(target=listen, daemon=True).start()
    try:
        while True:
            found = answer(runner, Job.from_dict(json.loads(jobs.get())))
            print(json.dumps(found), file=answers, flush=True)
    except KeyboardInterrupt:
        os._exit(1)
