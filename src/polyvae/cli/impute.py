"""`polyvae impute`: a table of the user's with its gaps filled by a run."""

from __future__ import annotations

import json as json_module
import shlex
from pathlib import Path

import numpy as np

from polyvae.checks.ranges import Amount, Count, Seed
from polyvae.cli.arguments import Device
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import check_place, opened
from polyvae.cli.runs import device as usable
from polyvae.completion.impute import imputing_head
from polyvae.data.errors import DataError
from polyvae.data.exchange.filled_files import sheet_of, write_filled
from polyvae.data.readers.paths import TABLES

FEW = 10  # effective draws, below which an answer is noise of its own


def impute(
    run: Path,
    file: Path,
    out: Path | None = None,
    samples: Count = 1000,
    draws: Amount = 0,
    seed: Seed = 0,
    device: Device = "auto",
    json: bool = False,
) -> None:
    """Fills the cells that a table lacks by what a run says of them given the others; all else stays as it is.

    The table has the columns that the run was trained on; others stay as they are. Written is what is expected of the
    missing cells, of a category the most probable one.

    run: the folder of a run of incomplete.
    file: the table, a .csv, .tsv or .parquet.
    out: the table that is written, a .csv; FILE-filled.csv where none is given.
    samples: draws of the latents that are weighed for each row.
    draws: write so many more tables, OUT-1.csv and on, whose missing cells are drawn.
    seed: of the draws.
    device: cpu, cuda or mps; auto is cuda where there is one.
    json: print one JSON document.

    Example: polyvae impute runs/people people.csv --out filled.csv
    """
    place = file.with_name(f"{file.stem}-filled.csv") if out is None else out
    _check_files(file, place)
    check_place(place)
    found, target = opened(run).run, usable(device)
    imputing_head(found.model)
    found.model.to(target)
    before = sheet_of(file)
    filled = found.impute(before, samples=samples, draws=draws, seed=seed)
    files = [place, *(place.with_name(f"{place.stem}-{number + 1}{place.suffix}") for number in range(draws))]
    for path, whole in zip(files, (filled.expected, *filled.draws), strict=True):
        write_filled(path, file, before, whole)
    counts = {name: int((cells.gap & ~filled.expected[name].gap).sum()) for name, cells in before.cells.items()}
    counts = {name: count for name, count in counts.items() if count}
    lacking = np.any([cells.gap for cells in before.cells.values()], 0)
    effective = np.asarray(filled.effective)[lacking]
    median, tenth = np.quantile(effective, [0.5, 0.1]).tolist() if len(effective) else (None, None)
    if json:
        told = {"run": str(run), "file": str(file), "filled": counts, "effective": median, "effective_tenth": tenth}
        print(json_module.dumps({**told, "files": list(map(str, files))}))
        return
    cells = ", ".join(f"{count:,} in {name}" for name, count in counts.items())
    print(f"filled {sum(counts.values()):,} cells" + (f": {cells}" if cells else ""))
    if tenth is not None:
        more = f"; ask for more: --samples {10 * samples}" if tenth < FEW else ""
        few = f"a tenth of the rows below {tenth:.0f}{more}"
        print(f"effective draws a row: {median:.0f} of {samples:,} (median), {few}")
    for path in files:
        print(shlex.quote(str(path)))


def _check_files(file: Path, out: Path) -> None:
    """UsageError for files of other kinds, DataError for one that is not there."""
    if file.suffix.lower() not in TABLES:
        raise UsageError(
            f"FILE is a table, {', '.join(TABLES)}; got {file}; arrays are filled in Python: run.impute(x)"
        )
    if out.suffix.lower() not in (".csv", ".tsv"):
        raise UsageError(f"--out is a table, such as filled.csv; got {out}")
    if not file.is_file():
        raise DataError(file, "a table", "no such file", "check the path")
    if out.resolve() == file.resolve():
        raise UsageError(f"--out {out} is the table itself; give another name")
