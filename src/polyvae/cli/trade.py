"""`polyvae study rate-distortion`: what codes cost and what they leave, over the weight of the divergence."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polyvae.cli.arguments import Chosen, Machines
from polyvae.cli.commands import options_at
from polyvae.cli.options import naming
from polyvae.cli.study import finished
from polyvae.study.budget import Budget, Networks
from polyvae.study.trade.sweep import Sweep


def rate_distortion(
    *,
    chosen: Chosen = Chosen("vae", "mnist"),
    budget: Budget = Budget(epochs=30, limit=5000),
    networks: Networks = Networks(16, "mlp", (200, 200)),
    sweep: Sweep,
    machines: Machines,
    out: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Trains recipes at several weights of their divergence: curves of rate against distortion, seeds beside them.

    Any recipe with a weight of a KL, alone or in parts. What is done is skipped: the same command goes on after Ctrl-C
    or a kill, and recipes, weights and seeds may be added. The report is written anew at the end, and by
    `--report-only` at any time: REPORT.md with the figure, and report.html, which is one file.

    out: the study's folder, by default results/rate-distortion-DATA.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study rate-distortion --data digits --betas 0.3,1,3 --epochs 20 --seeds 2
    polyvae study rate-distortion --recipes "vae, vamp_prior, beta_tcvae:beta=1" --data mnist
    polyvae study rate-distortion --report-only --out results/rate-distortion-mnist
    """
    from polyvae.study import Grid
    from polyvae.study.sources import dataset_name

    out = out or Path("results") / f"rate-distortion-{dataset_name(chosen.data)}"
    networks = replace(networks, widths=tuple(networks.widths))
    asked = replace(sweep, betas=tuple(sweep.betas))

    def run(machines: Machines) -> Any:
        from polyvae import study

        grid = Grid(chosen.recipes, chosen.data, budget, networks, chosen.data_dir)
        with naming(options_at("study rate-distortion")):
            return study.rate_distortion(grid, out, sweep=asked, **asdict(machines))  # pyright: ignore[reportArgumentType]

    finished(out, machines, None if report_only else run, json)
