"""Recipes of a user's own module: run because a command line says so with --from, never because a run folder does."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from polyvae.cli.reading import UsageError

FLAG = "--from"


def loaded(arguments: Sequence[str]) -> list[str]:
    """The arguments without each --from MODULE, whose module is imported. Raises UsageError."""
    rest: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, given, value = argument.partition("=")
        if name != FLAG:
            rest.append(argument)
            continue
        value = value if given else next(left, "")
        if not value or value.startswith("--"):
            raise UsageError(f"{FLAG} takes the name of a module, or the path of its .py file; got {value!r}")
        _load(value)
    return rest


def _load(source: str) -> None:
    """Imports a module by name, from the working directory too, or by the path of its file, from that folder."""
    path = Path(source).expanduser()
    file = path.suffix == ".py" or len(path.parts) > 1
    if file and not path.is_file():
        raise UsageError(f"{FLAG} {source}: there is no such file")
    name, folder = (path.stem, path.resolve().parent) if file else (source, Path.cwd())
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # processes that are started later look there as well
    importlib.invalidate_caches()
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise UsageError(f"{FLAG} {source}: no module of that name is found from {folder}") from None
        raise UsageError(f"{FLAG} {source}: it imports {error.name}, which is not installed") from error
    except Exception as error:  # whatever a user's own code raises
        raise UsageError(f"{FLAG} {source}: importing it failed: {type(error).__name__}: {error}") from error
    if file and Path(getattr(found, "__file__", None) or "").resolve() != path.resolve():
        raise UsageError(f"{FLAG} {source}: a module named {name} is there already; rename the file")
