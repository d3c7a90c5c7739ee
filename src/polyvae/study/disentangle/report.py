"""The report of the study of disentanglement, made of its tables and pictures alone, as Markdown and one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyvae.evaluation.disentanglement import AGGREGATE, APART, SCORES
from polyvae.evaluation.numbers import number, plus_minus
from polyvae.study.disentangle.measure import picture
from polyvae.study.disentangle.study import tables
from polyvae.study.document import Block, TextTable, code, heading, image, plain
from polyvae.study.made_by import command, versions
from polyvae.study.page import written
from polyvae.study.records import Row, StudyError, read_study
from polyvae.study.statistics import Interval, interval, paired, verdict
from polyvae.study.tables import Tables
from polyvae.study.variants import Variant

COSTS = {
    "bound": "bound, nats",
    "mse": "squared error a value",
    "kl": "KL, nats",
    "active": "active units",
    "total_correlation_normal": "TC, normal, nats",
    "total_correlation": "TC of q(z)",
    "total_correlation_means": "TC of the means, normal",
    "seconds": "seconds",
}
SHARP = {name: words for name, words in SCORES.items() if name not in COSTS}
HOW = (
    "Scores are of the posteriors' means on examples of the test part, the same for all runs; each stands with its "
    "definition in polyvae.evaluation.disentanglement. The total correlation (TC) is that of normal laws with the "
    "covariance of q(z) and of the means, which see linear ties alone, and that of q(z) itself by the posteriors of "
    f"{AGGREGATE:,} examples, where its bounds are at most {APART} nats apart: – where the posteriors lie too far "
    "apart for that. Means over the seeds that have the score, with the standard deviation behind ±."
)
PUBLISHED = (
    "Published for dSprites, convolutions, 300,000 steps, FactorVAE score / MIG: VAE .63 / .10, beta-VAE .63 / .21, "
    "FactorVAE .82 / .43, beta-TCVAE .62 / .45 (means). Other pictures, networks and budgets do not compare."
)
LOWER = "the total correlation of {} lies below that of {}"
# What a penalty is for: the recipe, to which side of a VAE's it moves a score, and that score. Of several the first
# that two seeds of both have, else the last.
CLAIMS = (
    ("beta_tcvae", -1, {"total_correlation": LOWER, "total_correlation_normal": f"{LOWER}, by covariances"}),
    ("factor_vae", 1, {"factor_vae": "the FactorVAE score of {} lies above that of {}"}),
)


@dataclass(frozen=True)
class Judged:
    """A claim about two recipes, the paired difference over seeds, and what it says of the claim."""

    text: str
    found: Interval
    verdict: str


@dataclass(frozen=True)
class Report:
    """A report that was written: its two files, the mean scores by label, and the claims as judged."""

    markdown: Path
    page: Path
    runs: int
    means: dict[str, dict[str, float | None]]
    judged: tuple[Judged, ...]

    def text(self) -> str:
        """Four scores of each recipe and the verdicts, a line each."""
        shown = {"MIG": "mig", "FactorVAE score": "factor_vae", "TC, normal": "total_correlation_normal"}
        shown["TC"] = "total_correlation"
        lines = [
            f"{label}: {', '.join(f'{name} {number(found[column], 3)}' for name, column in shown.items())}"
            for label, found in self.means.items()
        ]
        return "\n".join([f"{self.runs} runs", *lines, *(f"{each.verdict:<10} {each.text}" for each in self.judged)])

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        claims = [{"text": each.text, **vars(each.found), "verdict": each.verdict} for each in self.judged]
        return {
            "report": str(self.markdown),
            "page": str(self.page),
            "runs": self.runs,
            "means": self.means,
            "claims": claims,
        }


def report(folder: str | Path) -> Report:
    """Writes REPORT.md and report.html into a study's folder. Raises StudyError for one without a run."""
    folder = Path(folder)
    protocol, records = read_study(folder)["protocol"], tables().filled(folder)
    if not records.rows:
        raise StudyError(f"{folder} holds no run yet; start the study without --report-only")
    groups: dict[str, list[Row]] = {}
    for key in sorted(records.rows, key=lambda key: (_order(records.rows[key]), key)):
        groups.setdefault(key[0], []).append(records.rows[key])
    judged = tuple(_judged(groups))
    rows = [*records.rows.values()]
    blocks: list[Block] = [
        heading("Disentanglement", 1),
        plain(f"{len(rows)} runs on {protocol['data']}. {versions(rows)}. Made by:"),
        code(command("disentangle", groups, protocol)),
        heading("Scores"),
        plain(HOW),
        _table(groups, SHARP, "Scores; from 0 to 1, larger is better."),
        _table(groups, COSTS, "What they cost, and how the dimensions hang together."),
        plain(PUBLISHED),
        *_verdicts(judged),
        heading("Which dimension tells which factor"),
        *(block for label in groups for block in _information(records, label, groups[label][0]["seed"])),
        *_walks(folder, groups),
    ]
    means = {label: {name: _mean(rows, name) for name in {**SHARP, **COSTS}} for label, rows in groups.items()}
    return Report(*written(blocks, folder), len(rows), means, judged)


def _order(row: Row) -> tuple[bool, str]:
    """A plain VAE first, then recipe by recipe."""
    return row["recipe"] != "vae", row["recipe"]


def _values(rows: list[Row], name: str) -> dict[int, float]:
    return {row["seed"]: row[name] for row in rows if row[name] is not None}


def _mean(rows: list[Row], name: str) -> float | None:
    values = _values(rows, name).values()
    return interval(values).mean if values else None


def _table(groups: dict[str, list[Row]], columns: dict[str, str], caption: str) -> TextTable:
    def cell(rows: list[Row], name: str) -> str:
        values = _values(rows, name).values()
        found = interval(values) if values else None
        return number(None) if found is None else plus_minus(found.mean, found.sd)

    lines = [(label, str(len(rows)), *(cell(rows, name) for name in columns)) for label, rows in groups.items()]
    return TextTable(("recipe", "runs", *columns.values()), tuple(lines), caption)


def _judged(groups: dict[str, list[Row]]) -> list[Judged]:
    """Every claim, of each recipe that it is about and each plain VAE, over the seeds that both have."""

    def of(recipe: str) -> list[str]:
        return [label for label, rows in groups.items() if rows[0]["recipe"] == recipe]

    made = []
    for recipe, side, scores in CLAIMS:
        for one, other in ((one, other) for one in of(recipe) for other in of("vae")):
            found = {score: paired(_values(groups[one], score), _values(groups[other], score)) for score in scores}
            score = next((score for score, differences in found.items() if len(differences) > 1), [*scores][-1])
            if differences := found[score]:
                between = interval(differences)
                made.append(Judged(scores[score].format(one, other), between, verdict(between, side)))
    return made


def _verdicts(judged: tuple[Judged, ...]) -> list[Block]:
    if not judged:
        return []
    lines = [
        (each.text, plus_minus(each.found.mean, each.found.sd), str(each.found.count), each.verdict) for each in judged
    ]
    caption = (
        "Differences paired by seed, with their deviation; a claim holds or fails where Student's interval at 95 % "
        "lies wholly on one side, and is undecided else, as of a single seed."
    )
    return [
        heading("Claims"),
        TextTable(("claim", "difference", "seeds", "verdict"), tuple(lines), caption),
    ]


def _information(records: Tables, label: str, seed: int) -> list[Block]:
    """Of one run, a row a dimension."""
    lines = records.lines["information"].get((label, seed), [])
    factors = tuple(dict.fromkeys(line["factor"] for line in lines))
    nats = {(line["dimension"], line["factor"]): line["nats"] for line in lines}
    dimensions = sorted({line["dimension"] for line in lines})
    rows = [(f"z{at}", *(number(nats[at, factor], 2) for factor in factors)) for at in dimensions]
    if not rows:
        return []
    caption = f"{label}, seed {seed}: mutual information of each dimension, in 20 bins, with each factor, in nats."
    return [TextTable(("dimension", *factors), tuple(rows), caption)]


def _walks(folder: Path, groups: dict[str, list[Row]]) -> list[Block]:
    places = {label: Variant(label, "").place for label in groups}
    found = {label: place for label, place in places.items() if picture(folder, place).exists()}
    if not found:
        return []
    words = "A row a dimension, those that carry most first, from -3 to 3; the others at an example's mean. Seed 0."
    shown = [image(picture(Path(), place).as_posix(), label) for label, place in found.items()]
    return [heading("Walks along the dimensions"), plain(words), *shown]
