"""Runs of a study that train nothing: results made up from the names of cells, for the tests around them."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path
from typing import Any

from polyvae.data.files.writing import write_text
from polyvae.study import Cell, Job, Protocol
from polyvae.study.job import RunFailed
from polyvae.study.thesis.records import ROW

ROOT = Path(__file__).parents[1]
FAKE = "helpers.study_runs:fake"
# What each kind of method does to the baseline's squared error and latent loss, as the claims have it.
EFFECTS = {"baseline": (1.0, 1.0), "two": (0.8, 1.3), "one": (1.3, 0.7)}


def fake_row(cell: Cell, fold: int) -> dict[str, Any]:
    """A row that follows from cell and fold alone; folds differ, pairs of them differ by little."""
    noise = zlib.crc32(f"{cell.name}{fold}".encode()) / 2**32 - 0.5
    mse, latent = EFFECTS[cell.method.kind]
    base = (0.02, 12.0) if cell.family == "gaussian" else (0.003, 0.01)
    seen = cell.method.kind != "baseline"
    found: dict[str, Any] = {
        "cell": cell.name,
        "dataset": cell.dataset,
        "family": cell.family,
        "config": cell.config,
        "method": cell.method.name,
        "exponent": cell.method.exponent,
        "fold": fold,
        "train": 400,
        "validation": 100,
        "epochs": 3,
        "best_epoch": 2,
        "parameters": 1000 + 10 * len(cell.method.name),
        "mse": base[0] * (1 + 0.1 * fold) * mse * (1 + 0.01 * noise),
        "latent": base[1] * (1 + 0.1 * fold) * latent * (1 + 0.01 * noise),
        "pixels": 784,
        "seconds": 1.5,
        "device": "none",
        "precision": "fp32",
        "seed": fold,
        "commit": "",
        "polyvae": "0",
        "torch": "0",
    }
    found["mse_at_mean"] = found["mse"]
    if seen:
        found["conditioned_mse"] = found["conditioned_mse_at_mean"] = 0.7 * found["mse"]
        exponent = cell.method.exponent
        mean = 39.0 if exponent is None else 784 / (exponent + 1) - 0.5
        found |= {"observed": mean, "observed_sd": 0.0 if exponent is None else mean, "observed_count": 1200}
    return {name: found.get(name) for name in ROW}


def fake_result(cell: Cell, fold: int) -> dict[str, Any]:
    """A whole result, with a curve over three epochs and an error at three sizes of the mask."""
    row = fake_row(cell, fold)
    curve = [
        {"epoch": e, "mse": row["mse"] * (1 + 1 / e), "latent": row["latent"], "conditioned_mse": None}
        for e in (1, 2, 3)
    ]
    masks = []
    if cell.method.kind != "baseline":
        masks = [{"count": count, "mse": row["mse"] / (1 + count), "without": row["mse"]} for count in (0, 10, 100)]
    return {"row": row, "curve": curve, "masks": masks, "picture": None}


def fake(job: Job) -> dict[str, Any]:
    """Runs a job; told so by the environment it fails for a cell, is slow, or breaks down."""
    write_text(job.folder / "ran", f"{os.getpid()}")
    if os.environ.get("STUDY_FAILS") == job.cell.name:
        raise RunFailed(f"{job.cell.name}, fold {job.fold}: the loss is not finite")
    if os.environ.get("STUDY_BREAKS") == job.cell.name:
        raise ValueError("no such data")
    if os.environ.get("STUDY_ENDS") == job.cell.name:
        os._exit(3)
    if os.environ.get("STUDY_INTERRUPTS") == job.cell.name:
        raise KeyboardInterrupt
    time.sleep(float(os.environ.get("STUDY_SECONDS", "0")))
    return fake_result(job.cell, job.fold)


def job(cell: Cell, folder: Path, fold: int = 0, **options: Any) -> Job:
    """A job on scikit-learn's digits with networks of a few channels."""
    protocol = Protocol(**{"limit": 200, "epochs": 1, "widths": (4, 8), **options})
    return Job(cell, fold, "digits", folder, protocol, "cpu")
