"""A process that runs jobs: they come pickled on its standard input, and on its output leaves an answer to each."""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import traceback

from polyvae.study.job import Job, answer, named_runner


def main(name: str) -> None:
    """Runs jobs until the input ends, which it also does when the process that gives them is killed."""
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                jobs.put(pickle.load(sys.stdin.buffer))
        except EOFError:
            # Nobody is left to take a result; what is being trained is resumed from the state it saved last.
            os._exit(0)
        except Exception:  # such as a job of a class that this process cannot import
            traceback.print_exc()
            os._exit(1)

    # Whatever else prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    runner = named_runner(name)
    threading.Thread(target=listen, daemon=True).start()
    try:
        while True:
            pickle.dump(answer(runner, jobs.get()), answers)
            answers.flush()
    except KeyboardInterrupt:
        os._exit(1)
