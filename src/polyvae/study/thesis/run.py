"""One run of the study: a cell on a fold, trained in a run folder of its own and measured."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from polyvae.data import Data
from polyvae.evaluation.blocks import device_of
from polyvae.recipes import named
from polyvae.study.job import once
from polyvae.study.thesis.grid import FOLDS, Cell
from polyvae.study.thesis.measure import by_size, measure, pictures, pixels_of
from polyvae.study.thesis.protocol import Protocol
from polyvae.study.thesis.records import LAYOUT
from polyvae.study.thesis.watch import watch
from polyvae.study.trained import commit_of, device_name
from polyvae.study.trained import loaded as kept

RUNNER = "polyvae.study.thesis.run:run"
CURVED = ("mse", "latent", "conditioned_mse")
SIDES = {"celeba": 64}  # data sets that the study resizes


@dataclass(frozen=True)
class Job:
    """A cell to be run on a fold: `source` and `data_dir` are where its data come from, `study` the study's folder."""

    cell: Cell
    fold: int
    source: str
    study: Path
    protocol: Protocol
    device: str = "auto"
    data_dir: Path | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.cell.name, self.fold

    @property
    def title(self) -> str:
        return f"{self.cell.name}, fold {self.fold}"

    @property
    def folder(self) -> Path:
        """The run's folder, STUDY/runs/CELL/fold-K."""
        return self.study / "runs" / self.cell.name / f"fold-{self.fold}"

    @property
    def epochs(self) -> int:
        return self.protocol.epochs


def run(job: Job) -> dict[str, Any]:
    """Trains, from where the run's folder stands, measures and returns the result, which the folder keeps.

    A second process that wants the same run waits for the first. Raises RunFailed, RunError and what loading data
    raises; Ctrl-C leaves the folder ready to go on.
    """
    return once(job, _result, ("row", *LAYOUT.sides))


def _result(job: Job) -> dict[str, Any]:
    fit = import_module("polyvae.training.fit").fit
    protocol = job.protocol
    cut = loaded(job.source, job.data_dir, protocol.limit, job.fold)
    name, options = job.cell.recipe(cut.spec, protocol.widths, protocol.decoder)
    seed = protocol.seed + job.fold
    recipe = named(name)(cut.spec, seed=seed, **options)
    watch(recipe, job.cell.family)
    done = fit(
        recipe,
        cut,
        job.folder,
        resume=True,
        progress=False,
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        seed=seed,
        device=job.device,
        precision=protocol.precision,
    )
    means = measure(recipe, cut.validation, job.cell.family, protocol.seed)
    row = {
        "cell": job.cell.name,
        "dataset": job.cell.dataset,
        "family": job.cell.family,
        "config": job.cell.config,
        "method": job.cell.method.name,
        "exponent": job.cell.method.exponent,
        "fold": job.fold,
        "train": len(cut.train),
        "validation": len(cut.validation),
        **_training(done.history, len(cut.train)),
        "parameters": sum(p.numel() for p in recipe.model.parameters()),
        **means,
        "pixels": pixels_of(cut.validation),
        "device": device_name(device_of(recipe.model)),
        "precision": protocol.precision,
        "seed": seed,
        "commit": commit_of(done.description.get("git")),
        **{package: done.description["versions"][package] for package in ("polyvae", "torch")},
    }
    curve = [
        {"epoch": line["epoch"], **{name: line.get(f"validation_{name}") for name in CURVED}} for line in done.history
    ]
    shown = pictures(recipe, cut.validation, protocol.seed)
    masks = by_size(recipe, cut.validation, protocol.seed)
    return {"row": row, "curve": curve, "masks": masks, "picture": shown}


def _training(history: list[dict[str, Any]], examples: int) -> dict[str, Any]:
    """Epochs, the best of them, seconds, and the mean and deviation of the pixels seen over every image of training."""
    best = max(history, key=lambda line: line["validation_bound"], default={})
    found: dict[str, Any] = {
        "epochs": len(history),
        "best_epoch": best.get("epoch", 0),
        "seconds": round(sum(line["seconds"] for line in history), 2),
    }
    if history and "train_observed" in history[0]:
        mean = sum(line["train_observed"] for line in history) / len(history)
        square = sum(line["train_observed_square"] for line in history) / len(history)
        deviation = max(0.0, square - mean**2) ** 0.5
        found |= {"observed": mean, "observed_sd": deviation, "observed_count": examples * len(history)}
    return found


def loaded(source: str, data_dir: Path | None, limit: int | None, fold: int) -> Data:
    """The data cut for a fold, kept for the next run of this process. Raises DataError, ValueError for tables."""
    found = kept(source, data_dir, limit=limit, size=SIDES.get(source), fold=fold, folds=FOLDS)
    if len(found.spec.x) != 3:
        raise ValueError(f"the study is of pictures; {source} holds examples of shape {found.spec.x}")
    return found
