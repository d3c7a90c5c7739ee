"""`polyvae study`: which studies there are, and that of multitask autoencoders."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polyvae.cli.arguments import Cells, Machines
from polyvae.cli.commands import signature, studies
from polyvae.cli.options import naming, options_of
from polyvae.cli.printing import printable
from polyvae.cli.reading import UsageError, quoted
from polyvae.cli.runs import check_place
from polyvae.cli.runs import device as checked_device
from polyvae.study.records import StudyError
from polyvae.study.thesis.protocol import Protocol


def study(json: bool = False) -> None:
    """Lists the studies: grids of runs with one budget, in tables beside published ones.

    `polyvae study NAME --help` lists the options of one.

    json: print one JSON document.

    Example: polyvae study
    polyvae study compare --help
    """
    found = {name: (signature(f"study {name}").__doc__ or "").splitlines()[0] for name in studies()}
    if json:
        print(json_module.dumps([{"name": name, "does": does} for name, does in found.items()]))
        return
    for name, does in found.items():
        print(f"{name:<12} {does}")


def multitask(
    *,
    cells: Cells,
    protocol: Protocol,
    machines: Machines,
    out: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Runs every method of the multitask study on every fold: a table beside the published one, verdicts.

    What is done is skipped: the same command goes on after Ctrl-C or a kill. The report is written anew at the end,
    and by `--report-only` at any time: REPORT.md with figures, and report.html, which is one file.

    out: the study's folder, by default results/multitask-DATA.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study multitask --data mnist --config 1 --limit 10000 --epochs 5 --folds 3
    polyvae study multitask --only "*-baseline,*-two-*" --workers 8 --precision bf16
    polyvae study multitask --report-only --out results/multitask-mnist
    """
    sources = _parts("--data", cells.data)
    from polyvae.study.sources import dataset_name

    out = out or Path("results") / "-".join(["multitask", *map(dataset_name, sources)])
    plan = None if report_only else _plan(sources, cells, protocol)

    def run(machines: Machines) -> Any:
        from polyvae import study

        return study.multitask(plan, out, **asdict(machines))  # pyright: ignore[reportArgumentType]

    finished(out, machines, None if report_only else run, json)


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
        with naming(options_of(multitask)):
            Settings(**{name: getattr(protocol, name) for name in ("epochs", "batch_size", "seed", "precision")})
            families = _parts("--family", cells.family)
            plan = Plan(sources, families, cells.config, cells.folds, cells.only, protocol, cells.data_dir)
            plan.jobs(Path())  # every mistake of the command line has its chance here
    except ValueError as error:
        raise UsageError(str(error)) from error
    return plan


def finished(out: Path, machines: Machines, run: Callable[[Machines], Any] | None, as_json: bool) -> None:
    """Runs a study into its folder, where it is to be run, and reports on it.

    RuntimeError for runs that came to no result, once the report is written; Ctrl-C says how to go on.
    """
    failed: dict[Any, str] = {}
    if run is not None:
        check_place(out, folder=True)
        # What devices a cluster has is seen there.
        there = machines.ray is not None and machines.device == "auto"
        device = machines.device if there else checked_device(machines.device)
        try:
            failed = run(replace(machines, device=device)).failed
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; the same command goes on with {out}") from None
    try:
        _report(out, failed, as_json)
    except StudyError:  # there may be nothing to report on where every run failed
        if not failed:
            raise
    if failed:
        raise RuntimeError(f"{len(failed)} runs came to no result: {'; '.join(failed.values())}")


def _report(out: Path, failed: dict[Any, str], as_json: bool) -> None:
    from polyvae.study import report

    made = report(out)
    if as_json:
        print(json_module.dumps(printable({**made.as_dict(), "failed": list(failed.values())})))
    else:
        print(made.text())
        print(f"report: {made.markdown}\npage: {made.page}", file=sys.stderr)
