"""The study from its first run to its tables."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from polyvae import data
from polyvae.data.files.writing import held, replacing
from polyvae.data.sources.listing import unknown
from polyvae.study.progress import shown
from polyvae.study.records import Key, Records, StudyError, open_study, read_result
from polyvae.study.schedule import RUNNER, answers
from polyvae.study.thesis.grid import Cell, cells, chosen_folds, dataset_name, select
from polyvae.study.thesis.run import Job, Protocol
from polyvae.training.store import STATE, WEIGHTS

PICTURES, LOCK = "pictures", ".lock"
Keep = Literal["all", "weights", "none"]
SHED: dict[str, tuple[str, ...]] = {"all": (), "weights": (STATE,), "none": (STATE, WEIGHTS)}


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
        sources = {dataset_name(source): _source(source) for source in self.data}
        # Other processes may have another working directory.
        place = None if self.data_dir is None else self.data_dir.absolute()
        chosen = select(cells(self.data, self.families, self.configs), self.only)
        return [
            Job(cell, fold, sources[cell.dataset], study.absolute(), self.protocol, device, place)
            for fold in chosen_folds(self.folds)
            for cell in chosen
        ]


def _source(name: str) -> str:
    """The name of a data set, or the whole path of a file. Raises DataError for neither."""
    if name in data.names():
        return name
    path = Path(name).expanduser().absolute()
    if not path.exists():
        raise unknown(name)
    return str(path)


@dataclass(frozen=True)
class Outcome:
    """What a study has come to: its records, and the runs that failed with why."""

    folder: Path
    records: Records
    failed: dict[Key, str] = field(default_factory=dict)


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
    if workers < 1:
        raise ValueError(f"workers counts runs at once, at least 1; got {workers}")
    jobs = plan.jobs(out, device)
    open_study(out, asdict(plan.protocol))
    records = Records.read(out)
    missing = [job for job in jobs if job.key not in records.rows]
    found = {job: result for job in missing if (result := read_result(job.folder)) is not None}
    for job, result in found.items():
        _record(out, records, job, result, keep)
    missing = [job for job in missing if job not in found]
    failed: dict[Key, str] = {}
    display = shown(missing, len(jobs) - len(missing), progress)
    try:
        for job, answer in answers(missing, workers, ray, runner):
            if "error" in answer:
                raise StudyError(f"{job.cell.name}, fold {job.fold}: {answer['error']} ({answer['kind']})")
            if "failed" in answer:
                failed[job.key] = answer["failed"]
            else:
                _record(out, records, job, answer["result"], keep)
            display.tell(job, answer)
    finally:
        display.close()
    for message in failed.values():
        warnings.warn(message, stacklevel=2)
    return Outcome(out, records, failed)


def _record(out: Path, records: Records, job: Job, result: dict[str, Any], keep: Keep) -> None:
    """Writes a result into the study's tables and, of a cell's first fold, its pictures; sheds what is not kept."""
    # Another study may be writing other cells into the same folder.
    with held(out / LOCK):
        records.join(Records.read(out))
        cell, fold = records.add(result)
        if result.get("picture") and fold == min(other for name, other in records.rows if name == cell):
            with replacing(out / PICTURES / f"{cell}.png") as part:
                part.write_bytes(base64.b64decode(result["picture"]))
        records.write(out)
    for name in SHED[keep]:
        (job.folder / name).unlink(missing_ok=True)


def cells_of(rows: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """The cells that have rows, in the order of the grid."""
    held = {row["cell"]: (row["dataset"], row["family"], row["config"]) for row in rows}
    groups = list(dict.fromkeys(held.values()))
    grid = [cell for dataset, family, config in groups for cell in cells([dataset], [family], [config])]
    return [cell for cell in grid if cell.name in held]
