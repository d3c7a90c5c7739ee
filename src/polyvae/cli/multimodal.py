"""`polyvae study multimodal`: models of several modalities and baselines, judged by coherence."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from polyvae.cli.arguments import Machines
from polyvae.cli.commands import options_at
from polyvae.cli.options import naming
from polyvae.cli.study import finished
from polyvae.study.multimodal.protocol import Compared, Course, Judging, Lacking


def multimodal(
    *,
    compared: Compared,
    course: Course,
    lacking: Lacking,
    judging: Judging,
    machines: Machines,
    out: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Trains models of several modalities: how often what they make of one shows what another is of.

    Beside them baselines that know no joint model, and published values; a curve against the share of modalities that
    is missing in training. A model may carry options: `--models "mmvae:samples=30,expert=laplace as mmvae-30, mvae"`.
    What is done is skipped: the same command goes on after Ctrl-C or a kill, and models and seeds may be added. The
    report is written anew at the end, and by `--report-only` at any time: REPORT.md with figures, and report.html,
    which is one file.

    out: the study's folder, by default results/multimodal-DATA.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study multimodal --limit 2000 --epochs 5 --seeds 1 --absent-models none
    polyvae study multimodal --models "mmvae, mvae" --pairings 30 --epochs 30
    polyvae study multimodal --report-only --out results/multimodal-mnist_svhn
    """
    from polyvae.study.sources import dataset_name

    out = out or Path("results") / f"multimodal-{dataset_name(compared.data)}"

    def run(machines: Machines) -> Any:
        from polyvae import study

        asked = {
            "course": course,
            "lacking": replace(lacking, absent_shares=tuple(lacking.absent_shares)),
            "judging": judging,
        }
        with naming(options_at("study multimodal")):
            return study.multimodal(compared, out, **asked, **asdict(machines))  # pyright: ignore[reportArgumentType]

    finished(out, machines, None if report_only else run, json)
