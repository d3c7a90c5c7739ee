"""Several processes of one training: what they raise reaches the first, signals stop them, none outlives its parent."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from polyvae.checks.finite import NonFiniteError
from polyvae.data.files.writing import write_text
from polyvae.training.run_folder import FAILURE
from polyvae.training.store import RunError

FAILURES: dict[str, type[Exception]] = {kind.__name__: kind for kind in (NonFiniteError, RunError, ValueError)}
# The terminal that closes (SIGHUP) asks for the same as its user, unless it was told not to (nohup).
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

_GRACE = 5.0  # seconds from a parent's end, of which torch tells those that train, to that of its processes


def in_processes(fabric: Fabric, work: Callable[[Fabric], None], folder: Path) -> None:
    """Calls `work` in each process of a Fabric that is not launched yet; `folder` is where they tell what they raise.

    Ctrl-C and the termination signals let them save their state and end, then raise KeyboardInterrupt. Raises what a
    process raised for a user to read, RuntimeError where one was killed.
    """
    before = set(multiprocessing.active_children())
    (folder / FAILURE).unlink(missing_ok=True)
    try:
        with on_signals(signal.default_int_handler):
            fabric.launch(_Process(work, folder))
    except KeyboardInterrupt:
        _end(set(multiprocessing.active_children()) - before)
        raise
    except ProcessRaisedException:
        _raise_failure(folder / FAILURE)
        raise
    except ProcessExitedException as error:
        raise RuntimeError(
            f"a training process was ended from outside, as by a system that is out of memory ({error}); go on from "
            "the last saved state, if need be with fewer devices or a smaller batch_size"
        ) from error


@contextmanager
def on_signals(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Within it `handle` is called for the signals that ask to stop; only the main thread can be asked."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hang_up = getattr(signal, "SIGHUP", None)
    taken = [number for number in STOPS if number != hang_up or signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class _Process:
    """One of several processes; what it raises for a user to read reaches the first one by a file."""

    def __init__(self, work: Callable[[Fabric], None], folder: Path) -> None:
        self.work, self.folder = work, folder

    def __reduce__(self) -> tuple[Any, ...]:
        # The call comes before the work, its weights and its data are read.
        return _arrived, (os.getpid(),), self.__dict__

    def __call__(self, fabric: Fabric) -> None:
        try:
            self.work(fabric)
            # Together, or the one that ends last finds its connection gone and aborts.
            fabric.barrier()
            torch.distributed.destroy_process_group()
        except tuple(FAILURES.values()) as error:
            write_text(self.folder / FAILURE, json.dumps([type(error).__name__, str(error)]))
            raise


def _arrived(parent: int) -> _Process:
    """An empty one in its new process, which from now on ends with its parent, however that ends."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # Fabric would announce itself in five lines
    if os.getpid() != parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    return _Process.__new__(_Process)


def _end_with(parent: int) -> None:
    """Ends this process some seconds after its parent, in which it may save what it trains."""
    # Asked of the system: multiprocessing does not know the parent yet, which may even be gone by now.
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(_GRACE)
    os._exit(1)  # as if killed itself: the last saved state is whole


def _raise_failure(path: Path) -> None:
    if path.exists():
        kind, message = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        raise FAILURES.get(kind, ValueError)(message) from None


def _end(processes: set[Any], patience: float = 60.0) -> None:
    """Asks processes to stop, which the first one does once its state is saved; ends those that do not."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
