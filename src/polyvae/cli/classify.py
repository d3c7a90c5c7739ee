"""`polyvae classify`: the classes of examples by a run that knows some, and how good they are."""

from __future__ import annotations

import csv
import json as json_module
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import Tensor

from polyvae.cli.arguments import CodePrior, Reading
from polyvae.cli.printing import console, printable
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import Opened, check_own, check_place, chosen_prior, opened
from polyvae.cli.runs import device as usable
from polyvae.data import Split
from polyvae.data.errors import DataError
from polyvae.data.exchange.codes import labels_of
from polyvae.data.exchange.given import taken
from polyvae.data.files.writing import replacing
from polyvae.data.loading import uncut
from polyvae.evaluation.classes import Classified, class_latent, known_labels
from polyvae.evaluation.classes import classify as classified
from polyvae.evaluation.tables import number

_KEPT = ("label", "size", "centre", "binarise", "kind")  # of how a run's data were read, for data of one's own
_MEASURES = {
    "error": "error, %",
    "log_loss": "-log p, nats",
    "brier": "Brier",
    "calibration_error": "calibration error",
}


def classify(
    data: str | None = None,
    out: Path | None = None,
    code_prior: CodePrior | None = None,
    json: bool = False,
    *,
    reading: Reading,
) -> None:
    """Says of which class examples are, and how probable each class is; measured where they have labels.

    It takes a run of m2, of vade or gmvae, whose clusters are named by the labels of the training part, or one with the
    learned prior "labelled". Probabilities are scaled by a temperature where the validation part has labels.

    data: a name of `polyvae datasets`, or a path of data with the same columns or pictures; the run's own where none is
        given.
    out: the table that is written, a .csv; DIR/classes.csv where none is given.
    code_prior: the run's own prior, which of a vector-quantised run is uniform, or the learned one, which is taken
        where there is one.
    json: print one JSON document.

    Example: polyvae classify runs/few --split test --json
    """
    place = reading.run / "classes.csv" if out is None else out
    if place.suffix.lower() != ".csv":
        raise UsageError(f"--out is a table, such as classes.csv; got {place}")
    check_place(place)
    check_own(place, b"example,")
    found, target = opened(reading.run, reading.data_dir), usable(reading.device)
    found = replace(found, run=chosen_prior(found.run, code_prior))
    spec: Any = found.run.spec
    if class_latent(found.run.model) is None:
        raise UsageError(
            f"{reading.run} has no classes: train m2, vade or gmvae, or fit a prior with them, `polyvae fit-prior "
            f"{reading.run} labelled`"
        )
    if spec.classes is None:
        raise UsageError(f"{reading.run} was trained on data without labels, which would name its classes")
    found.run.model.to(target)
    part, split = _examples(found, data, reading.split)
    held = None if part == "validation" else found.data.validation
    made = classified(found.run, split, found.data.train, held, spec.classes, reading.seed)
    _write(place, made, split, labels_of(spec))
    files = [place]
    if made.raw is not None:
        from polyvae.figures import draw, reliability

        files.append(draw(reliability(made), place.with_name(f"{place.stem}-reliability.png"), "Reliability"))
    _say(made, split, part, files, json)


def _examples(found: Opened, data: str | None, part: str | None) -> tuple[str, Split]:
    """What is classified, and what it is called."""
    if data is None:
        return found.split(part)
    if part is not None:
        raise UsageError("--split is a part of the run's own data; leave it away, or --data")
    call = found.run.description["data"].get("call") or {}
    options = {name: call[name] for name in _KEPT if name in call}
    try:
        made = uncut(data, found.data_dir, **options)
    except DataError:
        if options.pop("label", None) is None:
            raise
        made = uncut(data, found.data_dir, **options)  # what is to be classified need not have labels
    return data, taken(made, found.run.spec)


def _write(place: Path, made: Classified, split: Split, names: tuple[str, ...]) -> None:
    """The table: a row for each example, its label where it is known, its likeliest class, what each class has."""
    labels, sure = known_labels(split), made.probabilities.max(1)
    told: Tensor | None = None if labels is None else labels[0].masked_fill(~labels[1], -1)
    with replacing(place) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["example", *(["label"] if told is not None else []), "class", "probability", *names])
        for row, each in enumerate(made.probabilities.tolist()):
            label = [] if told is None else ["" if told[row] < 0 else names[int(told[row])]]
            chosen = names[int(sure.indices[row])], f"{float(sure.values[row]):.6f}"
            writer.writerow([row, *label, *chosen, *(f"{value:.6f}" for value in each)])


def _say(made: Classified, split: Split, part: str, files: list[Path], json: bool) -> None:
    if json:
        told = {"split": part, "examples": len(split), "temperature": made.temperature, "raw": made.raw}
        told |= {"calibrated": made.calibrated, "files": list(map(str, files))}
        print(json_module.dumps({name: printable(value) for name, value in told.items()}))
        return
    if made.raw is not None:
        shown = Table("probabilities", title=f"{len(split):,} examples of {part}", title_justify="left")
        for words in _MEASURES.values():
            shown.add_column(words, justify="right")
        rows = {"as they come": made.raw, f"temperature {made.temperature or 1:.2f}": made.calibrated}
        for name, row in rows.items():
            if row is not None:
                values = [100 * row["error"], *(row[key] for key in list(_MEASURES)[1:])]
                shown.add_row(name, *(number(value, 2 if place == 0 else 4) for place, value in enumerate(values)))
        console().print(shown)
    if made.temperature is None:
        print("no temperature: no example with a label was left out of the training", file=sys.stderr)
    print("\n".join(map(str, files)))
