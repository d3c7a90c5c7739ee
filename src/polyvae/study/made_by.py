"""What a grid of runs was made by: its command, versions and commits, for the report's head."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

Runs = Mapping[str, Sequence[Mapping[str, Any]]]  # rows by the label of their recipe
SHARED = ("latent", "network", "widths")


def versions(rows: Sequence[Mapping[str, Any]]) -> str:
    """The versions of polyvae and torch, and the commits, that the runs were made with."""
    made = {(row["polyvae"], row["commit"] or "unknown", row["torch"]) for row in rows}
    return "; ".join(f"polyvae {version} (commit {commit}), torch {torch}" for version, commit, torch in sorted(made))


def command(study: str, runs: Runs, protocol: Mapping[str, Any]) -> str:
    """The command that makes such a study."""
    recipes = "; ".join(_said(label, rows[0], protocol) for label, rows in runs.items())
    seeds = 1 + max(row["seed"] for rows in runs.values() for row in rows)
    words = ["polyvae", "study", study, "--data", protocol["data"], "--recipes", recipes, "--seeds", str(seeds)]
    for name, value in protocol.items():
        if name == "timing":
            words += ["--no-timing"] * (not value)
        elif name != "data" and value is not None:
            words += [f"--{name.replace('_', '-')}", _text(value)]
    return shlex.join(words)


def _said(label: str, row: Mapping[str, Any], protocol: Mapping[str, Any]) -> str:
    """The recipe with the options of its own, and its label where that is another."""
    recipe, options = row["recipe"], json.loads(row["options"])
    own = {name: value for name, value in options.items() if name not in SHARED or value != protocol[name]}
    words = [f"{name}={_text(value)}" for name, value in own.items()]
    call = f"{recipe}:{','.join(words)}" if words else recipe
    return call if label == call else f"{call} as {label}"


def _text(value: Any) -> str:
    """A value as a command line says it, lists with commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
