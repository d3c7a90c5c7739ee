"""The comparison's report in words: what was run, why cells are empty, what was measured and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from polyvae.evaluation.numbers import NONE, number
from polyvae.study.compare.measure import PLAIN
from polyvae.study.compare.table import Line
from polyvae.study.document import Block, TextTable, heading
from polyvae.study.made_by import versions
from polyvae.study.records import Key
from polyvae.training.progress import duration


def facts(rows: Sequence[Mapping[str, Any]], protocol: Mapping[str, Any]) -> str:
    """What was run: how much, on what, with what."""
    seeds = sorted({row["seed"] for row in rows})
    bits = {"auto": "dynamically where grey", "none": "not"}.get(protocol["binarise"], protocol["binarise"])
    train, test = sorted({row["train"] for row in rows}), sorted({row["test"] for row in rows})
    widths = "-".join(map(str, protocol["widths"]))
    budget = (
        f"{protocol['epochs']} epochs, batches of {protocol['batch_size']}, Adam at {protocol['lr']:g}, the weights of "
        "the epoch with the best plain bound on the validation part (the tighter bound where one is trained, the "
        "reconstruction where a posterior is a point)"
    )
    networks = f"{protocol['network']}, {widths}, {protocol['latent']} latent dimensions, the decoder mirrored"
    device = ", ".join(sorted({row["device"] for row in rows}))
    return (
        f"{len(rows)} runs with seeds {', '.join(map(str, seeds))}: {train[-1]:,} training examples, {budget}; "
        f"{test[-1]:,} test examples. Binarised: {bits}. Networks: {networks}. Trained on {device}, "
        f"{duration(sum(row['seconds'] for row in rows))} in all. {versions(rows)}. Made by:"
    )


def notes(found: Sequence[Line], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why cells are empty, and what is not equal."""
    notes = []

    def say(chosen: Sequence[Line], words: str) -> None:
        if chosen:
            notes.append(f"{', '.join(line.label for line in chosen)}: {words}")

    say(
        [line for line in found if line.runs[0]["note"].startswith("no bound")],
        "no bound, since the posterior is a point, whose divergence from any prior is infinite.",
    )
    say(
        [line for line in found if not line.comparable and line.runs[0]["given"]],
        "the bound is on log p(x | more), of what the model is given beside x, and does not compare with log p(x).",
    )
    say(
        [line for line in found if not line.comparable and not line.runs[0]["note"] and not line.runs[0]["given"]],
        "the likelihood is a density, whose bound does not compare with those of probabilities.",
    )
    say(
        [line for line in found if line.comparable and line.runs[0]["discrete"] != "yes" and line.values("nll")],
        "bounds are of densities, which may exceed 1; they compare among each other.",
    )
    say(
        [line for line in found if not isfinite(line.mean("frechet_fitted")) and isfinite(line.mean("frechet"))],
        "no prior is fitted afterwards to a map of codes, or where the prior reads other values.",
    )
    say([line for line in found if line.own_networks], "takes none of the study's networks, and has its own.")
    counts = {len(line.runs) for line in found}
    if len(counts) > 1:
        notes.append(f"Recipes have {min(counts)} to {max(counts)} seeds.")
    if any((row["workers"] or 1) > 1 for row in rows):
        notes.append("Some runs were made beside others: their seconds a step are indicative.")
    return notes


def without(failed: Mapping[Key, str]) -> list[Block]:
    if not failed:
        return []
    rows = tuple((label, str(seed), why) for (label, seed), why in sorted(failed.items()))
    return [
        heading("Runs without a result"),
        TextTable(("recipe", "seed", "why"), rows, "The same command tries them again."),
    ]


def published(found: Sequence[Line]) -> list[Block]:
    """Where the published values come from, and how they were trained."""
    held = [(line, line.published) for line in found if line.published is not None]
    if not held:
        return []
    rows = tuple(
        (line.label, f"{each.nll:.2f}", str(each.active or NONE), each.setup, each.source) for line, each in held
    )
    columns = ("recipe", "NLL", "active units", "networks and training", "source")
    words = "By importance sampling with 5,000 draws on the whole test part; networks and budgets are theirs, not ours."
    return [heading("Published values"), TextTable(columns, rows, words)]


def how(rows: Sequence[Mapping[str, Any]], protocol: Mapping[str, Any]) -> list[str]:
    some = max((row["scored"] or 0 for row in rows), default=0)
    test = max(row["test"] for row in rows)
    errors = [row["nll_error"] for row in rows if row["nll_error"] is not None]
    error = f"; the standard error of that is at most {number(max(errors), 2)}" if any(errors) else ""
    real = next((row for row in rows if row["frechet_real"] is not None), None)
    part = (
        f"of all {test:,} examples"
        if some >= test
        else f"the plain bound of all {test:,} examples plus what the weights add on {some:,} of them, a seeded subset "
        "(the mean of importance-weighted less plain bound)"
    )
    found = [
        f"bound: the plain bound E_q[log p(x | z)] - KL(q || p) in nats, {PLAIN} draws an example. NLL: minus the "
        f"importance-weighted bound of K = {protocol['samples']:,} draws, {part}{error}. Every run is measured on the "
        "same examples, the same bits and the same seeds of the noise, whatever bound trained it.",
        "squared error: per value, of the reconstruction at the posterior's mean. active units: dimensions whose "
        "posterior mean varies by more than 0.01 over the examples (Burda and others, 2016).",
    ]
    if real is not None:
        found.append(
            "Fréchet: squared Fréchet distance between means of the likelihood at "
            f"{real['pictures']:,} draws of the prior and as many grey pictures of the test part, in the 64 features "
            "of a small classifier that was trained once for the study: it is no FID, and compares within this table "
            "alone. Own prior: the model's. Fitted prior: a mixture of 10 normals with full covariances, fitted "
            "afterwards to latents of the training part. Two halves of the real pictures have "
            f"{number(real['frechet_real'], 3)} between them."
        )
    if any(row["step_seconds"] is not None for row in rows):
        found.append(
            "ms a step and memory: of training alone, in a process of its own on one thread; on a CPU the processor's "
            "time; memory at the peak above what the process held with data and weights. parameters: of the "
            "model; behind the plus what training alone needs, such as a critic."
        )
    return found
