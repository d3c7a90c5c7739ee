"""`polyvae study shapes`: a VAE beside codes that pass a noisy channel, on shapes that are recognised or not."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polyvae.cli.arguments import Machines
from polyvae.cli.commands import options_at
from polyvae.cli.options import naming
from polyvae.cli.study import finished
from polyvae.study.shapes.assignment import Assignment


def shapes(
    *,
    assignment: Assignment,
    machines: Machines,
    out: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Trains a VAE and codes that pass channels of noise on shapes: losses, bits, and what is recognised.

    Every training is read at several epochs, beside the published table. What is done is skipped: the same command goes
    on after Ctrl-C or a kill, and seeds and noises may be added. The report is written anew at the end, and by
    `--report-only` at any time: REPORT.md with sheets of pictures, and report.html, which is one file.

    out: the study's folder, by default results/shapes.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study shapes --pictures 500 --readings 1,2 --seeds 1 --noises 5 --out results/trial
    polyvae study shapes
    polyvae study shapes --report-only
    """
    out = out or Path("results") / "shapes"
    asked = replace(
        assignment,
        noises=tuple(assignment.noises),
        readings=tuple(assignment.readings),
        widths=tuple(assignment.widths),
    )

    def run(machines: Machines) -> Any:
        from polyvae import study

        with naming(options_at("study shapes")):
            return study.shapes(asked, out, **asdict(machines))  # pyright: ignore[reportArgumentType]

    finished(out, machines, None if report_only else run, json)
