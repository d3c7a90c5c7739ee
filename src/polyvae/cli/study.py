"""`polyvae study`: a grid of runs over folds, its tables and its verdicts."""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polyvae.cli.arguments import Cells, Machines
from polyvae.cli.commands import STUDIES
from polyvae.cli.options import naming, options_of
from polyvae.cli.printing import printable
from polyvae.cli.reading import UsageError, check_known, quoted
from polyvae.cli.runs import check_place
from polyvae.cli.runs import device as checked_device
from polyvae.study.thesis.protocol import Protocol


def study(
    name: str,
    *,
    cells: Cells,
    protocol: Protocol,
    machines: Machines,
    out: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Runs a study: every method of the multitask study on every fold, a table beside the published one, verdicts.

    What is done is skipped: the same command goes on after Ctrl-C or a kill. The report is written anew at the end,
    and by `--report-only` at any time: REPORT.md with figures, and report.html, which is one file.

    name: multitask.
    out: the study's folder, by default results/NAME-DATA.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study multitask --data mnist --config 1 --limit 10000 --epochs 5 --folds 3
    polyvae study multitask --only "*-baseline,*-two-*" --workers 8 --precision bf16
    polyvae study multitask --report-only --out results/multitask-mnist
    """
    check_known("study", name, STUDIES, f"there is {', '.join(STUDIES)}")
    sources = _parts("--data", cells.data)
    from polyvae.study.thesis.grid import dataset_name

    out = out or Path("results") / "-".join([name, *map(dataset_name, sources)])
    failed = {}
    if not report_only:
        plan = _plan(sources, cells, protocol)
        check_place(out, folder=True)
        # What devices a cluster has is seen there.
        there = machines.ray is not None and machines.device == "auto"
        device = machines.device if there else checked_device(machines.device)
        failed = _run(plan, out, replace(machines, device=device))
    _report(out, failed, json)


def _parts(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"{option} takes names with commas between them; got {quoted(text)}")
    return parts


def _plan(sources: list[str], cells: Cells, protocol: Protocol) -> Any:
    from polyvae.study import Plan
    from polyvae.training.settings import Settings

    # Runs are looked up by what they are made with, which a list cannot be.
    protocol = replace(protocol, widths=None if protocol.widths is None else tuple(protocol.widths))
    try:
        with naming(options_of(study)):
            Settings(**{name: getattr(protocol, name) for name in ("epochs", "batch_size", "seed", "precision")})
            families = _parts("--family", cells.family)
            plan = Plan(sources, families, cells.config, cells.folds, cells.only, protocol, cells.data_dir)
            plan.jobs(Path())  # every mistake of the command line has its chance here
    except ValueError as error:
        raise UsageError(str(error)) from error
    return plan


def _run(plan: Any, out: Path, machines: Machines) -> dict[Any, str]:
    from polyvae.study import multitask

    try:
        return multitask(plan, out, **asdict(machines)).failed
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; the same command goes on with {out}") from None


def _report(out: Path, failed: dict[Any, str], as_json: bool) -> None:
    from polyvae.study import report

    made = report(out)
    if as_json:
        print(json_module.dumps(printable({**made.as_dict(), "failed": list(failed.values())})))
    else:
        print(made.text())
        print(f"report: {made.markdown}\npage: {made.page}", file=sys.stderr)
    if failed:
        raise RuntimeError(f"{len(failed)} runs came to no result: {'; '.join(failed.values())}")
