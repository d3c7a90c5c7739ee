"""The report's sections, each a function of the table to blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from polyvae.evaluation.numbers import NONE, number, plus_minus
from polyvae.study.document import Block, TextTable, heading, plain
from polyvae.study.statistics import UNDECIDED, Interval, interval, paired, together, verdict
from polyvae.study.thesis.claims import TEXTS, Judged
from polyvae.study.thesis.grid import EXPONENTS
from polyvae.study.thesis.precisions import UNKNOWN, listed
from polyvae.study.thesis.published import published
from polyvae.study.thesis.records import Records
from polyvae.study.thesis.table import LATENT_NAMES, Group, Table, bounds, percent

WITHOUT = -1  # in the place of a size: no m


def claims(judged: Sequence[Judged]) -> list[Block]:
    """One line for each claim, a column for each data set and configuration."""
    places = sorted({(each.dataset, each.config) for each in judged})
    found = {(each.claim, each.dataset, each.config): each.verdict for each in judged}
    rows = [
        (f"({claim}) {text}", *(found.get((claim, *place), NONE) for place in places)) for claim, text in TEXTS.items()
    ]
    return [TextTable(("claim", *(f"{dataset}, config {config}" for dataset, config in places)), tuple(rows))]


def results(table: Table, group: Group) -> list[Block]:
    """Means and deviations over folds of every method beside the published ones."""
    latent = LATENT_NAMES[group.family]
    columns = (
        "method",
        "folds",
        "precision",
        "parameters",
        "squared error",
        "published",
        latent,
        "published",
        "error with m",
        "best epoch",
        "seconds",
    )
    rows = []
    for method in table.methods(group):
        runs = list(table.runs(group, method.name).values())
        theirs = published().get(group.cell(method.name))
        rows.append(
            (
                method.name,
                str(len(runs)),
                listed(run["precision"] or UNKNOWN for run in runs),
                f"{runs[0]['parameters']:,}",
                _spread([run["mse"] for run in runs]),
                NONE if theirs is None else plus_minus(theirs.mse, theirs.mse_sd),
                _spread([run["latent"] for run in runs]),
                NONE if theirs is None else plus_minus(theirs.latent, theirs.latent_sd),
                _spread([run["conditioned_mse"] for run in runs if run["conditioned_mse"] is not None]),
                number(sum(run["best_epoch"] for run in runs) / len(runs), 3),
                number(sum(run["seconds"] for run in runs) / len(runs), 3),
            )
        )
    words = "Mean ± standard deviation over folds; the published exponents were all 40."
    return [heading(group.title, 3), TextTable(columns, tuple(rows), words)]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return NONE
    found = interval(values)
    return plus_minus(found.mean, found.sd)


def differences(table: Table, group: Group) -> list[Block]:
    """Every method less the baseline, paired by fold."""
    latent = LATENT_NAMES[group.family]
    columns = ("method", "folds", "precision", "Δ squared error", "95 %", "share", f"Δ {latent}", "95 %", "share")
    rows = []
    for method in table.methods(group)[1:] if table.runs(group, "baseline") else []:
        cells: list[str] = []
        folds = 0
        for column in ("mse", "latent"):
            found = table.difference(group, [method.name], column)
            share = table.difference(group, [method.name], column, relative=True)
            if found is None:
                cells += [NONE] * 3
                continue
            folds = found.count
            cells += [number(found.mean, 3), bounds(found), percent(None if share is None else share.mean)]
        rows.append((method.name, str(folds), table.precision(group, [method.name]).text, *cells))
    return [heading(group.title, 3), TextTable(columns, tuple(rows))] if rows else []


def parts(judged: Sequence[Judged]) -> list[Block]:
    """Every statement with its numbers."""
    blocks: list[Block] = []
    for dataset, config in sorted({(each.dataset, each.config) for each in judged}):
        rows = [
            (
                f"({each.claim}) {part.text}",
                *_numbers(part.found),
                percent(part.relative),
                part.precisions.text,
                part.verdict,
            )
            for each in judged
            if (each.dataset, each.config) == (dataset, config)
            for part in each.parts
        ]
        blocks.append(heading(f"{dataset}, configuration {config}", 3))
        blocks.append(
            TextTable(("statement", "difference", "95 %", "folds", "share", "precision", "verdict"), tuple(rows))
        )
    return blocks


def _numbers(found: Interval) -> tuple[str, str, str]:
    return number(found.mean, 3), bounds(found), str(found.count)


def sizes(table: Table, records: Records) -> list[Block]:
    """The squared error with m at every size of the mask, and whether it is below that without m and falls."""
    blocks: list[Block] = []
    for group in table.groups:
        found = {
            method.name: lines
            for method in table.methods(group)
            if (lines := _sized(table, group, method.name, records))
        }
        if not found:
            continue
        counts = list(next(iter(found.values())))
        rows = []
        for name, lines in found.items():
            without = lines[WITHOUT]
            shown = [number(interval(lines[at].values()).mean, 3) if at in lines else NONE for at in counts]
            seen = [at for at in counts if at != WITHOUT and at in lines]
            beats = together([_below(lines[at], without) for at in seen if at > 0])
            falls = together([_below(lines[more], lines[at]) for at, more in pairwise(seen)])
            rows.append((name, *shown, beats, falls))
        heads = ("without m" if at == WITHOUT else str(at) for at in counts)
        columns = ("method", *heads, "below without, every size > 0", "falls with every size")
        blocks += [heading(group.title, 3), TextTable(columns, tuple(rows))]
    words = (
        "Squared error per value with so many pixels seen, drawn uniformly, means over folds of at most 1,000 "
        "validation images; the same pixels for every method. The last two columns judge paired differences by their "
        "95 % intervals at every size, as claims are. Two decoders were trained with one number of pixels alone."
    )
    return [plain(words), *blocks] if blocks else []


def _sized(table: Table, group: Group, name: str, records: Records) -> dict[int, dict[int, float]]:
    """The error by size and fold; WITHOUT stands for no m."""
    found: dict[int, dict[int, float]] = {}
    for fold, run in table.runs(group, name).items():
        for line in records.masks.get((group.cell(name), fold), []):
            without = run["mse"] if line["without"] is None else line["without"]
            found.setdefault(WITHOUT, {})[fold] = without
            found.setdefault(line["count"], {})[fold] = line["mse"]
    return found


def _below(mine: Mapping[int, float], other: Mapping[int, float]) -> str:
    differences = paired(mine, other)
    return verdict(interval(differences), -1) if differences else UNDECIDED


def observed(table: Table) -> list[Block]:
    """How many pixels training saw, with the interval of the mean, and whether exponents 20 and 60 differ."""
    rows, words = [], []
    for group in table.groups:
        for method in table.methods(group):
            runs = [run for run in table.runs(group, method.name).values() if run["observed"] is not None]
            if not runs:
                continue
            mean, half, sd, count = _pooled(runs)
            formula = None if method.exponent is None else expected(runs[0]["pixels"], method.exponent)
            rows.append((group.cell(method.name), plus_minus(mean, half), number(formula), number(sd), f"{count:,}"))
        for sampling in ("gaussian", "uniform"):
            words += _twenty_sixty(table, group, sampling)
    caption = (
        "Mean count over every image of every epoch and its 95 % interval; the law's own mean, the sum over k of "
        "(1 - k/N)^a; the deviation of a count; how many counts."
    )
    columns = ("cell", "pixels seen", "expected", "deviation", "images")
    return [*words, TextTable(columns, tuple(rows), caption)] if rows else []


def expected(pixels: int, exponent: float) -> float:
    """E floor(N (1 - u^(1/a))) = sum_{k=1}^{N-1} (1 - k / N)^a, about N / (a + 1) - 1/2."""
    return math.fsum((1 - k / pixels) ** exponent for k in range(1, pixels))


def _pooled(runs: Sequence[Mapping[str, Any]]) -> tuple[float, float, float, int]:
    """Mean count, half its 95 % interval, deviation and number of counts of all runs together."""
    count = sum(run["observed_count"] for run in runs)
    mean = sum(run["observed"] * run["observed_count"] for run in runs) / count
    square = sum((run["observed_sd"] ** 2 + run["observed"] ** 2) * run["observed_count"] for run in runs) / count
    sd = math.sqrt(max(0.0, square - mean**2))
    return mean, 1.959964 * sd / math.sqrt(count), sd, count


def _twenty_sixty(table: Table, group: Group, sampling: str) -> list[Block]:
    low, high = EXPONENTS[0], EXPONENTS[-1]
    few, many = (
        [run for run in table.runs(group, f"one-{sampling}-{a}").values() if run["observed"] is not None]
        for a in (high, low)
    )
    if {run["fold"] for run in few}.isdisjoint(run["fold"] for run in many):
        return []
    (mean_low, half_low, *_), (mean_high, half_high, *_) = _pooled(many), _pooled(few)
    half = math.hypot(half_low, half_high)
    gap = mean_low - mean_high
    beyond = "beyond noise" if abs(gap) > half else "within noise"
    return [
        plain(
            f"{group.title}, {sampling} masks: exponent {low} shows {number(mean_low)} pixels and exponent {high} "
            f"{number(mean_high)}, a difference of {plus_minus(gap, half)}: {beyond}."
        )
    ]
