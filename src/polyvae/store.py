"""A run folder: the recipe's call as JSON, weights and training state in safetensors, metrics as CSV."""

from __future__ import annotations

import csv
import io
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from polyvae.core import VAE
from polyvae.files import replacing, write_text
from polyvae.recipes import Recipe, rebuild

DESCRIPTION, WEIGHTS, STATE, METRICS = "run.json", "weights.safetensors", "state.safetensors", "metrics.csv"


class RunError(ValueError):
    """A run folder that cannot be read, written or continued; the message names the file and what to do."""


@dataclass
class Run:
    """A trained recipe: its best weights in place, where it lies, and a row of metrics for each epoch.

    `description` is what `run.json` holds: the calls of recipe and data, settings, versions, seed, git state.
    """

    recipe: Recipe
    folder: Path | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    description: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> VAE:
        """The model with its best weights."""
        return self.recipe.model

    @classmethod
    def load(cls, folder: str | Path, recipe: Recipe | None = None) -> Run:
        """The run in `folder`. A recipe that JSON could not record is given again as `recipe`. Nothing stored is executed."""
        folder = Path(folder)
        description = read_description(folder)
        if recipe is None:
            if description.get("recipe") is None:
                raise RunError(f"{folder / DESCRIPTION} records no recipe call; give the recipe itself to Run.load")
            recipe = rebuild(description["recipe"])
        tensors, _ = read_tensors(folder / WEIGHTS)
        load_tensors(recipe.model, tensors, folder / WEIGHTS)
        recipe.model.eval()
        return cls(recipe, folder, read_metrics(folder / METRICS), description)


def describe(recipe: Recipe, data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `run.json` records of a run at its start."""
    packages = ("polyvae", "torch", "numpy", "lightning-fabric", "safetensors")
    return {
        "recipe": recipe.call,
        "data": dict(data),
        "settings": dict(settings),
        "seed": settings.get("seed"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "machine": {"system": platform.platform(), "threads": torch.get_num_threads()},
        "git": _git_state(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def read_description(folder: Path) -> dict[str, Any]:
    """`run.json` of a run folder."""
    path = folder / DESCRIPTION
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} is not a run folder: it has no {DESCRIPTION}; train one with `polyvae train`") from None
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error}); the run cannot be read") from None


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Writes `run.json`."""
    write_text(folder / DESCRIPTION, json.dumps(description, indent=2) + "\n")


def unique_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, each tensor once however many parts share it."""
    kept = set(module.state_dict(keep_vars=True))
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in named if name in kept}


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Copies tensors into a module of the same names and shapes; the module keeps its device and memory layout."""
    mine = unique_tensors(module)
    if missing := sorted(set(mine) ^ set(tensors)):
        raise RunError(f"{source} does not fit this model: {missing[:5]} are on one side only; was it another recipe?")
    for name, tensor in mine.items():
        if tensor.shape != tensors[name].shape:
            raise RunError(f"{source}: {name} has shape {list(tensors[name].shape)}, the model needs {list(tensor.shape)}")
        tensor.copy_(tensors[name])


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Writes tensors and JSON-able metadata as one safetensors file, beside and renamed."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(path) as part:
            save_file(plain, part, {"json": json.dumps(metadata)})
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} could not be written ({error}); what was there before is intact") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a file written by `write_tensors`."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("json", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"{path} does not exist; the run has not been trained as far as that") from None
    except (SafetensorError, ValueError) as error:
        raise RunError(f"{path} is not a whole safetensors file ({error}); the run must be trained again") from None


def write_metrics(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Writes one CSV row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]) if history else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of `write_metrics`, numbers as numbers."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: _number(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit of the user's working directory and whether it holds uncommitted changes; None outside a repository."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
