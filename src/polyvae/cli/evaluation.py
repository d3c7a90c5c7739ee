"""`polyvae evaluate`: a report on a run, and on linear baselines beside it."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from polyvae.checks.ranges import Count
from polyvae.cli import several
from polyvae.cli.arguments import Beside, CodePrior, Reading
from polyvae.cli.printing import console
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import check_place, chosen_prior, opened
from polyvae.cli.runs import device as usable
from polyvae.data import Data, Split
from polyvae.data.cuts import subset
from polyvae.data.files.writing import write_text
from polyvae.evaluation import evaluate as report_on
from polyvae.evaluation import table
from polyvae.evaluation.blocks import each_block
from polyvae.evaluation.bounds import both_bounds
from polyvae.evaluation.tables import COLUMNS, number
from polyvae.training.progress import counted
from polyvae.training.run import Run
from polyvae.training.trained import PLAIN

_SAMPLES = 5000
_MANY = 100  # draws, from which on it is said how to have fewer
_PICTURES = (("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 4))  # what only pictures have
_VALUES = 2 * 10**8  # of the training part that PCA sees in float64: 1.6 GB


def evaluate(
    samples: Count | None = None,
    code_prior: CodePrior | None = None,
    json: bool = False,
    out: Path | None = None,
    *,
    beside: Beside,
    reading: Reading,
) -> None:
    """Bounds in nats and bits, errors of the reconstruction and what the latents carry, whatever trained the model.

    Of several modalities: bounds of each and of all, how likely each is given others, and, where rows have labels, how
    often what is made of others shows their class, by classifiers that are trained first.

    samples: draws of the latents for each example, K of the importance-weighted bound; 5,000, or 100 of several
        modalities, where none is given.
    code_prior: the run's own prior, which of a vector-quantised run is uniform, or the learned one of `polyvae
        train-prior` and `fit-prior`, which is taken where there is one and set beside the other.
    json: print one JSON document instead of the table.
    out: where the report is kept as JSON; in the run folder as evaluation.json where none is given.

    Example: polyvae evaluate runs/first --samples 500 --baselines
    """
    from polyvae.training.second_stage import unfinished

    run = reading.run
    found = opened(run, reading.data_dir, several=True)
    place = run / "evaluation.json" if out is None else out
    check_place(place)
    judged_run = chosen_prior(found.run, code_prior)
    if found.several:
        several.refuse(beside)
        fitted = judged_run is not found.run
        several.evaluated(replace(found, run=judged_run), samples, reading, place, json, fitted)
        return
    samples = _SAMPLES if samples is None else samples
    part, examples = found.split(reading.split)
    train, device = found.data.train, usable(reading.device)
    asked: dict[str, Any] = {"samples": samples, "seed": reading.seed, "device": device, "train": train}
    gaps = {"refine": beside.refine, "ais": beside.ais, "ais_examples": beside.ais_examples, "without": beside.without}
    more = _disentanglement(found.run, examples, found.data.name, reading.seed, device) if beside.factors else {}
    judged = _frechet(found.data, beside.frechet, run) if beside.frechet else {}
    if samples >= _MANY:
        what = f"{len(examples):,} examples of the {part} part, {samples:,} draws of the latents each"
        quicker = f"--samples {samples // 10} takes about a tenth of the time"
        print(f"evaluating {run}: {what}; {quicker}", file=sys.stderr, flush=True)
    with counted("evaluating") as shown:
        report = report_on(judged_run, examples, **asked, **judged, **gaps, spec=found.data.spec, progress=shown)
    description = found.run.description
    report = {
        "run": str(run),
        "recipe": description["recipe"],
        "data": description["data"],
        "split": part,
        **report,
        **more,
    }
    report["notes"] += more.get("disentanglement", {}).get("notes", [])
    if judged_run is not found.run:
        learned = {name: report[name] for name in ("kl", "bound", "bound_bits")}
        name, own = with_own_prior(found.run, examples, report, asked)
        report["priors"] = {name: own, "learned": learned}
        report["notes"] += [note] if (note := unfinished(found.run)) else []
    if beside.baselines:
        report["baselines"] = _baselines(found.data, examples, report, asked)
    write_text(place, json_module.dumps(report, indent=2) + "\n")
    if json:
        print(json_module.dumps(report))
    else:
        _print(report, found.title(part), place)


def _print(report: Mapping[str, Any], title: str, place: Path) -> None:
    """The tables of a report, and where it is kept."""
    shown = console()
    shown.print(table(report, title))
    made = {"priors": priors, "disentanglement": lambda report: disentangled(report["disentanglement"])}
    for name, tabled in {**made, "baselines": baselines}.items():
        if report.get(name):
            shown.print(tabled(report))
    shown.print(f"report: {place}", markup=False, soft_wrap=True)


def _baselines(data: Data, examples: Split, report: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The reports on the linear baselines; a note in the run's own where their bounds are of something else."""
    made = {}
    for name, run in linear(data, report).items():
        with counted(name) as shown:
            made[name] = report_on(run, examples, **asked, spec=data.spec, progress=shown)
    if made and report["discrete"] is not False:
        own = "probabilities" if report["discrete"] else "densities of real and positive columns and probabilities"
        report["notes"].append(
            f"the bound of ppca is on a density of all values, the run's on {own} of bits, counts, categories or "
            "levels: they do not compare"
        )
    return made


def linear(data: Data, report: MutableMapping[str, Any]) -> dict[str, Any]:
    """Probabilistic PCA and PCA of as many components as the report's latents hold numbers, a code being one.

    They are fitted to as much of the training part as memory takes. Where so many leave no noise in one of the two,
    both have the most that do, or are left out where none does; the report has a note of it.
    """
    from polyvae import fit
    from polyvae.recipes import pca, ppca
    from polyvae.recipes.baselines import TooManyComponents

    count = min(len(data.train), _VALUES // data.spec.dimensions)
    data = replace(data, train=subset(data.train, count, 0))
    latents = report["latents"].values()
    numbers = sum((latent["codebook"] or {}).get("positions", latent["dimensions"]) for latent in latents)
    most, made = min(numbers, data.spec.dimensions - 1), {}
    while most and not made:
        recipes = {"ppca": ppca(data.spec, latent=most), "pca": pca(data.spec, latent=most)}
        try:
            made = {name: fit(each, data, progress=False) for name, each in recipes.items()}
        except TooManyComponents as error:
            most = error.most
    if not made:
        report["notes"].append("no linear baseline: a single component explains these data exactly")
    elif most < numbers:
        report["notes"].append(
            f"the latents hold {numbers} numbers, the baselines {most}: PCA of as many components as examples have "
            "independent values reconstructs them exactly"
        )
    return made


def baselines(report: Mapping[str, Any]) -> Table:
    """The numbers that a run shares with its baselines, a column each."""
    columns = {report["recipe"]["name"]: report, **report["baselines"]}
    latents = report["baselines"]["ppca"]["latents"]["z"]["dimensions"]
    shown = Table(f"beside baselines of {latents} latent{'' if latents == 1 else 's'}", title_justify="left")
    for name in columns:
        shown.add_column(name, justify="right")
    rows = {
        "plain bound, nats": ("bound", 2),
        f"importance-weighted bound, K = {report['samples']}, nats": ("importance_bound", 2),
        "the same, bits per dimension": ("importance_bound_bits", 4),
        "KL, nats": ("kl", 2),
        "squared error per value": ("mse", 5),
        **{f"{words}, share": (key, 4) for key, words in COLUMNS.items() if key in report},
        **{words: (key, digits) for key, words, digits in _PICTURES if report[key] is not None},
        "parameters": ("parameters", 0),
    }
    for words, (name, digits) in rows.items():
        shown.add_row(words, *(number(column.get(name), digits) for column in columns.values()))
    return shown


def with_own_prior(
    run: Run, examples: Split, report: Mapping[str, Any], asked: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """What the run's own prior is called, and KL and bound of a report with it in the place of the learned one."""
    from polyvae.training.second_stage import has_codes

    if has_codes(run):
        return "uniform", with_uniform_codes(run, examples, report)
    bits = report["bound_bits"]
    if report["bound"] is None:  # a point's divergence is infinite from any prior
        return "own", {"kl": None, "bound": None, "bound_bits": None}
    found = both_bounds(run, examples, min(PLAIN, asked["samples"]), asked["seed"], asked["device"])
    kl, bound = sum(float(each.mean()) for each in found.kl.values()), float(found.plain.mean())
    more = (report["bound"] - bound) / (report["dimensions"] * log(2))
    return "own", {"kl": kl, "bound": bound, "bound_bits": None if bits is None else bits + more}


def with_uniform_codes(run: Run, split: Split, report: Mapping[str, Any]) -> dict[str, Any]:
    """KL and bound of a report on a model of codes were these equally probable: the rest of the bound is the same."""
    costs = each_block(run, split, lambda model, batch: model.infer(batch).kl[0].cpu())
    kl = float(torch.cat(costs).double().mean())
    bits = report["bound_bits"]
    more = (report["kl"] - kl) / (report["dimensions"] * log(2))
    return {"kl": kl, "bound": report["bound"] + report["kl"] - kl, "bound_bits": None if bits is None else bits - more}


def priors(report: Mapping[str, Any]) -> Table:
    """The bound with the run's own prior, of codes equal probabilities, beside that with the learned one."""
    shown = Table("prior over the codes" if "uniform" in report["priors"] else "prior", title_justify="left")
    for heading in ("KL, nats", "plain bound, nats", "bits per dimension"):
        shown.add_column(heading, justify="right")
    for name, found in report["priors"].items():
        told = (("kl", 2), ("bound", 2), ("bound_bits", 4))
        shown.add_row(name, *(number(found[key], digits) for key, digits in told))
    return shown


def _disentanglement(run: Any, examples: Split, data: str, seed: int, device: Any) -> dict[str, Any]:
    """The scores, by which names the factors have where they are known."""
    from polyvae.evaluation.disentanglement import disentanglement, factors_of

    names, categorical = factors_of(data)
    try:
        found = disentanglement(run, examples, seed, device, categorical=categorical)
    except ValueError as error:
        raise UsageError(f"--factors: {error}") from error
    varying = [names[column] if names else str(column) for column in found["varying"]]
    return {"disentanglement": {**found, "factors": varying}}


def disentangled(found: Mapping[str, Any]) -> Table:
    """The scores of disentanglement, one a row."""
    from polyvae.evaluation.disentanglement import SCORES

    shown = Table(f"disentanglement of {', '.join(found['factors'])}", title_justify="left")
    shown.add_column("", justify="right")
    for name, words in SCORES.items():
        shown.add_row(words, "-" if found[name] is None else f"{found[name]:.3f}")
    return shown


def _frechet(data: Data, count: int, run: Path) -> dict[str, Any]:
    from polyvae.evaluation import train_classifier

    if count < 2:
        raise UsageError(f"--frechet counts samples, at least 2, or is 0 for none; got {count}")
    return {"frechet": count, "classifier": train_classifier(data.train, cache=run)}
