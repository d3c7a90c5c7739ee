"""A trained recipe: its best weights, its history, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyvae.core import VAE
from polyvae.recipes import Recipe, rebuild
from polyvae.store import (
    DESCRIPTION,
    METRICS,
    WEIGHTS,
    RunError,
    load_tensors,
    read_description,
    read_metrics,
    read_tensors,
)


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
        """The run in `folder`; nothing stored is executed. A recipe that JSON could not record is given again.

        Raises RunError, naming the file that is missing, broken or of another model.
        """
        folder = Path(folder)
        description = read_description(folder)
        if recipe is None:
            if description.get("recipe") is None:
                raise RunError(f"{folder / DESCRIPTION} records no recipe call; give the recipe itself to Run.load")
            try:
                recipe = rebuild(description["recipe"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise RunError(f"{folder / DESCRIPTION} records a recipe that cannot be built ({error!r})") from error
        tensors, _ = read_tensors(folder / WEIGHTS)
        load_tensors(recipe.model, tensors, folder / WEIGHTS)
        recipe.model.eval()
        return cls(recipe, folder, read_metrics(folder / METRICS), description)
