"""A run folder: the recipe's call as JSON, weights and training state in safetensors, metrics as CSV."""

from __future__ import annotations

import csv
import io
import platform
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from polyvae.data.files.sealed import (
    intact,
    read_sealed,
    read_sealed_json,
    read_values,
    write_sealed,
    write_sealed_json,
)
from polyvae.data.files.writing import write_text
from polyvae.data.split import Data, Split
from polyvae.recipes import RECIPES, Recipe, is_own

DESCRIPTION, WEIGHTS, STATE, METRICS = "run.json", "weights.safetensors", "state.safetensors", "metrics.csv"
MENDED = "go on with the run, which writes it again from its state"


class RunError(ValueError):
    """A run folder that cannot be read, written or continued; the message names the file and what to do."""


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
        "spec": asdict(data.spec),
        "settings": dict(settings),
        "seed": settings.get("seed"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "machine": {"system": platform.platform(), "threads": torch.get_num_threads()},
        "git": _git_state(),
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


def read_description(folder: Path) -> dict[str, Any]:
    """`run.json` of a run folder."""
    path = folder / DESCRIPTION
    try:
        description = read_sealed_json(path)
        if not isinstance(description.get("settings"), dict):
            raise ValueError("it holds no settings")
        return description
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder} is no run folder: it has no {DESCRIPTION}; train one with `polyvae train`") from None
    except (ValueError, OSError) as error:
        raise RunError(f"{path} does not describe a run ({error}); restore it, or train again elsewhere") from None


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Writes `run.json`. Raises RunError."""
    with writing(folder / DESCRIPTION):
        write_sealed_json(folder / DESCRIPTION, description)


def unique_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, each tensor once however many parts share it."""
    kept = set(module.state_dict(keep_vars=True))
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in named if name in kept}


def copy_tensors(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor], source: Path | str) -> None:
    """Copies tensors into those of the same names and shapes, which keep device and memory layout; all or none.

    Raises RunError where names or shapes differ.
    """
    if missing := sorted(set(mine) ^ set(theirs)):
        raise RunError(f"{source} does not fit this model: {missing[:5]} are on one side only; was it another recipe?")
    for name, tensor in mine.items():
        if tensor.shape != theirs[name].shape:
            found, needed = list(theirs[name].shape), list(tensor.shape)
            raise RunError(f"{source}: {name} has shape {found}, the model needs {needed}")
    for name, tensor in mine.items():
        tensor.copy_(theirs[name])


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Copies tensors into the module that `unique_tensors` would list them of. Raises RunError."""
    copy_tensors(unique_tensors(module), tensors, source)


def materialise(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives the parameters and buffers that a lazy module left open the shapes of `tensors` of the same names."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor) and name in tensors:
            tensor.materialize(tensors[name].shape)  # pyright: ignore[reportAttributeAccessIssue]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Writes tensors and JSON-able metadata as one sealed safetensors file. Raises RunError."""
    with writing(path):
        write_sealed(path, tensors, metadata)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system refuses within it into a RunError that names the path."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path} could not be written ({getattr(error, 'strerror', None) or error}); what was there before is "
            "intact. Make room or choose another place"
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a file written by `write_tensors`. Raises RunError, also for one flipped byte."""
    try:
        return read_sealed(path)
    except FileNotFoundError:
        raise RunError(f"{path} does not exist; the run has not been trained as far as that") from None
    except (SafetensorError, ValueError, OSError) as error:
        again = MENDED if path.name == WEIGHTS else "train again elsewhere"
        raise RunError(f"{path} is not a whole safetensors file ({error}); restore it, or {again}") from None


def write_metrics(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Writes one CSV row an epoch. Raises RunError."""
    with writing(path):
        write_text(path, _table(history))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of `write_metrics`, numbers as numbers. Raises RunError where the state beside it holds other ones."""
    state = path.with_name(STATE)
    saved = read_history(state)  # first: a run that is being trained writes its metrics before its state
    try:
        text = path.read_bytes().decode("utf-8")
        if saved and not text.startswith(_table(saved)) and intact(state):
            raise ValueError(f"its rows are not those of {STATE}")
        rows = csv.DictReader(io.StringIO(text, newline=""))
        return [{name: _number(value) for name, value in row.items()} for row in rows]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is not a table of numbers ({error}); restore it, or {MENDED}") from None


def _table(history: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]) if history else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def read_history(state: Path) -> list[dict[str, Any]]:
    """The rows of the epochs done that a state holds; none where it cannot be read, which is said when it is needed."""
    try:
        return read_values(state).get("history", [])
    except (SafetensorError, ValueError, OSError):
        return []


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


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


def _git_state() -> dict[str, Any] | None:
    """Commit of the user's working directory and whether it holds uncommitted changes; None outside a repository."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
