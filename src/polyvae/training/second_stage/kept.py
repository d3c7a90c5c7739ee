"""Where a prior that was fitted to a run lies, and whether it is still of the weights that it was fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from polyvae.data.files.hashes import file_hash
from polyvae.model.vae import VAE
from polyvae.training.run import Run
from polyvae.training.settings import Settings
from polyvae.training.store import WEIGHTS, RunError, read_description

PRIOR = "prior"  # the folder of the fitted prior within that of the run


def place_of(run: Run) -> Path | None:
    """The folder of a run's prior; None of a run that has none."""
    return None if run.folder is None else Path(run.folder) / PRIOR


def has_prior(folder: Path) -> bool:
    """Whether a run folder holds a fitted prior that can be used."""
    return (folder / PRIOR / WEIGHTS).exists()


def fingerprint(path: Path) -> str:
    """The sha256 of a file: whether what was read off these weights still is. Raises RunError."""
    try:
        return file_hash(path, "sha256")
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error}); the run has not been trained as far as that") from error


def origin(run: Run, what: str) -> dict[str, str]:
    """What the data of a prior record of the run that made them: where it is, and of which weights."""
    return {} if run.folder is None else {what: "..", "weights": fingerprint(Path(run.folder) / WEIGHTS)}


def check_same_weights(run: Run, prior: Run, again: str) -> None:
    """RunError where the run has been trained since its prior was; `again`: the command that fits another."""
    recorded = prior.description.get("data", {}).get("call", {}).get("weights")
    if recorded != fingerprint(Path(str(run.folder)) / WEIGHTS):
        raise RunError(
            f"{called(run)} has been trained on since its prior was: its codes are others now. Remove {prior.folder} "
            f"and train it again with `{again}`"
        )


def recorded(folder: Path) -> tuple[str, dict[str, Any]]:
    """The name of the prior's recipe in a folder, and its options and settings. Raises RunError where there is none."""
    description = read_description(folder)
    known = {field.name for field in fields(Settings)}
    settings = {key: value for key, value in description["settings"].items() if key in known}
    recipe = description.get("recipe") or {}
    return str(recipe.get("name")), {**recipe.get("options", {}), **settings}


def replaced(run: Run, posterior: Mapping[str, nn.Module], prior: Mapping[str, nn.Module]) -> Run:
    """The run with these posteriors and priors, its other parts and their modes as they are."""
    old = run.model
    model = VAE(posterior, prior, old.heads, dict(old.features.items()), old.summed).train(old.training)
    return replace(run, recipe=replace(run.recipe, model=model))


def called(run: Run) -> str:
    """What a message calls a run."""
    return "the run" if run.folder is None else str(run.folder)
