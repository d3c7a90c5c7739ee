"""A run folder: the recipe's call as JSON, weights and training state in safetensors, metrics as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from polyvae.model.sized import resize
from polyvae.training.earlier import as_now

DESCRIPTION, WEIGHTS, STATE, METRICS = "run.json", "weights.safetensors", "state.safetensors", "metrics.csv"
MENDED = "go on with the run, which writes it again from its state"


class RunError(ValueError):
    """A run folder that cannot be read, written or continued; the message names the file and what to do."""


def read_description(folder: Path) -> dict[str, Any]:
    """`run.json` of a run folder, of an earlier version as it would be written now."""
    path = folder / DESCRIPTION
    try:
        return as_now(read_sealed_json(path, "settings"))
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
    resize(module, tensors)
    copy_tensors(unique_tensors(module), tensors, source)


def take_objective(objective: nn.Module, folder: Path) -> None:
    """Gives an objective what it had learned when the run was last saved, where it learns and there is a state.

    Raises RunError for a state that cannot be read.
    """
    mine = unique_tensors(objective)
    if mine and (folder / STATE).exists():
        state, _ = read_tensors(folder / STATE)
        learned = {name.removeprefix("step/objective."): tensor for name, tensor in state.items()}
        own = {name: tensor for name, tensor in mine.items() if name in learned}
        copy_tensors(own, {name: learned[name] for name in own}, folder / STATE)


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
    return _read(state).get("history", [])


def read_spent(state: Path) -> float:
    """The seconds of training that a state holds; none where it cannot be read."""
    return _read(state).get("spent", 0.0)


def _read(state: Path) -> dict[str, Any]:
    try:
        return read_values(state)
    except (SafetensorError, ValueError, OSError):
        return {}


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
