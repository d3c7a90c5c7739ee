"""A run folder opened from the command line: its recipe, its weights and the data it was trained on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from polyvae import data
from polyvae.data import Data, Split
from polyvae.store import DESCRIPTION, Run, RunError, read_description


@dataclass(frozen=True)
class Opened:
    """A run and its data, cut as they were for training."""

    run: Run
    data: Data

    def split(self, wanted: str | None) -> tuple[str, Split]:
        """The part of that name; by default the test part, or the validation part where no test part was cut."""
        if wanted is None:
            wanted = "test" if len(self.data.test) else "validation"
            if wanted == "validation":
                print("polyvae: note: there is no test part; the validation part is taken", file=sys.stderr)
        split: Split = getattr(self.data, wanted)
        if not len(split):
            raise ValueError(f"the {wanted} part of {self.data.name} is empty; choose another with --split")
        return wanted, split


def opened(folder: Path, data_dir: Path | None = None) -> Opened:
    """The run in a folder with its best weights, and its data by the recorded call. Raises RunError, DataError."""
    description = described(folder)
    try:
        run = Run.load(folder)
    except (KeyError, TypeError) as error:
        raise _foreign(folder, error) from error
    return Opened(run, recorded_data(folder, description["data"], data_dir))


def described(folder: Path) -> dict[str, Any]:
    """`run.json`, with the parts that are needed to open the run again. Raises RunError."""
    description = read_description(folder)
    if not isinstance(description, dict) or not all(
        isinstance(description.get(part), dict) for part in ("data", "settings")
    ):
        raise RunError(f"{folder / DESCRIPTION} does not describe a run; restore it, or train again")
    if not isinstance(description.get("recipe"), dict):
        raise RunError(f"{folder / DESCRIPTION} records no recipe by name; open it in Python: Run.load(folder, recipe)")
    return description


def recorded_data(folder: Path, record: Mapping[str, Any], data_dir: Path | None, **given: Any) -> Data:
    """The data of a recorded call with what is `given` instead; `data_dir`, where they lie now, is not recorded."""
    recorded = dict(record.get("call") or {})
    if not recorded and not given:
        name = record.get("name")
        raise RunError(f"{folder} was trained on {name} given in Python, which no command can load; go on in Python")
    call = {**recorded, **given, **({} if data_dir is None else {"data_dir": data_dir})}
    try:
        found = data.load(**call)
    except TypeError as error:
        raise _foreign(folder, error) from error
    place = {"data_dir": recorded["data_dir"]} if "data_dir" in recorded else {}
    return replace(found, call={key: value for key, value in found.call.items() if key != "data_dir"} | place)


def console(stderr: bool = False) -> Console:
    """Where to print: as wide as the terminal, or wide enough for any table where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 160, highlight=False)


def _foreign(folder: Path, error: Exception) -> RunError:
    return RunError(f"{folder / DESCRIPTION} was not written by this version of polyvae ({error})")
