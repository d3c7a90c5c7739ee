"""The report of the study of several modalities, made of its tables and pictures alone, as Markdown and one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyvae.evaluation.numbers import NONE, number
from polyvae.figures.plots import save
from polyvae.study.document import Block, TextTable, code, heading, image, plain
from polyvae.study.multimodal.figures import figures
from polyvae.study.multimodal.measure import WITH, picture
from polyvae.study.multimodal.sections import HOW, made_by, published_values, setup
from polyvae.study.multimodal.study import tables
from polyvae.study.multimodal.table import Line, crosses, lines, places
from polyvae.study.page import written
from polyvae.study.records import StudyError, read_study

FIGURES = "figures"
TITLES = {"coherence": "Coherence", "given": "How much is given", "absent": "Modalities hidden in training"}
JOINT = {"joint": "joint", "joint, fitted prior": "joint_fitted"}  # columns and what they show


@dataclass(frozen=True)
class Report:
    """A report that was written: its two files, and its lines."""

    markdown: Path
    page: Path
    lines: tuple[Line, ...]

    def text(self) -> str:
        """A line for each label: coherence in percent."""
        width = max(len(line.shown) for line in self.lines)
        pairs = [place for place in places(self.lines, "coherence") if crosses(place) and WITH not in place[0]]

        def said(line: Line) -> str:
            found = [f"{given} > {target} {line.spread('coherence', given, target, True)}" for given, target in pairs]
            return ", ".join([*found, f"joint {line.spread('joint', percent=True)}"])

        runs = sum(len(line.runs) for line in self.lines)
        return "\n".join(
            [f"{runs} runs, coherence in %", *(f"{each.shown:<{width}}  {said(each)}" for each in self.lines)]
        )

    def as_dict(self) -> dict[str, Any]:
        """The lines with their runs, as JSON holds them."""

        def measured(line: Line) -> list[dict[str, float]]:
            return [
                {f"{name}:{given}>{target}": value for (name, given, target), value in each.items()}
                for each in line.measures
            ]

        return {
            "report": str(self.markdown),
            "page": str(self.page),
            "runs": sum(len(line.runs) for line in self.lines),
            "models": [
                {"label": line.label, "runs": [dict(run) for run in line.runs], "measures": measured(line)}
                for line in self.lines
            ],
        }


def report(folder: str | Path) -> Report:
    """Writes REPORT.md with its figures and report.html into a study's folder. Raises StudyError without a run."""
    folder = Path(folder)
    protocol, records = read_study(folder)["protocol"], tables().filled(folder)
    if not records.rows:
        raise StudyError(f"{folder} holds no run yet; start the study without --report-only")
    found = lines(records)
    whole = [each for each in found if not each.absent]
    blocks: list[Block] = [
        heading(f"Several modalities: {protocol['data']}", 1),
        plain(setup(found, protocol)),
        code(made_by(found, protocol)),
        *_coherence(whole),
        *_plots(found, folder),
        *published_values(whole[0].runs[0]["dataset"] if whole else ""),
        *_distances(whole),
        *_likelihoods(whole),
        *_probes(whole),
        *_pictures(whole, folder),
        heading("How it was measured"),
        *[plain(each) for each in HOW],
    ]
    return Report(*written(blocks, folder), tuple(found))


def _coherence(found: Sequence[Line]) -> list[Block]:
    every = places(found, "coherence")
    shown = [place for place in every if crosses(place)] + [place for place in every if not crosses(place)]
    columns = ("model", "seeds", *(f"{given} > {target}" for given, target in shown), *JOINT)

    def row(line: Line) -> tuple[str, ...]:
        cells = [line.spread("coherence", given, target, True) for given, target in shown]
        return (line.label, str(len(line.runs)), *cells, *(line.spread(name, percent=True) for name in JOINT.values()))

    rows = [row(line) for line in found]
    if found:
        best = [found[0].spread("accuracy", "", target, True).split(" ")[0] for _, target in shown]
        if told := found[0].values("commonest"):
            rows.append(("one class for all", "", *[f"{100 * told[0]:.1f}"] * len(shown), NONE, NONE))
        agreeing = found[0].spread("joint_real", percent=True).split(" ")[0]
        rows.append(("real values", "", *best, agreeing, agreeing))
    caption = (
        "Coherence in %, mean ± standard deviation over seeds: GIVEN > TARGET, joint draws of the prior, and of a "
        "mixture of normals fitted to the trained model in its place; a target among what is given is reconstructed. "
        "One class for all: the share of the commonest class. Real values: how often the target's judge is right on "
        "them, and how often all judges agree on real rows."
    )
    return [heading("The table"), TextTable(columns, tuple(rows), caption)]


def _plots(found: Sequence[Line], folder: Path) -> list[Block]:
    blocks: list[Block] = []
    for name, (figure, words) in figures(found).items():
        save(figure, folder / FIGURES / f"{name}.png")
        blocks += [heading(TITLES[name]), image(f"{FIGURES}/{name}.png", words)]
    lacking = [each for each in found if each.absent]
    rows = [
        (
            each.model,
            f"{each.absent:.0%}",
            str(len(each.runs)),
            *(each.spread(name, percent=True) for name in ("cross", "joint")),
        )
        for each in sorted(lacking, key=lambda each: (each.model, each.absent))
    ]
    columns = ("model", "chance of hiding", "seeds", "made of one other, %", "joint, %")
    caption = "Coherence where modalities of training rows were hidden, each with this chance, one at least left."
    return [*blocks, *([TextTable(columns, tuple(rows), caption)] if rows else [])]


def _distances(found: Sequence[Line]) -> list[Block]:
    drawn = {"frechet": "joint {}", "frechet_fitted": "joint {}, fitted prior"}
    shown = [(measure, *place) for measure in drawn for place in places(found, measure)]
    if not shown:
        return []
    columns = (
        "model",
        *(f"{given} > {target}" if given else drawn[name].format(target) for name, given, target in shown),
    )
    rows = [(line.label, *(line.spread(*place) for place in shown)) for line in found]
    real = [found[0].mean("frechet_real", "", target) for *_, target in shown]
    rows.append(("real values", *(number(value) for value in real)))
    caption = (
        "Fréchet distance to real test pictures in the features of the target's judge, at the same number of pictures; "
        "it is no FID, and compares within one target alone. Real values: of as many training pictures."
    )
    return [heading("Pictures"), TextTable(columns, tuple(rows), caption)]


def _likelihoods(found: Sequence[Line]) -> list[Block]:
    held = [line for line in found if line.values("importance_bound")]
    if not held:
        return []
    bounds, predicted = places(held, "importance_bound"), places(held, "predictive")
    columns = (
        "model",
        "plain, all",
        *(f"weighted, {given if WITH not in given else 'all'}" for given, _ in bounds),
        *(f"{target} given {given}" for given, target in predicted),
    )
    rows = [
        (
            line.label,
            line.spread("bound"),
            *(_at(line, "importance_bound", given) for given, _ in bounds),
            *(line.spread("predictive", given, target) for given, target in predicted),
        )
        for line in held
    ]
    run = held[0].runs[0]
    caption = (
        f"Nats, on {run['scored']:,} test rows, K = {run['samples']:,}, no weights: plain and importance-weighted "
        "bounds on log p, and the predictive density log E p(x_B | z) over q(z | x_A). Grey values have densities; "
        "models with one kind of likelihood compare."
    )
    return [heading("Likelihood"), TextTable(columns, tuple(rows), caption)]


def _at(line: Line, measure: str, given: str) -> str:
    """Of single lines of the table of measures, where the row has a column of the same name."""
    alone = Line(line.label, tuple({} for _ in line.runs), line.measures)
    return alone.spread(measure, given)


def _probes(found: Sequence[Line]) -> list[Block]:
    held = [line for line in found if places([line], "probe")]
    if not held:
        return []
    given = list(dict.fromkeys(each for each, _ in places(held, "probe")))
    rows = [
        (f"{line.label}: {latent}", *(line.spread("probe", each, latent, True) for each in given))
        for line in held
        for latent in dict.fromkeys(target for _, target in places([line], "probe"))
    ]
    caption = (
        "Accuracy in % of a logistic regression of the class on posterior means, learned and judged given the same."
    )
    return [
        heading("What latents tell"),
        TextTable(("model: latent", *(f"given {each}" for each in given)), tuple(rows), caption),
    ]


def _pictures(found: Sequence[Line], folder: Path) -> list[Block]:
    blocks: list[Block] = []
    titles = {"sheet": "What they make", "map": "Where latents lie"}
    for what, title in titles.items():
        known = {
            line.label: picture(Path(), _place(line), what)
            for line in found
            if picture(folder, _place(line), what).exists()
        }
        blocks += [heading(title)] * bool(known) + [image(path.as_posix(), label) for label, path in known.items()]
    return blocks


def _place(line: Line) -> str:
    from polyvae.study.variants import Variant

    return Variant(line.label, "").place
