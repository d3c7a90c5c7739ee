"""What `run.json` records of a run at its start, and how another start differs from it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from polyvae.data.split import Data, Split
from polyvae.recipes import RECIPES, Recipe, is_own
from polyvae.training.store import RunError


def describe(recipe: Recipe, data: Data, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `run.json` records of a run at its start."""
    parts = {"train": data.train, "validation": data.validation}
    packages = ("polyvae", "torch", "numpy", "lightning-fabric", "safetensors")
    return {
        "recipe": recipe.call,
        **_module(recipe),
        "data": {
            "name": data.name,
            "call": dict(data.call),
            **({"frame": data.frame} if data.frame else {}),
            "examples": {name: len(part) for name, part in parts.items()},
            "checksum": {name: _checksum(part) for name, part in parts.items()},
        },
        "objective": _objective(recipe),
        "spec": data.spec.to_dict(),
        "settings": dict(settings),
        "seed": settings.get("seed"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "machine": {"system": platform.platform(), "threads": torch.get_num_threads()},
        "git": git_state(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _module(recipe: Recipe) -> dict[str, Any]:
    """Where the recipe of a user's own module is: a name and a file for people to read, which nothing imports."""
    build = RECIPES.get((recipe.call or {}).get("name", ""))
    if build is None or not is_own(build):
        return {}
    file = getattr(sys.modules.get(build.__module__), "__file__", None)
    return {
        "module": {"name": build.__module__ or "__main__", "file": None if file is None else str(Path(file).resolve())}
    }


def check_known(folder: Path, description: Mapping[str, Any]) -> None:
    """Raises RunError where a run needs the recipe of a user's own module that has not been imported."""
    call, module = description.get("recipe"), description.get("module")
    if isinstance(call, Mapping) and isinstance(module, Mapping) and call.get("name") not in RECIPES:
        where = module.get("file") or module.get("name")
        raise RunError(
            f"{folder} was trained by the recipe {call.get('name')} of {where}, code that is not run unasked: add "
            f"--from {where} to the command, or import {module.get('name')} first"
        )


def _objective(recipe: Recipe) -> dict[str, str]:
    """What is trained for, in words: the objective, each of its terms, what chooses the best weights."""
    terms = getattr(recipe.objective, "terms", {})
    named = {f"term {name!r}": _words(term) for name, term in terms.items()} if isinstance(terms, nn.ModuleDict) else {}
    whole = {} if named else {"objective": repr(recipe.objective)}
    rest = {name: str(getattr(recipe.objective, name, None)) for name in ("samples", "balance")}
    found = {"kind": type(recipe.objective).__name__, **whole, **named, **rest, "monitor": recipe.monitor}
    # Functions have no other words than their place in memory.
    return {name: re.sub(r" at 0x[0-9a-f]+", "", " ".join(text.split())) for name, text in found.items()}


def _words(weighted: nn.Module) -> str:
    term = getattr(weighted, "term", None)
    return f"{'' if isinstance(term, nn.Module) else getattr(term, '__qualname__', repr(term))} {weighted!r}"


def part_differences(recorded: Mapping[str, Any], described: Mapping[str, Any]) -> list[str]:
    """What a run was trained for and by, and is not now, a line each; a run of before these were recorded has none."""
    found = []
    for part in ("objective", "optimizer"):
        then, now = recorded.get(part), described.get(part)
        if then is None or now is None:
            continue
        found += [
            f"{part}, {name}: {then.get(name, 'none')} then, {now.get(name, 'none')} now"
            for name in dict.fromkeys((*then, *now))
            if then.get(name) != now.get(name)
        ]
    return found


def differing(then: Any, now: Any) -> tuple[Any, Any]:
    """Two values, of mappings the entries alone that are not the same in both."""
    if not isinstance(then, Mapping) or not isinstance(now, Mapping):
        return then, now
    names = [name for name in {**then, **now} if name not in then or name not in now or then[name] != now[name]]
    pairs = {name: differing(then.get(name), now.get(name)) for name in names}
    old, new = ({n: pair[place] for n, pair in pairs.items() if n in each} for place, each in enumerate((then, now)))
    return old, new


def _checksum(split: Split, examples: int = 512) -> str:
    """CRC-32 over evenly spaced examples: enough to tell that a run is resumed with other data."""
    chosen = range(0, len(split), max(1, len(split) // examples))
    crc = 0
    for name, rows in sorted(split.take(chosen).tensors.items()):
        crc = zlib.crc32(rows.cpu().contiguous().numpy().tobytes(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_state() -> dict[str, Any] | None:
    """Commit of the user's working directory and whether it holds uncommitted changes; None outside a repository."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
