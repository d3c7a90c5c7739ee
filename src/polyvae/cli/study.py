"""`polyvae study`: a grid of runs over folds, its tables and its verdicts."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from polyvae.checks.ranges import Amount, Count, Seed, Widths
from polyvae.cli.commands import STUDIES
from polyvae.cli.options import UsageError, check_known, naming, options_of
from polyvae.cli.printing import printable
from polyvae.cli.reading import quoted
from polyvae.cli.runs import check_place
from polyvae.cli.runs import device as checked_device


def study(
    name: str,
    out: Path | None = None,
    data: str = "mnist",
    family: str = "gaussian,vq",
    config: Sequence[int] | None = None,
    folds: str = "5",
    only: str | None = None,
    limit: Count | None = None,
    epochs: Amount = 100,
    batch_size: Count = 128,
    seed: Seed = 0,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    widths: Widths | None = None,
    decoder: Literal["flat", "multiscale"] = "flat",
    workers: Count = 1,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    ray: str | None = None,
    keep: Literal["all", "weights", "none"] = "weights",
    data_dir: Path | None = None,
    report_only: bool = False,
    json: bool = False,
) -> None:
    """Runs a study: every method of the multitask study on every fold, a table beside the published one, verdicts.

    What is done is skipped: the same command goes on after Ctrl-C or a kill. The report is written anew at the end,
    and by `--report-only` at any time: REPORT.md with figures, and report.html, which is one file.

    name: multitask.
    out: the study's folder, by default results/NAME-DATA.
    data: names of `polyvae datasets` or paths, with commas.
    family: gaussian, vq or both with a comma.
    config: configurations 1, 2 (both families) and 3 (vq), with commas; all where none are given.
    folds: how many of the five folds, like 3, or which, like 0,1,2.
    only: cells whose names match a shell pattern like *two-grid*, or a regular expression between slashes.
    epochs, batch_size: passes over the training part, and examples a step, of every run.
    seed: of the folds, the weights and the noise.
    precision: fp32, bf16, or fp16 with loss scaling.
    device: cpu, cuda or mps; auto is cuda where there is one.
    limit: so many training images of each fold, the validation part in proportion.
    widths: channels of the networks in the place of the configurations', for small studies.
    workers: runs at once on this device, each in a process of its own.
    decoder: of all methods: flat as published, or multiscale, which joins what convolutions of m see to z's maps.
    ray: address of a Ray cluster to run on, auto, or local for one that is started here.
    keep: of a run that is measured, all, its weights without the state to train on from, or none of either.
    data_dir: where the files of the data lie, in DIR/NAME; else $POLYVAE_DATA and the user's cache.
    report_only: write the report of what the folder holds, and run nothing.
    json: print the result as one JSON document.

    Example: polyvae study multitask --data mnist --config 1 --limit 10000 --epochs 5 --folds 3
    polyvae study multitask --only "*-baseline,*-two-*" --workers 8 --precision bf16
    polyvae study multitask --report-only --out results/multitask-mnist
    """
    check_known("study", name, STUDIES, f"there is {', '.join(STUDIES)}")
    sources = _parts("--data", data)
    from polyvae.study.thesis.grid import dataset_name

    out = out or Path("results") / "-".join([name, *map(dataset_name, sources)])
    if not report_only:
        training = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "precision": precision}
        others = {"limit": limit, "widths": None if widths is None else tuple(widths), "decoder": decoder}
        chosen = {"families": _parts("--family", family), "configs": config, "folds": folds, "only": only}
        plan = _plan(training, others, data=sources, data_dir=data_dir, **chosen)
        check_place(out, folder=True)
        # What devices a cluster has is seen there.
        wanted = device if ray is not None and device == "auto" else checked_device(device)
        failed = _run(plan, out, device=wanted, workers=workers, ray=ray, keep=keep)
    else:
        failed = {}
    _report(out, failed, json)


def _parts(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"{option} takes names with commas between them; got {quoted(text)}")
    return parts


def _plan(training: dict[str, Any], others: dict[str, Any], **chosen: Any) -> Any:
    from polyvae.study import Plan, Protocol
    from polyvae.training.settings import Settings

    try:
        with naming(options_of(study)):
            Settings(**training)
            plan = Plan(**chosen, protocol=Protocol(**training, **others))
            plan.jobs(Path())  # every mistake of the command line has its chance here
    except ValueError as error:
        raise UsageError(str(error)) from error
    return plan


def _run(plan: Any, out: Path, **how: Any) -> dict[Any, str]:
    from polyvae.study import multitask

    try:
        return multitask(plan, out, **how).failed
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
