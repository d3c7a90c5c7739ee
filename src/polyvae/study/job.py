"""What a schedule knows of a run that is to be made, and how the function that makes it is called."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol


class RunFailed(RuntimeError):
    """A run that came to no result, such as one whose loss is not finite; the rest of the study goes on."""


class Job(Protocol):
    """A run to be made, which one process hands to another by pickle.

    `key`: the name of its cell, and its fold. `folder`: where it is trained, for so many `epochs`, on which `device`.
    """

    @property
    def key(self) -> tuple[str, int]: ...

    @property
    def folder(self) -> Path: ...

    @property
    def device(self) -> str: ...

    @property
    def epochs(self) -> int: ...


Runner = Callable[[Any], dict[str, Any]]


def title(job: Job) -> str:
    """What messages call a run."""
    cell, fold = job.key
    return f"{cell}, fold {fold}"


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
