"""The report of a study, made of its records alone: tables, verdicts, plots, as Markdown and as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyvae.figures.plots import save
from polyvae.study.document import Block, code, heading, image, plain
from polyvae.study.page import written
from polyvae.study.records import StudyError, read_study
from polyvae.study.thesis.claims import TEXTS, Judged, judge
from polyvae.study.thesis.figures import figures
from polyvae.study.thesis.provenance import chosen, command, facts, mixtures
from polyvae.study.thesis.published import SOURCE
from polyvae.study.thesis.records import Records
from polyvae.study.thesis.sections import claims, differences, observed, parts, results, sizes
from polyvae.study.thesis.study import cells_of, picture
from polyvae.study.thesis.table import Table

FIGURES = "figures"
HOW = (
    "Every number is measured by our own evaluation on the validation fold, with the weights of the best epoch by the "
    "plain bound on that fold: squared error per value of the reconstruction without m (two decoders: the decoder that "
    "does not see m; one decoder: at the empty mask), z drawn from the posterior; KL in nats, or codebook + 0.25 "
    "commitment cost as a mean over the elements of z. Networks, optimiser, data and folds of a method are those of "
    "the baseline; what the decoder with m has more is in the counts of parameters."
)
STATISTICS = (
    "Differences are paired by fold, over the folds that both sides have; intervals are Student's at 95 %, with as "
    "many values as folds. The folds share most of their training images, so the intervals are somewhat too narrow. A "
    "claim holds where the interval lies wholly on the claimed side, fails where it lies wholly on the other, and is "
    "undecided else; a claim of several parts holds with all of them and fails with one."
)
PUBLISHED = (
    f"Published: {SOURCE}, means over five folds of the last validation values; the deviations are the roots of the "
    "variances printed there. Of the Gaussian models' reconstructions most of those variances exceed what five "
    "non-negative numbers of that mean can have; they are read as of the error summed over the picture. Known of the "
    "published runs: all exponents were really 40, the VQ runs of two decoders trained one decoder twice, the VQ "
    "baseline's decoder was not mirrored, validation updated BatchNorm's statistics, pixels were drawn with "
    "replacement. Ours are the methods as described."
)


@dataclass(frozen=True)
class Report:
    """A report that was written: its two files, and the claims as judged."""

    markdown: Path
    page: Path
    judged: tuple[Judged, ...]
    runs: int

    def text(self) -> str:
        """The verdicts, a line each."""
        lines = [
            f"{each.verdict:<10} ({each.claim}) {TEXTS[each.claim]} [{each.dataset}, configuration {each.config}"
            f"{f'; {each.mixed}' if each.mixed else ''}]"
            for each in self.judged
        ]
        return "\n".join([f"{self.runs} runs", *lines])

    def as_dict(self) -> dict[str, Any]:
        """The verdicts and their numbers, as JSON holds them."""
        return {
            "report": str(self.markdown),
            "page": str(self.page),
            "runs": self.runs,
            "claims": [
                {
                    "claim": judged.claim,
                    "text": TEXTS[judged.claim],
                    "dataset": judged.dataset,
                    "config": judged.config,
                    "verdict": judged.verdict,
                    "parts": [
                        {
                            "text": part.text,
                            "mean": part.found.mean,
                            "low": part.found.low,
                            "high": part.found.high,
                            "folds": part.found.count,
                            "relative": part.relative,
                            "precision": part.precisions.text,
                            "mixed": part.precisions.mixed,
                            "verdict": part.verdict,
                        }
                        for part in judged.parts
                    ],
                }
                for judged in self.judged
            ],
        }


def report(folder: str | Path) -> Report:
    """Writes REPORT.md with its figures and report.html into a study's folder, of its CSV files and pictures.

    Raises StudyError for a folder without a study or without a run.
    """
    folder = Path(folder)
    protocol = read_study(folder)["protocol"]
    records = Records.read(folder)
    if not records.rows:
        raise StudyError(f"{folder} holds no run yet; start the study without --report-only")
    table = Table(records.rows[key] for key in sorted(records.rows))
    judged = tuple(judge(table))
    blocks: list[Block] = [
        heading("Multitask variational autoencoders: the study again", 1),
        *facts(table, protocol),
        code(command(table, protocol)),
        heading("The claims"),
        *claims(judged),
        *mixtures(judged),
        heading("Results beside the published ones"),
        plain(HOW),
        chosen(table),
        plain(PUBLISHED),
        *(block for group in table.groups for block in results(table, group)),
        heading("Differences to the baseline"),
        plain(STATISTICS),
        *(block for group in table.groups for block in differences(table, group)),
        heading("What each verdict rests on"),
        *parts(judged),
        heading("Error by mask size"),
        *sizes(table, records),
        heading("Pixels seen in training"),
        *observed(table),
        heading("Plots"),
        *_plots(table, records, folder),
        *_pictures(table, folder),
    ]
    return Report(*written(blocks, folder), judged, len(records.rows))


def _plots(table: Table, records: Records, folder: Path) -> list[Block]:
    blocks: list[Block] = []
    for name, (figure, words) in figures(table, records).items():
        save(figure, folder / FIGURES / f"{name}.png")
        # A heading between pictures keeps them as wide as the page; small ones in a row stand side by side.
        blocks += [heading(words.split(":")[0] + ", " + name.split("-")[0], 3), image(f"{FIGURES}/{name}.png", words)]
    return blocks


def _pictures(table: Table, folder: Path) -> list[Block]:
    """The grids of examples that runs have left."""
    found = [cell for cell in cells_of(table.rows) if picture(folder, cell.name).exists()]
    if not found:
        return []
    words = (
        "Rows: examples of the validation fold, what m shows of them (blue is not seen), the reconstruction without m, "
        "the reconstruction with m; of a baseline examples and reconstructions. At the posterior's mean."
    )
    shown = [image(picture(Path(), cell.name).as_posix(), cell.name) for cell in found]
    return [heading("Pictures"), plain(words), *shown]
