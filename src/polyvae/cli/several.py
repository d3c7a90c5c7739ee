"""What `polyvae evaluate`, `sample` and `reconstruct` do with runs of several modalities."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from torch import Tensor

from polyvae.cli.arguments import Reading, Writing
from polyvae.cli.printing import console, stacked
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import Opened
from polyvae.cli.runs import device as usable
from polyvae.data.exchange.codes import valued
from polyvae.data.exchange.returned import called
from polyvae.data.files.writing import write_text
from polyvae.evaluation.numbers import number, plus_minus
from polyvae.model.spec import Spec
from polyvae.training.progress import counted

COLUMNS = 16  # of a figure of draws
EXAMPLES = 10  # of a figure of reconstructions
FITTED = "bounds and joint draws are of the fitted prior; --code-prior own leaves it out"


def refuse(options: Any, **more: Any) -> None:
    """UsageError for an option of one x that is given: one that is not as by default, or `more` that is not None."""
    given = [each.name for each in fields(options) if getattr(options, each.name) != each.default]
    if found := [*given, *(name for name, value in more.items() if value is not None)]:
        raise UsageError(f"--{found[0].replace('_', '-')} is for runs of one x; leave it away for several modalities")


def evaluated(
    found: Opened, samples: int | None, reading: Reading, place: Path, json: bool, fitted: bool = False
) -> None:
    """Evaluates a run by judges that are trained first, or kept in its folder, where rows have labels.

    `fitted`: whether its prior was fitted afterwards, of which a note tells.
    """
    from polyvae.evaluation.modalities import evaluate_modalities, judges

    part, split = found.split(reading.split)
    whole = replace(found.data, test=split)  # by which judges tell how right they are, too
    labelled = whole.train.labels is not None and split.labels is not None
    if labelled:
        names = ", ".join(whole.spec.values)
        print(f"a judge of each of {names} is trained first, unless the folder keeps it", file=sys.stderr, flush=True)
    asked: dict[str, Any] = {} if samples is None else {"samples": samples}
    asked |= {"judges": judges(whole, found.folder) if labelled else None, "seed": reading.seed}
    asked["device"] = usable(reading.device)
    with counted("evaluating") as moved:
        report = evaluate_modalities(found.run, whole, progress=moved, **asked)
    of = {name: found.run.description[name] for name in ("recipe", "data")}
    report = {"run": str(reading.run), **of, "split": part, **report}
    report["notes"] += [FITTED] if fitted else []
    write_text(place, json_module.dumps(report, indent=2) + "\n")
    if json:
        print(json_module.dumps(report))
        return
    screen = console()
    for piece in tables(report, found.title(part)):
        for shown in stacked(piece, screen.width) if isinstance(piece, Table) else [piece]:
            screen.print(shown)
    screen.print(f"report: {place}", markup=False, soft_wrap=True)


def tables(report: Mapping[str, Any], title: str) -> list[Table | Text]:
    """A report of `evaluate_modalities` for people: coherence, bounds, predictive densities, probes, notes."""
    made: list[Table | Text] = [Text(title, style="bold")]
    if "coherence" in report:
        made += [_coherence(report), Text(_joint(report))]
    if "bounds" in report:
        made += [_bounds(report), _predictive(report)]
    if "probes" in report:
        rows = [(_names(each["given"]), each["latent"], f"{100 * each['accuracy']:.1f} %") for each in report["probes"]]
        made.append(_table("linear classifiers of latents", ("given", "latent", "accuracy"), rows))
    return [*made, *(Text(f"* {note}") for note in report["notes"])]


def drawn(found: Opened, count: int | None, pixels: bool, title: str, reading: Reading, writing: Writing) -> list[Path]:
    """Modalities drawn together, below each other, as a figure and arrays."""
    from polyvae.evaluation.blocks import evaluating, seeded
    from polyvae.evaluation.modalities.generation import Translator
    from polyvae.figures.modalities import drawn as shown

    count = count or COLUMNS
    count = count if count < COLUMNS else COLUMNS * ceil(count / COLUMNS)
    specs = found.specs
    with evaluating(found.run.model) as device, seeded(device, reading.seed):
        values = Translator(found.run, specs).drawn(count, pixels)
    figure = shown(values, found.split(reading.split)[1], specs, COLUMNS)
    return _written(found, figure, "samples", title, writing, kept(values, specs))


def reconstructed(found: Opened, count: int | None, reading: Reading, writing: Writing) -> list[Path]:
    """Examples, each modality as it is, made of itself and made of all, as a figure and its arrays."""
    from polyvae.evaluation.modalities.given import having, whole
    from polyvae.figures.modalities import RECONSTRUCTED, by_turns, sheet

    specs, split = found.specs, found.split(reading.split)[1]
    figure = sheet(found.run, split, specs, count or EXAMPLES, reading.seed, [RECONSTRUCTED])
    rows = by_turns(having(split, tuple(specs)), count or EXAMPLES, reading.seed)  # which the figure shows
    shown = kept({name: value for name, value in whole(rows).items() if name in specs}, specs)
    held = {"original": shown, "reconstruction": kept(found.run.reconstruct(rows), specs)}
    return _written(found, figure, "reconstructions", "Reconstructions", writing, held)


def kept(values: Mapping[str, Tensor], specs: Mapping[str, Spec]) -> dict[str, Any]:
    """Values [..., D] by modality as files hold them: of categories the numbers that stand for them in the data, or
    codes, with the words of every column as NAME/labels/COLUMN."""
    held: dict[str, Any] = {}
    for name, value in values.items():
        columns = specs[name].columns if name in specs else ()
        words = {
            column.name or str(place): called(column.labels, True)
            for place, column in enumerate(columns)
            if column.labels
        }
        held[name] = valued(torch.as_tensor(value).cpu(), columns)
        held |= {f"{name}/labels/{column}": labels for column, labels in words.items()}
    return held


def _written(found: Opened, figure: Any, name: str, title: str, writing: Writing, values: Any) -> list[Path]:
    from polyvae.figures import draw, save_array

    if figure is None and writing.npz is None:
        names = ", ".join(found.specs)
        raise ValueError(f"none of {names} is a picture, so that there is nothing to show; --npz FILE keeps the values")
    place = writing.out or found.folder / "figures" / f"{name}.png"
    files = [] if figure is None else [draw(figure, place, title)]
    return files if writing.npz is None else [*files, save_array(writing.npz, values)]


def _names(given: Sequence[str]) -> str:
    return ", ".join(given) or "nothing"


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    shown = Table(title=escape(title), title_justify="left")
    for place, heading in enumerate(headings):
        shown.add_column(heading, justify="left" if place == 0 or heading in ("made", "latent") else "right")
    for row in rows:
        shown.add_row(*row)
    return shown


def _coherence(report: Mapping[str, Any]) -> Table:
    rows = [
        (
            _names(each["given"]),
            each["target"],
            f"{100 * each['coherence']:.1f} ± {100 * each['error']:.1f} %",
            f"{100 * report['judges'][each['target']]:.1f} %",
            number(each["frechet"]),
        )
        for each in report["coherence"]
    ]
    headings = ("given", "made", "draws that show the class of their row", "judge, on real values", "Fréchet distance")
    return _table("coherence", headings, rows)


def _joint(report: Mapping[str, Any]) -> str:
    joint = report["joint"]
    share, error = 100 * joint["coherence"], 100 * joint["error"]
    told = f"drawn together, all show one class: {share:.1f} ± {error:.1f} % (real rows {100 * joint['real']:.1f} %)"
    return f"one value of the commonest class for all rows: {100 * report['commonest']:.1f} %\n{told}"


def _bounds(report: Mapping[str, Any]) -> Table:
    rows = [
        (
            _names(each["given"]),
            plus_minus(each["bound"], each["bound_error"]),
            plus_minus(each["importance_bound"], each["importance_bound_error"]),
            number(each["importance_bound_bits"]),
        )
        for each in report["bounds"]
    ]
    weighted = f"importance-weighted, K = {report['samples']}"
    return _table("bounds on log p(x), nats", ("x", "plain", weighted, "bits per dimension"), rows)


def _predictive(report: Mapping[str, Any]) -> Table:
    rows = [
        (_names(each["given"]), _names(each["targets"]), plus_minus(each["log_density"], each["log_density_error"]))
        for each in report["predictive"]
    ]
    return _table("predictive log-density, nats", ("given", "made", "log E p(made | z)"), rows)
