"""The report of a comparison, made of its tables alone: as Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from polyvae.evaluation.numbers import NONE, number
from polyvae.figures.plots import save
from polyvae.study.compare.figures import figures
from polyvae.study.compare.sections import facts, how, notes, published, without
from polyvae.study.compare.study import failures, tables
from polyvae.study.compare.table import Line, lines
from polyvae.study.document import Block, TextTable, code, heading, image, plain
from polyvae.study.made_by import command
from polyvae.study.page import written
from polyvae.study.records import Key, StudyError, read_study

FIGURES = "figures"
COLUMNS = (
    "recipe", "seeds", "bound", "NLL", "NLL published", "squared error", "Fréchet, own prior", "Fréchet, fitted prior",
    "active units", "parameters", "ms a step", "memory, MB",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """A report that was written: its two files, and its lines, the best likelihood first."""

    markdown: Path
    page: Path
    lines: tuple[Line, ...]
    failed: Mapping[Key, str]

    def text(self) -> str:
        """A line for each recipe."""
        width = max(len(line.label) for line in self.lines)
        found = [
            f"{line.label:<{width}}  bound {line.spread('bound')}, NLL {line.spread('nll')}, Fréchet "
            f"{line.spread('frechet')}, fitted {line.spread('frechet_fitted')}, active units {line.spread('active')}"
            for line in self.lines
        ]
        return "\n".join([f"{sum(len(line.runs) for line in self.lines)} runs, ± over seeds", *found])

    def as_dict(self) -> dict[str, Any]:
        """The recipes with their runs, as JSON holds them."""
        return {
            "report": str(self.markdown),
            "page": str(self.page),
            "runs": sum(len(line.runs) for line in self.lines),
            "recipes": [
                {
                    "label": line.label,
                    "published": None if line.published is None else line.published.nll,
                    "runs": [dict(run) for run in line.runs],
                }
                for line in self.lines
            ],
        }


def report(folder: str | Path) -> Report:
    """Writes REPORT.md with its figures and report.html into a comparison's folder, of its tables.

    Raises StudyError for a folder without a study or without a run.
    """
    folder = Path(folder)
    protocol = read_study(folder)["protocol"]
    rows = list(tables().filled(folder).rows.values())
    failed = failures(folder)
    if not rows:
        raise StudyError(f"{folder} holds no run yet; start the study without --report-only")
    found = lines(rows, protocol)
    blocks: list[Block] = [
        heading(f"Recipes on {protocol['data']}: the same networks and budget", 1),
        plain(facts(rows, protocol)),
        code(command("compare", {line.label: line.runs for line in found}, protocol)),
        heading("The table"),
        TextTable(COLUMNS, tuple(map(_row, found)), "Mean ± standard deviation over seeds; a single seed has none."),
        *[plain(each) for each in notes(found, rows)],
        *without(failed),
        *_plots(found, rows, folder),
        *published(found),
        heading("How it was measured"),
        *[plain(each) for each in how(rows, protocol)],
    ]
    return Report(*written(blocks, folder), tuple(found), failed)


def _row(line: Line) -> tuple[str, ...]:
    seconds, fitted = line.mean("step_seconds"), not any(run["parameters"] for run in line.runs)
    return (
        line.label,
        str(len(line.runs)),
        line.spread("bound", 5),
        line.spread("nll", 5),
        NONE if line.published is None else f"{line.published.nll:.2f}",
        line.spread("mse"),
        line.spread("frechet"),
        line.spread("frechet_fitted"),
        f"{active} of {line.runs[0]['latent']}" if (active := line.spread("active", 3)) != NONE else NONE,
        NONE if fitted else " + ".join(f"{count:,}" for count in line.parameters if count),
        NONE if not isfinite(seconds) else number(1000 * seconds, 3),
        number(line.mean("memory_mb"), 3),
    )


def _plots(found: Sequence[Line], rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Block]:
    real = next((row["frechet_real"] for row in rows if row["frechet_real"] is not None), None)
    blocks: list[Block] = []
    for name, (figure, words) in figures(found, real).items():
        save(figure, folder / FIGURES / f"{name}.png")
        titles = {"likelihood": "Likelihood", "pictures": "Bound and pictures"}
        blocks += [heading(titles[name]), image(f"{FIGURES}/{name}.png", words)]
    return blocks
