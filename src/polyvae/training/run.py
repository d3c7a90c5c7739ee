"""A trained recipe as it is opened, saved and described: its best weights, its history, where it lies."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from polyvae.model.priors.completing import Completing
from polyvae.recipes import Recipe, rebuild
from polyvae.training.description import check_known
from polyvae.training.sharing import tell_examples
from polyvae.training.store import (
    DESCRIPTION,
    METRICS,
    STATE,
    WEIGHTS,
    RunError,
    load_tensors,
    materialise,
    read_description,
    read_metrics,
    read_tensors,
    take_objective,
    unique_tensors,
    write_description,
    write_metrics,
    write_tensors,
)
from polyvae.training.trained import Trained

NATS = ("bound", "loss", "model_loss", "reconstruction")  # what is monitored in nats; other terms may be in anything


@dataclass(repr=False)
class Run(Trained):
    """A trained recipe: its best weights in place, where it lies, and a row of metrics for each epoch.

    `description` is what `run.json` holds: the calls of recipe and data, settings, versions, seed, git state. What it
    can be asked stands in `Trained`.
    """

    recipe: Recipe
    folder: Path | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    description: dict[str, Any] = field(default_factory=dict)

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
            check_known(folder, description)
            try:
                recipe = rebuild(description["recipe"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise RunError(f"{folder / DESCRIPTION} records a recipe that cannot be built ({error!r})") from error
        tensors, _ = read_tensors(folder / WEIGHTS)
        materialise(recipe.model, tensors)
        load_tensors(recipe.model, tensors, folder / WEIGHTS)
        recipe.model.trained = True
        take_objective(recipe.objective, folder)
        if examples := description.get("data", {}).get("examples", {}).get("train"):
            tell_examples(recipe.objective, examples)
        recipe.model.eval()
        recipe.objective.eval()
        return cls(recipe, folder, read_metrics(folder / METRICS), description)

    def completed(self) -> Run:
        """The run as it completes: with the law q(z | m) that `polyvae.fit_completion` left in its folder, or itself.

        Raises RunError where the run has been trained on since.
        """
        if self.folder is None or any(isinstance(prior, Completing) for prior in self.model.prior.values()):
            return self
        from polyvae.training import second_stage  # it is made of runs

        return second_stage.with_completion(self) if second_stage.has_completion(Path(self.folder)) else self

    def save(self, folder: str | Path) -> Run:
        """Writes the run into a new folder, from which `Run.load` reads it, and returns it as it lies there.

        With the state of a run that has one, so that it can be resumed there too. Raises RunError where the folder
        holds anything.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            found = "holds a run" if (folder / DESCRIPTION).exists() else "holds other files"
            found = "is a file" if folder.is_file() else found
            raise RunError(f"{folder} {found}; choose an empty or a new folder for the run")
        write_tensors(folder / WEIGHTS, unique_tensors(self.model), {"epoch": self.best_epoch or 0})
        write_metrics(folder / METRICS, self.history)
        if self.folder is not None and (Path(self.folder) / STATE).exists():
            shutil.copyfile(Path(self.folder) / STATE, folder / STATE)
        described = {"recipe": None, "settings": {}, **self.description}
        write_description(folder, described)
        return replace(self, folder=folder, description=described)

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights these are, from 1; None without a history."""
        best = self.best
        return None if best is None else int(best["epoch"])

    @property
    def monitor(self) -> str:
        """The validation value that chose the best weights: as it was recorded, or what the recipe monitors."""
        return (self.description.get("objective") or {}).get("monitor", self.recipe.monitor)

    @property
    def monitor_words(self) -> str:
        """What is monitored, as a report says it."""
        return "plain bound" if self.monitor == "bound" else self.monitor.replace("_", " ")

    @property
    def best(self) -> dict[str, Any] | None:
        """The row of the best epoch: the largest validation bound, or the smallest value that was monitored.

        Of a model that settles after some epochs, those before it were of another one, and do not count.
        """
        name, sign = f"validation_{self.monitor}", 1 if self.monitor == "bound" else -1
        rows = [row for row in self.history if row.get("settled", 1)] or self.history
        return max(rows, key=lambda row: sign * row[name], default=None)

    def __repr__(self) -> str:
        call, data = self.recipe.call or {}, self.description.get("data", {})
        options = ", ".join(f"{name}={value!r}" for name, value in call.get("options", {}).items())
        lines = [f"Run of {call.get('name', 'a recipe of your own')}({options}), {self.folder or 'in memory'}"]
        if data:
            sizes = ", ".join(f"{part} {count:,}" for part, count in data.get("examples", {}).items())
            values = {} if self.spec is None else self.spec.values
            shape = "".join(f", {name} {list(spec.x)}" for name, spec in values.items())
            lines.append(f"  data: {data.get('name')}{shape}; {sizes}")
        count = sum(parameter.numel() for parameter in self.model.parameters())
        lines.append(
            f"  model: latents {', '.join(self.model.prior)}; heads {', '.join(self.model.heads)}; {count:,} parameters"
        )
        if best := self.best:
            value, unit = best[f"validation_{self.monitor}"], " nats" if self.monitor in NATS else ""
            lines.append(
                f"  best epoch: {self.best_epoch} of {len(self.history)}; "
                f"validation {self.monitor_words} {value:.3f}{unit}"
            )
        return "\n".join(lines)
