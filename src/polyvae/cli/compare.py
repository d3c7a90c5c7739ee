"""`polyvae study compare`: recipes with the same networks and budget, in one table."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polyvae.cli.arguments import Chosen, Machines
from polyvae.cli.study import finished
from polyvae.study.budget import Budget, Networks
from polyvae.study.compare.scoring import Scoring


def compare(
    *,
    chosen: Chosen,
    budget: Budget,
    networks: Networks,
    scoring: Scoring,
    machines: Machines,
    out: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Trains recipes with the same networks and budget: one table of bounds, errors, pictures and costs.

    A recipe may carry options: `--recipes "vae, iwae:samples=50, vae:prior=vamp,components=100 as vamp-100"`; what
    follows "as" is its name in the table. What is done is skipped: the same command goes on after Ctrl-C or a kill, and
    recipes and seeds may be added. The report is written anew at the end, and by `--report-only` at any time:
    REPORT.md with figures, and report.html, which is one file.

    out: the study's folder, by default results/compare-DATA.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study compare --data mnist --recipes vae,iwae,vamp_prior --seeds 3 --epochs 40
    polyvae study compare --recipes "vae, iwae:samples=5, vae:prior=mixture" --limit 2000 --epochs 5 --seeds 1
    polyvae study compare --report-only --out results/compare-mnist
    """
    from polyvae.study import Grid
    from polyvae.study.sources import dataset_name

    out = out or Path("results") / f"compare-{dataset_name(chosen.data)}"
    networks = replace(networks, widths=tuple(networks.widths))

    def run(machines: Machines) -> Any:
        from polyvae import study

        grid = Grid(chosen.recipes, chosen.data, budget, networks, chosen.data_dir)
        return study.compare(grid, out, scoring=scoring, **asdict(machines))  # pyright: ignore[reportArgumentType]

    finished(out, machines, None if report_only else run, json)
