"""The study from its first run to its tables."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from polyvae import data
from polyvae.checks.ranges import at_least
from polyvae.data.files.writing import held, replacing
from polyvae.data.sources.listing import unknown
from polyvae.study.job import title
from polyvae.study.progress import shown
from polyvae.study.records import Key, StudyError, open_study, read_result
from polyvae.study.schedule import answers
from polyvae.study.thesis.grid import Cell, cells, chosen_folds, dataset_name, select
from polyvae.study.thesis.protocol import Protocol
from polyvae.study.thesis.records import Records
from polyvae.study.thesis.run import RUNNER, Job
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
    at_least("workers", workers, 1, "runs at once")
    jobs = plan.jobs(out, device)
    open_study(out, "multitask", asdict(plan.protocol))
    records = _settled(out)
    missing = [job for job in jobs if job.key not in records.rows]
    found = {job: result for job in missing if (result := read_result(job.folder)) is not None}
    for job, result in found.items():
        _record(out, records, job, result, keep)
    missing = [job for job in missing if job not in found]
    failed: dict[Key, str] = {}
    display = shown(missing, len(jobs) - len(missing), progress)
    try:
        for job, answer in answers(missing, runner, workers, ray):
            if "error" in answer:
                raise StudyError(f"{title(job)}: {answer['error']} ({answer['kind']})")
            if "failed" in answer:
                failed[job.key] = answer["failed"]
            else:
                _record(out, records, job, answer["result"], keep)
            display.tell(job, _said(job, answer))
    finally:
        display.close()
    for message in failed.values():
        warnings.warn(message, stacklevel=2)
    return Outcome(out, _settled(out), failed)


def _settled(out: Path) -> Records:
    """The study's records, whose tables are written anew for runs to be added to."""
    with held(out / LOCK):
        records = Records.read(out)
        records.write(out)
    return records


def _record(out: Path, records: Records, job: Job, result: dict[str, Any], keep: Keep) -> None:
    """Adds a result to the study's tables and, of a cell's first fold, its pictures; sheds what is not kept."""
    # Another study may be writing other cells into the same folder.
    with held(out / LOCK):
        key = records.add(result)
        if result.get("picture") and _is_first(key, records, out):
            with replacing(picture(out, key[0])) as part:
                part.write_bytes(base64.b64decode(result["picture"]))
        records.append(out, key)
    for name in SHED[keep]:
        (job.folder / name).unlink(missing_ok=True)


def _is_first(key: Key, records: Records, out: Path) -> bool:
    """Whether no lower fold of its cell is recorded, neither here nor by another study, which a picture may be of."""
    cell, fold = key

    def lower(known: Records) -> bool:
        return any(name == cell and other < fold for name, other in known.rows)

    return not lower(records) and not (picture(out, cell).exists() and lower(Records.read(out)))


def picture(folder: Path, cell: str) -> Path:
    """Where a cell's examples and reconstructions are."""
    return folder / PICTURES / f"{cell}.png"


def _said(job: Job, answer: Mapping[str, Any]) -> str:
    """A run's result, or what it failed with, in a line."""
    if "failed" in answer:
        return f"failed: {answer['failed']}"
    row = answer["result"]["row"]
    unit = {"gaussian": "KL", "vq": "code loss"}.get(row["family"], "latent")
    numbers = f"mse {row['mse']:.5f}, {unit} {row['latent']:.4g}"
    return f"{job.cell.name} fold {job.fold}: {numbers}, {row['seconds']:.0f} s"


def cells_of(rows: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """The cells that have rows, in the order of the grid."""
    held = {row["cell"]: (row["dataset"], row["family"], row["config"]) for row in rows}
    groups = list(dict.fromkeys(held.values()))
    grid = [cell for dataset, family, config in groups for cell in cells([dataset], [family], [config])]
    return [cell for cell in grid if cell.name in held]
