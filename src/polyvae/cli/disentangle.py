"""`polyvae study disentangle`: recipes and their weights on data whose factors are known."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polyvae.cli.arguments import Chosen, Machines
from polyvae.cli.commands import options_at
from polyvae.cli.options import naming
from polyvae.cli.study import finished
from polyvae.study.budget import Budget, Networks
from polyvae.study.disentangle.scoring import RECIPES, Factored


def disentangle(
    *,
    chosen: Chosen = Chosen(RECIPES, "sprites"),
    budget: Budget = Budget(epochs=30, limit=50_000),
    networks: Networks = Networks(10, widths=(400, 400)),
    scoring: Factored,
    machines: Machines,
    out: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Trains recipes on data whose factors are known: a table of scores of disentanglement, and traversals.

    A recipe may carry options, such as its weight: `--recipes "vae, beta_tcvae:beta=6, factor_vae:gamma=35 as critic"`.
    What is done is skipped: the same command goes on after Ctrl-C or a kill, and recipes and seeds may be added. The
    report is written anew at the end, and by `--report-only` at any time: REPORT.md, and report.html, which is one
    file.

    out: the study's folder, by default results/disentangle-DATA.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study disentangle --limit 10000 --epochs 20 --seeds 2
    polyvae study disentangle --data dsprites --recipes "vae, beta_tcvae:beta=6" --network conv --widths 32,32,64,64
    polyvae study disentangle --report-only --out results/disentangle-sprites
    """
    from polyvae.study import Grid
    from polyvae.study.sources import dataset_name

    out = out or Path("results") / f"disentangle-{dataset_name(chosen.data)}"
    networks = replace(networks, widths=tuple(networks.widths))

    def run(machines: Machines) -> Any:
        from polyvae import study

        grid = Grid(chosen.recipes, chosen.data, budget, networks, chosen.data_dir)
        with naming(options_at("study disentangle")):
            return study.disentangle(grid, out, scoring=scoring, **asdict(machines))  # pyright: ignore[reportArgumentType]

    finished(out, machines, None if report_only else run, json)
