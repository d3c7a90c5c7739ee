"""Recipes of a user's own module: run because a command line says so with --from, never because a run folder does."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from polyvae.cli.reading import UsageError

FLAG = "--from"
# Where the modules of polyvae are that lay beside its rooms before; the changelog prints them too.
MOVED = {
    "polyvae.balance": "polyvae.objectives.balance",
    "polyvae.codes": "polyvae.model.distributions.codes",
    "polyvae.core": "polyvae.model.vae",
    "polyvae.distributions": "polyvae.model.distributions",
    "polyvae.families": "polyvae.model.families",
    "polyvae.masks": "polyvae.observe.masks",
    "polyvae.networks": "polyvae.model.networks",
    "polyvae.posteriors": "polyvae.model.posteriors",
    "polyvae.priors": "polyvae.model.priors",
    "polyvae.run": "polyvae.training.run",
    "polyvae.second_stage": "polyvae.training.second_stage",
    "polyvae.settings": "polyvae.training.settings",
    "polyvae.spec": "polyvae.model.spec",
    "polyvae.store": "polyvae.training.store",
    "polyvae.terms": "polyvae.objectives.terms",
}


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
        what = f"is {MOVED[error.name]} now" if error.name in MOVED else "is not installed"
        raise UsageError(f"{FLAG} {source}: it imports {error.name}, which {what}") from error
    except Exception as error:  # whatever a user's own code raises
        raise UsageError(f"{FLAG} {source}: importing it failed: {type(error).__name__}: {error}") from error
    if file and Path(getattr(found, "__file__", None) or "").resolve() != path.resolve():
        raise UsageError(f"{FLAG} {source}: a module named {name} is there already; rename the file")
