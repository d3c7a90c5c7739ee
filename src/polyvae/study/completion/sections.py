"""The study's report in words: what was run, what is quoted, what was measured and how."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from polyvae.evaluation.numbers import NONE, number
from polyvae.study.completion.jobs import BASELINE
from polyvae.study.completion.masks import words
from polyvae.study.completion.published import PROTOCOL, Quoted
from polyvae.study.completion.table import Line
from polyvae.study.document import Block, TextTable, heading, plain
from polyvae.study.made_by import versions
from polyvae.training.progress import duration

SCORES = {
    "mse": "Squared error",
    "crps": "CRPS",
    "energy": "Energy score of joint draws",
    "class_loss": "Class log loss of draws",
    "coverage": "Coverage of 95 % bands",
}
CAPTIONS = {
    "mse": "Squared error of the mean over unseen pixels, grey levels from 0 to 1, ± the standard error over test "
    "pictures. Smaller is better.",
    "crps": "Continuous ranked probability score over unseen pixels, in grey levels; of a method's best reading on "
    "held-out pictures, see below; what is quoted is of stated laws. Smaller is better.",
    "energy": "Energy score of all unseen pixels of a picture together: what CRPS is for one value, of which joint "
    "draws are better that belong together. Smaller is better.",
    "class_loss": "Minus the logarithm of the chance that a classifier gives the true class, averaged over draws with "
    "the seen pixels put in; nats. Smaller is better.",
    "coverage": "Share in % of unseen pixels within the central 95 % band of the law that the CRPS is told of; 95 is "
    "right. A band of few possible values, such as bits, covers more, and a mean alone next to nothing.",
}
HOW = (
    "Every method sees the same pixels of the same test pictures, and nothing else of them: random pixels of a seeded "
    "mask, or all but what is hidden. Scores are of unseen pixels alone.",
    "Readings: what a method says is read in every way that applies, and for each score that reading counts which is "
    "best on one half of the held-out validation pictures. Draws of its law: joint draws of the law that the method "
    "states, cut off at the limits of grey levels; of a Bernoulli likelihood these are bits. Means of its draws of z: "
    "the expected pictures of single draws. Its mean alone: a point, whose CRPS is the absolute error. Alike means: "
    "the values of the other half of the held-out pictures at which the method had predicted about the same mean, a "
    "hundredth of them; single values then know nothing of each other. Every reading of every method is in cells.csv.",
    "Baselines: normal-law, the normal law with the training part's mean and covariance, and the ridge that is best on "
    "held-out pictures, conditioned on what is seen; separable-normal, a normal law whose colours share one covariance "
    "between pixels, with or without mirror images and at the ridge that is best there; normal-mixture, thirty factor "
    "analysers, conditioned likewise, at the power that is best there; kriging, a stationary law whose kernel is "
    "fitted to the training part; gappy-pca, principal components fitted to the seen pixels, at the rank that is best "
    "on held-out pictures; linear and nearest, interpolation; u-net, a U-Net of 1.3 million parameters that reads "
    "(picture, mask), trained on the same masks for the same time with the cross-entropy of grey levels, whose minimum "
    "is their mean, or with the squared error of colours.",
    "Models: trained for so many minutes each, with validation; the weights of the epoch with the best bound on the "
    "validation part count. The network without z is the decoder of the model with z = 0, trained alone on -log "
    "p(x | m) for as many minutes: the difference is what the latents are worth. A model with "
    "decoder=analysers also reads what thirty factor analysers expect given m, one with decoder=normal-law what a "
    "separable normal law does, whose fit to the training part is counted in those minutes.",
    "Standard errors are over test pictures: s / sqrt(n), of differences between two methods over the differences of "
    "single pictures. Several seeds of one method are averaged picture by picture first.",
)


_MINUTES = {"wall": "minutes of training", "processor": "minutes of a processor in training"}


def setup(found: Sequence[Line], protocol: Mapping[str, Any]) -> str:
    """What was run: how much, on what, with what."""
    rows = [run for line in found for run in line.runs]
    first = rows[0]
    time = (
        f"{protocol['epochs']} epochs"
        if protocol["epochs"]
        else f"{protocol['minutes']:g} {_MINUTES[protocol['clock']]}"
    )
    devices = ", ".join(sorted({row["device"] for row in rows}))
    spent = duration(sum(row["seconds"] for row in rows))
    warmed = f" after {protocol['warmup']} steps of warm-up" if protocol["warmup"] else ""
    warmed += f", weights averaged with decay {protocol['average']:g}" if protocol["average"] else ""
    real = [row["real_class_loss"] for row in rows if row["real_class_loss"] is not None]
    judged = f" The classifier's log loss of the real test pictures is {number(real[0], 3)} nats." if real else ""
    return (
        f"{len(rows)} runs on {first['dataset']}: {first['train']:,} training pictures, {first['test']:,} test "
        f"pictures, {first['held']:,} held-out ones by which readings, ranks and ridges are chosen, "
        f"{first['draws']} draws of each picture; {time} a model, batches of {protocol['batch_size']}, Adam at "
        f"{protocol['lr']:g}, schedule {protocol['schedule']}{warmed}. On {devices}, {spent} of training in all."
        f"{judged} {versions(rows)}. Made by:"
    )


def made_by(found: Sequence[Line], protocol: Mapping[str, Any]) -> str:
    """The command that makes such a study."""
    models = "; ".join(said(line) for line in found if line.kind != BASELINE)
    against = "; ".join(said(line) for line in found if line.kind == BASELINE)
    seeds = 1 + max(run["seed"] for line in found for run in line.runs)
    line = ["polyvae", "study", "completion", "--data", protocol["data"]]
    line += ["--models", models or "none", "--against", against or "none", "--seeds", str(seeds)]
    for name, value in protocol.items():
        if name in ("minutes", "clock") and protocol["epochs"]:
            continue
        if isinstance(value, bool):
            line += [f"--no-{name}"] * (not value)
        elif name != "data" and value not in (None, []):
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            line += [f"--{name.replace('_', '-')}", text]
    return shlex.join(line)


def said(line: Line) -> str:
    """A method as the command says it."""
    options = ",".join(f"{name}={_text(value)}" for name, value in line.options.items())
    call = line.runs[0]["recipe"] + (f":{options}" if options else "")
    return call if call == line.label else f"{call} as {line.label}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{value[0]}]" if len(value) == 1 else ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def table(found: Sequence[Line], masks: Sequence[str], score: str, told: Sequence[Quoted]) -> list[Block]:
    """A table of one score: a row a method, a column a mask; none where nobody has it."""
    known = [line for line in found if any(line.mean(mask, score).count for mask in masks)]
    if not known:
        return []
    scale = 100 if score == "coverage" else 1
    best = {mask: min((line.mean(mask, score).value for line in known), default=0.0) for mask in masks}

    def cell(line: Line, mask: str) -> str:
        mean = line.mean(mask, score)
        if not mean.count:
            return NONE
        text = f"{scale * mean.value:.1f}" if scale > 1 else _figures(mean.value, mean.error)
        return f"{text} (best)" if scale == 1 and mean.value == best[mask] else text

    rows = [(line.label, line.kind, *(cell(line, mask) for mask in masks)) for line in known]
    rows += _quoted(told, masks, score)
    columns = ("method", "kind", *map(words, masks))
    return [heading(SCORES[score]), TextTable(columns, tuple(rows), CAPTIONS[score])]


def stated(found: Sequence[Line], masks: Sequence[str], told: Sequence[Quoted]) -> list[Block]:
    """The CRPS of what methods state themselves, which is what others quote."""
    rows = [
        (line.label, line.kind, *(_figures(at.value, at.error) if (at := line.stated.get(m)) else NONE for m in masks))
        for line in found
    ]
    caption = (
        "CRPS of draws of the law that each method states by itself, of a Bernoulli likelihood bits; the absolute "
        "error where it states a mean alone."
    )
    rows += _quoted(told, masks, "crps")
    return [heading("CRPS of stated laws"), TextTable(("method", "kind", *map(words, masks)), tuple(rows), caption)]


def _quoted(told: Sequence[Quoted], masks: Sequence[str], score: str) -> list[tuple[str, ...]]:
    """Rows of what is quoted of a score at some of the masks."""
    known = [(each.label, each.scores.get(score, {})) for each in told]
    return [
        (label, "quoted", *(number(values.get(mask), 3) for mask in masks))
        for label, values in known
        if set(values) & set(masks)
    ]


def _figures(value: float, error: float) -> str:
    """Four decimals of scores below ten, the error beside them."""
    places = 4 if abs(value) < 1 else 3
    return f"{value:.{places}f} ± {error:.{places}f}" if error == error else f"{value:.{places}f}"


def chosen(found: Sequence[Line], masks: Sequence[str], names: Mapping[str, str]) -> list[Block]:
    """By which reading each score is told, where methods differ from mask to mask too."""
    known = {score for line in found for _, score in line.readings}
    scores = [score for score in SCORES if score in known]

    def cell(line: Line, score: str) -> str:
        where: dict[str, list[str]] = {}
        for mask in masks:
            if (mask, score) in line.readings:
                where.setdefault(names[line.readings[mask, score]], []).append(words(mask))
        if len(where) < 2:
            return next(iter(where), NONE)
        return "; ".join(f"{reading}: {', '.join(those)}" for reading, those in where.items())

    rows = [(line.label, *(cell(line, score) for score in scores)) for line in found]
    columns = ("method", *(SCORES[score] for score in scores))
    caption = "How what a method says was read, as held-out pictures chose."
    return [heading("How methods were read"), TextTable(columns, tuple(rows), caption)] if scores else []


def costs(found: Sequence[Line]) -> list[Block]:
    """What methods cost to train and to ask."""
    rows = []
    for line in found:
        run = line.runs[0]
        parameters = f"{run['parameters']:,}" if run.get("parameters") else NONE
        epochs = str(run["epochs"]) if run["epochs"] else NONE
        speed = number(run["completions_per_second"], 3)
        rows.append((line.label, parameters, epochs, duration(run["seconds"]), speed, str(len(line.runs))))
    columns = ("method", "parameters", "epochs", "training", "completions a second", "seeds")
    caption = f"Of the first seed; a completion is a picture's mean and {found[0].runs[0]['draws']} draws."
    return [heading("Costs"), TextTable(columns, tuple(rows), caption)]


def sources(told: Sequence[Quoted]) -> list[Block]:
    """Where what is quoted is told."""
    if not told:
        return []
    return [heading("Quoted figures"), plain(PROTOCOL), *(plain(f"{each.label}: {each.source}.") for each in told)]


def fields() -> str:
    """Where the same question is answered of fields."""
    return plain(
        "Fields from a few sensors, the cylinder wake and vortices beside Gaussian-process regression, are measured by "
        "examples/fields.py; its tables stand in docs/fields.md and results/fields."
    )
