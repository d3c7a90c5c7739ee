"""`polyvae study completion`: pictures from a few of their pixels, by models, baselines and as published."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polyvae.cli.arguments import Machines
from polyvae.cli.commands import options_at
from polyvae.cli.options import naming
from polyvae.cli.study import finished
from polyvae.study.completion.protocol import Completed, Effort, Seen


def completing(
    *,
    chosen: Completed,
    effort: Effort,
    seen: Seen,
    machines: Machines,
    out: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Trains models and baselines alike: how right what they make of a few pixels is, and how well they know it.

    Squared error, CRPS, the energy score of joint draws, a classifier's log loss of what was completed and coverage,
    with standard errors over test pictures, beside figures that others published. A model may carry options:
    `--models "arbitrary_conditioning:likelihood=bernoulli,z=none as network"`, where z=none takes its latents away.
    What is done is skipped: the same command goes on after Ctrl-C or a kill, and models and seeds may be added. The
    report is written anew at the end, and by `--report-only` at any time: REPORT.md with figures, report.html, which is
    one file, table.csv and table.json. Minutes are those of processors, all threads of a run together.

    out: the study's folder, by default results/completion-DATA.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study completion --data digits --points 3,10 --limit 1000 --minutes 0.2 --test 100
    OMP_NUM_THREADS=1 polyvae study completion --data mnist --minutes 5 --test 500
    polyvae study completion --data cifar10 --masks left,box --against "normal-law, u-net"
    polyvae study completion --report-only --out results/completion-mnist
    """
    from polyvae.study.sources import dataset_name

    out = out or Path("results") / f"completion-{dataset_name(chosen.data)}"
    asked = {"effort": effort, "seen": replace(seen, points=tuple(seen.points))}

    def run(machines: Machines) -> Any:
        from polyvae import study

        with naming(options_at("study completion")):
            return study.completion(chosen, out, **asked, **asdict(machines))  # pyright: ignore[reportArgumentType]

    finished(out, machines, None if report_only else run, json)
