"""What a schedule knows of a run that is to be made, and how the function that makes it is called."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from polyvae.checks.finite import NonFiniteError
from polyvae.data.files.writing import held, write_text
from polyvae.study.records import RESULT, read_result


class RunFailed(RuntimeError):
    """A run that came to no result, such as one whose loss is not finite; the rest of the study goes on."""


class Job(Protocol):
    """A run to be made, which one process hands to another by pickle.

    `key`: a name and a number, such as a cell and its fold, and `title`, what messages call it. `folder`: where it is
    trained, for so many `epochs`, on which `device`.
    """

    @property
    def key(self) -> tuple[str, int]: ...

    @property
    def title(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    @property
    def device(self) -> str: ...

    @property
    def epochs(self) -> int: ...


Runner = Callable[[Any], dict[str, Any]]


def once(job: Job, work: Runner, parts: Collection[str] = ("row",), failing: tuple[type[Exception], ...] = ()) -> Any:
    """The result of a job, made by `work` unless the run's folder holds one, which it does from then on.

    A second process that wants the same run waits for the first. Raises RunFailed where a loss is not finite, memory
    does not suffice or `work` raises what is `failing`; Ctrl-C leaves the folder ready to go on.
    """
    with held(job.folder.with_name(f".{job.folder.name}.lock")):
        result = read_result(job.folder, parts)
        if result is None:
            try:
                result = work(job)
            except (NonFiniteError, torch.OutOfMemoryError, *failing) as error:
                said = str(error) if isinstance(error, NonFiniteError) else f"{type(error).__name__}: {error}"
                raise RunFailed(f"{job.title}: {said}") from error
            write_text(job.folder / RESULT, json.dumps(result))
    return result


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
