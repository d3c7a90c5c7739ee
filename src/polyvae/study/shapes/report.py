"""The report of the shapes assignment, made of its tables and pictures alone, as Markdown and one HTML page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyvae.evaluation.numbers import NONE, number, plus_minus
from polyvae.study.document import Block, TextTable, code, heading, image, plain
from polyvae.study.made_by import versions
from polyvae.study.page import written
from polyvae.study.records import StudyError, read_study
from polyvae.study.shapes.claims import VAE, Judged, Line, Readings, capacities, judged
from polyvae.study.shapes.discussion import discussion
from polyvae.study.shapes.judge import JUDGE
from polyvae.study.shapes.measure import capacity_bits, sheet
from polyvae.study.shapes.published import COUNTED, EPOCHS, PUBLISHED, SOURCE, read
from polyvae.study.shapes.study import tables
from polyvae.study.statistics import interval
from polyvae.study.tables import Tables
from polyvae.study.variants import Variant

HOW = (
    "Every variant is a network of the same sizes, read at several epochs of one training of each seed: the best of "
    "the epochs so far, by the plain bound of the VAE, by the loss of the others. All numbers are of new pictures that "
    "neither a training nor the judge has seen. z is drawn once for each, as training has it; beside it stands what "
    "is made of the code without its noise. Means over the seeds, their standard deviation behind ±. The VAE learns "
    "the variance of its likelihood, which decides how much it tells; how much a channel tells its noise decides, and "
    "its cost is the squared error summed over the pixels, a normal law of variance 1/2. Kinds: by how many of the "
    "three shapes the random pictures are shared, exp of the entropy of what they are recognised as. Processor: "
    "seconds of one thread that so many epochs take, of one run of each variant."
)
CHANNEL = (
    "noise v: the encoder says f(x), whose values an MMD holds to variance 1; noise of variance v is added, and the "
    "decoder reads the sum, in units in which its variance is 1. The prior is the same normal law of variance 1 + v."
)
BITS = (
    "Rate: E KL(q(z | x) || p(z)), what a code costs. I(x; z) lies above the first number, an estimate whose aggregate "
    "is {examples:,} pictures and which cannot exceed their logarithm, {limit} bits, and below the second, by the rate "
    "and an estimate of the entropy of a normal law of q(z)'s covariance. Capacity: d/2 log2(1 + 1/v), what a channel "
    "tells whose codes fill the prior. KL(q(z) || p(z)): the rate less I(x; z), between what both leave. The bounds "
    "are on the density of all pixels, K = {samples} the importance-weighted one's."
)


@dataclass(frozen=True)
class Report:
    """A report that was written: its two files, the readings' means and what the claims came to."""

    markdown: Path
    page: Path
    runs: int
    means: Mapping[str, Mapping[int, Mapping[str, float]]]
    judged: Sequence[Judged]

    def text(self) -> str:
        """A line for each variant and reading, then the claims at the last one."""
        lines = [
            f"{label}, {epochs} epochs: error {number(found['error_sum'], 3)}, test recognised "
            f"{found['right_test']:.1%}, random {found['recognised_random']:.1%}, rate {number(found['rate_bits'], 3)}"
            for label, readings in self.means.items()
            for epochs, found in readings.items()
        ]
        last = max((each.epochs for each in self.judged), default=0)
        verdicts = [f"{each.verdict:<10} {each.text}" for each in self.judged if each.epochs == last]
        return "\n".join([f"{self.runs} runs", *lines, *verdicts])

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        claims = [
            {**vars(each), "found": vars(each.found), "most": None if each.most is None else vars(each.most)}
            for each in self.judged
        ]
        files = {"report": str(self.markdown), "page": str(self.page), "runs": self.runs}
        return {**files, "means": self.means, "claims": claims}


def report(folder: str | Path) -> Report:
    """Writes REPORT.md and report.html into a study's folder. Raises StudyError for one without a run."""
    folder = Path(folder)
    protocol, records = read_study(folder)["protocol"], tables().filled(folder)
    if not records.rows:
        raise StudyError(f"{folder} holds no run yet; start the study without --report-only")
    rows, epochs = [*records.rows.values()], protocol["readings"]
    readings, d = gathered(records), protocol["latent"]
    noises = {row["label"]: json.loads(row["options"]).get("noise", 0.0) for row in rows}
    readings = {label: readings[label] for label in sorted(readings, key=noises.__getitem__)}
    steps = -(-protocol["pictures"] // protocol["batch_size"])
    costs = {row["label"]: steps * row["step_seconds"] for row in rows if row["step_seconds"]}
    found = [*judged(readings, epochs), *capacities(readings, epochs, noises.__getitem__, d)]
    capacity = {label: capacity_bits(noise, d) for label, noise in noises.items() if noise}
    blocks: list[Block] = [
        heading("The shapes assignment", 1),
        plain(f"{len(rows)} runs on {protocol['pictures']:,} pictures. {versions(rows)}. Made by:"),
        code(_command(noises, rows, protocol)),
        heading("The table"),
        plain(HOW),
        plain(CHANNEL),
        *(_main(readings, at, costs) for at in epochs),
        plain(f"Published: {SOURCE}, where {COUNTED['test']} and {COUNTED['random']} pictures were judged by eye."),
        heading("What the published losses were"),
        *map(plain, read(protocol["size"])),
        heading("Bits"),
        plain(_told(readings)),
        _bits(readings, epochs, capacity),
        heading("Claims"),
        _claims(found, epochs),
        heading("Discussion"),
        *map(plain, discussion(readings, epochs, found, capacity)),
        *_judge(folder),
        *_sheets(folder, readings, epochs),
    ]
    means = {label: {at: _means(seeds) for at, seeds in held.items()} for label, held in readings.items()}
    return Report(*written(blocks, folder), len(rows), means, found)


def gathered(records: Tables) -> Readings:
    """The readings by label, epochs and seed."""
    found: dict[str, dict[int, dict[int, Line]]] = {}
    for (label, seed), lines in records.lines["readings"].items():
        for line in lines:
            found.setdefault(label, {}).setdefault(line["epochs"], {})[seed] = line
    return found


def _command(noises: Mapping[str, float], rows: Sequence[Mapping[str, Any]], protocol: Mapping[str, Any]) -> str:
    words = ["polyvae", "study", "shapes", "--seeds", str(1 + max(row["seed"] for row in rows))]
    given = {"noises": sorted(noise for noise in noises.values() if noise), **protocol}
    for name, value in given.items():
        text = ",".join(f"{each:g}" for each in value) if isinstance(value, list) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def _means(seeds: Mapping[int, Line]) -> dict[str, float]:
    names = [name for name, value in next(iter(seeds.values())).items() if isinstance(value, float)]
    held = {name: [line[name] for line in seeds.values() if line[name] is not None] for name in names}
    return {name: sum(values) / len(values) for name, values in held.items() if values}


def _cell(seeds: Mapping[int, Line], name: str, scale: float = 1.0) -> str:
    values = [scale * line[name] for line in seeds.values() if line[name] is not None]
    found = interval(values) if values else None
    return NONE if found is None else plus_minus(found.mean, found.sd)


def _main(readings: Readings, epochs: int, costs: Mapping[str, float]) -> TextTable:
    columns = (
        "model", "seeds", "squared error, sum", "a pixel", "without noise, sum", "test, recognised", "as what it is",
        "without noise, as what it is", "random, recognised", "kinds",
        "processor, s",
    )  # fmt: skip
    lines = []
    for label, held in readings.items():
        seeds = held.get(epochs, {})
        if not seeds:
            continue
        shares = ("recognised_test", "right_test", "right_without_noise", "recognised_random")
        errors = [_cell(seeds, name) for name in ("error_sum", "error_mean", "error_sum_without_noise")]
        seconds = f"{epochs * costs[label]:.0f}" if label in costs else NONE
        shown = [_cell(seeds, name, 100) for name in shares]
        lines.append((label, str(len(seeds)), *errors, *shown, _cell(seeds, "kinds_random"), seconds))
        if epochs == EPOCHS and label in PUBLISHED:
            theirs = PUBLISHED[label]
            shown = f"{theirs.test:.2%}".removesuffix("%"), NONE, NONE, f"{theirs.random:.2%}".removesuffix("%")
            losses = (number(theirs.loss, 5), NONE, NONE) if label == VAE else (NONE, number(theirs.loss, 5), NONE)
            lines.append((f"{label}, published", "1", *losses, *shown, NONE, f"{theirs.seconds:.0f}"))
    return TextTable(columns, tuple(lines), f"At {epochs} epochs; shares in percent.")


def _told(readings: Readings) -> str:
    line = next(iter(next(iter(next(iter(readings.values())).values())).values()))
    limit = line["information_limit_bits"]
    return BITS.format(examples=round(2**limit), limit=number(limit, 4), samples=line["samples"])


def _bits(readings: Readings, epochs: Sequence[int], capacity: Mapping[str, float]) -> TextTable:
    columns = (
        "model", "epochs", "rate", "I(x; z), estimate", "I(x; z), at most", "capacity",
        "KL(q(z) || p(z)), at least", "at most", "plain bound, nats", "importance-weighted",
    )  # fmt: skip
    bits = ("rate_bits", "information_bits", "information_most_bits")
    lines = [
        (
            label,
            str(at),
            *(_cell(readings[label][at], name) for name in bits),
            number(capacity.get(label), 4),
            *(
                _cell(readings[label][at], name)
                for name in ("marginal_kl_least_bits", "marginal_kl_bits", "bound", "importance_bound")
            ),
        )
        for label in readings
        for at in epochs
        if at in readings[label]
    ]
    return TextTable(columns, tuple(lines), "Bits an example, but where nats are said.")


def _claims(found: Sequence[Judged], epochs: Sequence[int]) -> TextTable:
    lines: dict[tuple[str, str], dict[int, Judged]] = {}
    for each in found:
        lines.setdefault((each.text, each.whose), {})[each.epochs] = each
    rows = [
        (text, whose, *(cell for at in epochs for cell in _verdict(held.get(at))))
        for (text, whose), held in lines.items()
    ]
    columns = ("claim", "whose", *(cell for at in epochs for cell in (f"difference, {at}", f"{at} epochs")))
    caption = (
        "Differences paired by seed, with their deviation, in the unit of the column, shares as shares of one; a "
        "claim holds or fails where Student's interval at 95 % lies wholly on one side, and is undecided else. Of what "
        "is known between two values alone, the smallest and the largest difference that they leave must agree. Of "
        "verdicts on no difference at all one in twenty is wrong; for their number, here {count}, nothing is corrected."
    )
    return TextTable(columns, tuple(rows), caption.format(count=len(found)))


def _verdict(each: Judged | None) -> tuple[str, str]:
    if each is None:
        return NONE, NONE
    shown = [plus_minus(found.mean, found.sd) for found in (each.found, each.most) if found is not None]
    return " to ".join(shown), each.verdict


def _judge(folder: Path) -> list[Block]:
    if not (folder / JUDGE).exists():
        return []
    held = json.loads((folder / JUDGE).read_text(encoding="utf-8"))
    rows = [
        (name, f"{100 * share:.1f}", NONE if f"{name}, right" not in held else f"{100 * held[f'{name}, right']:.1f}")
        for name, share in held.items()
        if not name.endswith(", right")
    ]
    words = (
        "A classifier of clean shapes, two in three of them blurred by up to 1.5 pixels, that knows scrambled "
        "pictures, blends of two and washed-out ones as no shape. It recognises a shape where it gives one "
        "label more than half."
    )
    caption = (
        "What the judge says of new pictures, percent: shapes, what it was trained to refuse, and kinds of broken "
        "shapes that it never saw. Where it takes these for shapes, what it recognises of random pictures is too much."
    )
    table = TextTable(("pictures", "recognised", "as what they are"), tuple(rows), caption)
    return [heading("The judge"), plain(words), table]


def _sheets(folder: Path, readings: Readings, epochs: Sequence[int]) -> list[Block]:
    blocks: list[Block] = []
    for at in epochs:
        for label in readings:
            name = f"{Variant(label, '').place}-{at}"
            for what, words in (("test", "16 test pictures"), ("random", "25 random pictures")):
                if (folder / sheet(Path(), name, what)).exists():
                    blocks.append(image(sheet(Path(), name, what).as_posix(), f"{label}, {at} epochs: {words}"))
    if (folder / sheet(Path(), "", "new")).exists():
        blocks.insert(0, image(sheet(Path(), "", "new").as_posix(), "The 16 test pictures themselves"))
    return [heading("Sheets"), plain("Of the first seed."), *blocks] if blocks else []
