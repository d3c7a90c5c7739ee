"""The state that a run resumes from: groups of tensors and a few numbers in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from polyvae.training.store import RunError, read_tensors, write_tensors


def write_state(path: Path, groups: Mapping[str, Mapping[str, Tensor]], numbers: Mapping[str, Any]) -> None:
    """Writes tensors by group and JSON-able numbers. Raises RunError, with what was there before intact."""
    tensors = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    write_tensors(path, tensors, numbers)


def read_state(
    path: Path, groups: Sequence[str], numbers: Sequence[str]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors of exactly these groups and the numbers. Raises RunError where the file holds anything else."""
    tensors, found = read_tensors(path)
    grouped: dict[str, dict[str, Tensor]] = {group: {} for group in groups}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        grouped.setdefault(group, {})[rest] = tensor
    if set(grouped) != set(groups) or set(found) != set(numbers) or "" not in grouped.get("totals", {"": 0}):
        raise RunError(f"{path} does not hold the state of such a run; restore it, or train again elsewhere")
    return grouped, found
