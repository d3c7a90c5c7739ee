"""The report of the study of completion, made of its tables and pictures alone: Markdown, one page, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.files.writing import write_text
from polyvae.evaluation.numbers import number
from polyvae.figures.plots import save
from polyvae.study.completion.figures import curves, sheet
from polyvae.study.completion.jobs import MODEL
from polyvae.study.completion.masks import words
from polyvae.study.completion.protocol import BEFORE
from polyvae.study.completion.published import Quoted, quoted
from polyvae.study.completion.readings import READINGS
from polyvae.study.completion.sections import HOW, SCORES, chosen, costs, fields, made_by, setup, sources, stated, table
from polyvae.study.completion.study import tables
from polyvae.study.completion.table import Compared, Line, ablation, compared, lines, masks
from polyvae.study.document import Block, TextTable, code, heading, image, plain
from polyvae.study.page import written
from polyvae.study.records import StudyError, read_study
from polyvae.study.statistics import FAILS, HOLDS, together
from polyvae.study.variants import Variant

FIGURES = "figures"
CLAIMS = {
    "mse": "its squared error is that of the best baseline at most, but for the standard error of the difference",
    "crps": "its CRPS is below that of every baseline",
}
COLUMNS: tuple[str, ...] = ("method", "kind", "mask", "score", "mean", "error", "pictures", "reading")


@dataclass(frozen=True)
class Report:
    """A report that was written: its two files, its lines, and each model beside the best baselines."""

    markdown: Path
    page: Path
    lines: tuple[Line, ...]
    masks: tuple[str, ...]
    verdicts: Mapping[str, Mapping[str, Sequence[Compared]]]

    def text(self) -> str:
        """A line for each method, squared error and CRPS by mask, and what holds of each model."""
        width = max(len(line.label) for line in self.lines)

        def said(line: Line, score: str) -> str:
            return " ".join(number(line.mean(mask, score).value, 3) for mask in self.masks)

        runs = sum(len(line.runs) for line in self.lines)
        head = f"{runs} run{'s' * (runs != 1)}; squared error, CRPS at {', '.join(self.masks)}"
        body = [f"{line.label:<{width}}  {said(line, 'mse')}  |  {said(line, 'crps')}" for line in self.lines]
        claims = [
            f"{label}: {CLAIMS[score]}: {_overall(cells)}"
            for label, found in self.verdicts.items()
            for score, cells in found.items()
        ]
        return "\n".join([head, *body, *claims])

    def as_dict(self) -> dict[str, Any]:
        """Every score of every method, as JSON holds it, and the verdicts."""
        return {
            "report": str(self.markdown),
            "page": str(self.page),
            "runs": sum(len(line.runs) for line in self.lines),
            "scores": _scores(self.lines, self.masks),
            "verdicts": {
                label: {
                    score: {"verdict": _overall(cells), "masks": [_plain(asdict(cell)) for cell in cells]}
                    for score, cells in found.items()
                }
                for label, found in self.verdicts.items()
            },
        }


def report(folder: str | Path) -> Report:
    """Writes REPORT.md with its figures, report.html, table.csv and table.json into a study's folder.

    Raises StudyError without a run.
    """
    folder = Path(folder)
    protocol, records = {**BEFORE, **read_study(folder)["protocol"]}, tables().filled(folder)
    if not records.rows:
        raise StudyError(f"{folder} holds no run yet; start the study without --report-only")
    found, names, told = lines(records), masks(records), quoted(protocol["data"])
    verdicts = {
        line.label: {score: cells for score in CLAIMS if (cells := compared(line, found, names, score))}
        for line in found
        if line.kind == MODEL
    }
    blocks: list[Block] = [
        heading(f"Completion: {protocol['data']}", 1),
        plain(setup(found, protocol)),
        code(made_by(found, protocol)),
        *(block for line in found for block in _verdicts(line, verdicts.get(line.label, {}), told)),
        *(block for score in SCORES for block in table(found, names, score, told)),
        *stated(found, names, told),
        *_worth(found, names),
        *_curves(found, names, told, folder),
        *_sheets(found, names, folder),
        *chosen(found, names, READINGS),
        *costs(found),
        *sources(told),
        heading("How it was measured"),
        *map(plain, HOW),
        heading("Fields"),
        fields(),
    ]
    made = Report(*written(blocks, folder), tuple(found), tuple(names), verdicts)
    write_text(folder / "table.csv", _csv(made))
    write_text(folder / "table.json", json.dumps(made.as_dict(), indent=1) + "\n")
    return made


def _overall(cells: Sequence[Compared]) -> str:
    return together([cell.verdict for cell in cells])


def _verdicts(line: Line, found: Mapping[str, Sequence[Compared]], told: Sequence[Quoted]) -> list[Block]:
    """Of a model and each claim, mask by mask: beside the best baseline, what holds and what fails."""
    rows = []
    for score, cells in found.items():
        for cell in cells:
            less = f"{cell.less.value:+.4f} ± {cell.less.error:.4f}"
            where = (SCORES[score], words(cell.mask), number(cell.mine.value, 3), cell.best)
            rows.append((*where, number(cell.theirs.value, 3), less, cell.verdict))
    if not rows:
        return []
    columns = ("claim", "seen", line.label, "best baseline", "its score", "difference", "verdict")
    caption = (
        "Difference: the model less the best baseline, paired over test pictures, ± its standard error. The "
        f"claims, for each mask: {CLAIMS['mse']}; {CLAIMS['crps']}."
    )
    said = "; ".join(f"{SCORES[score]}: {_count(cells)}" for score, cells in found.items())
    text = plain(f"{said}.{_beside(line, told)}")
    return [heading(f"Is {line.label} best?"), text, TextTable(columns, tuple(rows), caption)]


def _count(cells: Sequence[Compared]) -> str:
    """Whether it holds everywhere, and where it does not."""
    missed = [words(cell.mask) for cell in cells if cell.verdict == FAILS]
    if not missed:
        return f"{_overall(cells)} ({len(cells)} of {len(cells)})" if _overall(cells) == HOLDS else _overall(cells)
    return f"missed at {len(missed)} of {len(cells)}: {', '.join(missed)}"


def _beside(line: Line, told: Sequence[Quoted]) -> str:
    """How the model stands beside what is quoted of others: by its mean, and by the law that it states."""
    texts = []
    for each in told:
        said = []
        for score, values in each.scores.items():
            mine = {mask: line.stated.get(mask) if score == "crps" else line.mean(mask, score) for mask in values}
            below = [at.value < values[mask] for mask, at in mine.items() if at is not None and at.count]
            if below:
                what = "CRPS of its stated law" if score == "crps" else SCORES[score].lower()
                said.append(f"{what} at {sum(below)} of {len(below)}")
        texts += [f"{each.label}: {', '.join(said)}"] if said else []
    return f" Below what is quoted: {'; '.join(texts)}." if texts else ""


def _worth(found: Sequence[Line], names: Sequence[str]) -> list[Block]:
    """What the latents of each model are worth: its scores less those of the same network without z."""
    rows = []
    for mine in (line for line in found if line.kind == MODEL):
        bare = ablation(mine, found)
        for score in ("mse", "crps", "energy", "class_loss") if bare is not None else ():
            cells = []
            for mask in names:
                less, theirs = mine.less(bare, mask, score), bare.mean(mask, score).value  # pyright: ignore
                share = f"{100 * less.value / theirs:+.1f} ± {100 * less.error / theirs:.1f}" if less.count else "–"
                cells.append(share)
            rows.append((f"{mine.label}: {SCORES[score]}", *cells))
    caption = (
        "Change in % of the score of the same network without z, trained as long, ± the standard error of the paired "
        "difference: below zero is what the latents are worth."
    )
    columns = ("score", *map(words, names))
    return [heading("What z is worth"), TextTable(columns, tuple(rows), caption)] if rows else []


def _curves(found: Sequence[Line], names: Sequence[str], told: Sequence[Quoted], folder: Path) -> list[Block]:
    points = [name for name in names if name.isdigit()]
    if len(points) < 2:
        return []
    save(curves(found, points, told), folder / FIGURES / "curves.png")
    text = (
        "Scores against the number of seen pixels, with standard errors over test pictures; dotted what is quoted. "
        "Methods far off are cut off above."
    )
    return [heading("Against the number of pixels"), image(f"{FIGURES}/curves.png", text)]


def _sheets(found: Sequence[Line], names: Sequence[str], folder: Path) -> list[Block]:
    held = {}
    for line in found:
        path = folder / "pictures" / f"{Variant(line.label, '').place}-{line.runs[0]['seed']}.npz"
        if path.exists():
            with np.load(path) as arrays:
                held[line.label] = {name: arrays[name] for name in arrays.files}
    blocks: list[Block] = []
    for name in names:
        shown = {
            label: {key: arrays[f"{name}/{key}"] for key in ("truth", "seen", "mean", "draws")}
            for label, arrays in held.items()
            if f"{name}/truth" in arrays
        }
        if shown:
            path = f"{FIGURES}/completed-{name}.png"
            save(sheet(shown, name), folder / path)
            text = (
                f"{words(name)}: the truth and what is seen of it, then each method's mean and its own draws: of its "
            )
            text += "law, or the expected pictures of draws of z, whichever a classifier reads better"
            blocks.append(image(path, f"{text}; some state a mean alone."))
    return [heading("Completed pictures"), *blocks] if blocks else []


def _scores(found: Sequence[Line], names: Sequence[str]) -> list[dict[str, Any]]:
    """A record for each method, mask and score."""
    records = []
    for line in found:
        for mask in names:
            for score in (*SCORES, "varying"):
                mean = line.mean(mask, score)
                if mean.count:
                    reading = line.readings.get((mask, "crps" if score in ("coverage", "varying") else score), "mean")
                    record = (line.label, line.kind, mask, score, mean.value, mean.error, mean.count, reading)
                    records.append(_plain(dict(zip(COLUMNS, record, strict=True))))
            if mask in line.stated:
                own = line.stated[mask]
                record = (line.label, line.kind, mask, "crps of the stated law", own.value, own.error, own.count, "own")
                records.append(_plain(dict(zip(COLUMNS, record, strict=True))))
    return records


def _plain(value: Any) -> Any:
    """Values with None in the place of numbers that are none, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value


def _csv(made: Report) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_scores(made.lines, made.masks))
    return text.getvalue()
