"""The study from its first run to its tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import at_least
from polyvae.data.files.writing import replacing
from polyvae.study.grown import Keep, Study, grown
from polyvae.study.grown import Outcome as Grown
from polyvae.study.records import Key, open_study
from polyvae.study.sources import dataset_name, whole_source
from polyvae.study.thesis.grid import Cell, cells, chosen_folds, select
from polyvae.study.thesis.protocol import Protocol
from polyvae.study.thesis.records import Records
from polyvae.study.thesis.run import RUNNER, Job

PICTURES = "pictures"


@dataclass(frozen=True)
class Plan:
    """Which runs there are to be: cells of data sets, families and configurations, each on these folds of five.

    only: patterns of the cells' names, see `grid.select`. folds: a number of them or which. data_dir: where data lie.
    """

    data: Sequence[str] = ("mnist",)
    families: Sequence[str] | None = None
    configs: Sequence[int] | None = None
    folds: str | int | Sequence[int] = 5
    only: str | None = None
    protocol: Protocol = field(default_factory=Protocol)
    data_dir: Path | None = None

    def jobs(self, study: Path, device: str = "auto") -> list[Job]:
        """Every run, fold after fold, so that a table stands early. Raises ValueError, DataError."""
        sources = {dataset_name(source): whole_source(source) for source in self.data}
        # Other processes may have another working directory.
        place = None if self.data_dir is None else self.data_dir.absolute()
        chosen = select(cells(self.data, self.families, self.configs), self.only)
        return [
            Job(cell, fold, sources[cell.dataset], study.absolute(), self.protocol, device, place)
            for fold in chosen_folds(self.folds)
            for cell in chosen
        ]


Outcome = Grown[Records]


def multitask(
    plan: Plan,
    out: str | Path,
    *,
    device: str = "auto",
    workers: int = 1,
    ray: str | None = None,
    keep: Keep = "weights",
    progress: bool | None = None,
    runner: str = RUNNER,
) -> Outcome:
    """Trains and measures every run of the plan that the folder `out` does not hold yet.

    `workers`: runs at once, in processes that share the device. `ray`: the address of a cluster to run them on, "local"
    for one that is started here. `keep`: what stays of a run that is measured, "all", its "weights" without the state
    to train on from, which is four times as large, or "none" of either. `progress`: None shows a bar on a terminal.
    `runner`: the function that runs a job. However the study ends, the same call goes on with it.

    Raises StudyError for a folder with another study, ValueError for a plan without runs, RunError and DataError from
    the runs.
    """
    out = Path(out)
    at_least("workers", workers, 1, "runs at once")
    jobs = plan.jobs(out, device)
    open_study(out, "multitask", asdict(plan.protocol))
    return grown(kept(out, runner, keep), jobs, workers, ray, progress)


def kept(out: Path, runner: str = RUNNER, keep: Keep = "weights") -> Study[Records]:
    """The study in a folder, whose cells have a picture of their first fold each."""

    def pictured(records: Records, key: Key, result: Mapping[str, Any]) -> None:
        if result.get("picture") and _is_first(key, records, out):
            with replacing(picture(out, key[0])) as part:
                part.write_bytes(base64.b64decode(result["picture"]))

    return Study(out, Records, runner, _said, pictured, keep)


def _is_first(key: Key, records: Records, out: Path) -> bool:
    """Whether no lower fold of its cell is recorded, neither here nor by another study, which a picture may be of."""
    cell, fold = key

    def lower(known: Records) -> bool:
        return any(name == cell and other < fold for name, other in known.rows)

    return not lower(records) and not (picture(out, cell).exists() and lower(Records.read(out)))


def picture(folder: Path, cell: str) -> Path:
    """Where a cell's examples and reconstructions are."""
    return folder / PICTURES / f"{cell}.png"


def _said(job: Job, row: Mapping[str, Any]) -> str:
    """A run's result in a line."""
    unit = {"gaussian": "KL", "vq": "code loss"}.get(row["family"], "latent")
    numbers = f"mse {row['mse']:.5f}, {unit} {row['latent']:.4g}"
    return f"{job.cell.name} fold {job.fold}: {numbers}, {row['seconds']:.0f} s"


def cells_of(rows: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """The cells that have rows, in the order of the grid."""
    held = {row["cell"]: (row["dataset"], row["family"], row["config"]) for row in rows}
    groups = list(dict.fromkeys(held.values()))
    grid = [cell for dataset, family, config in groups for cell in cells([dataset], [family], [config])]
    return [cell for cell in grid if cell.name in held]
