"""`polyvae translate`: modalities made of others by a run of several, how sure the model is, and how right."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from polyvae.checks.names import one_of
from polyvae.checks.ranges import Amount, Count
from polyvae.cli.arguments import Draws, Reading, Writing
from polyvae.cli.complete import FEW, RESOLVED
from polyvae.cli.errors import error_table
from polyvae.cli.printing import console, stacked
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import Opened, check_place, opened
from polyvae.cli.runs import device as usable
from polyvae.cli.several import kept
from polyvae.cli.worded import SHOWN, made_tables
from polyvae.completion.translation_scores import TranslationScore, score_translations
from polyvae.data import Split
from polyvae.data.cuts import subset
from polyvae.evaluation.modalities.given import having, shown, whole
from polyvae.training.progress import counted

NOT_HELD = "nothing is calibrated: the validation part, on which that is done, is what is scored"


def translate(
    from_: str | None = None,
    to: str | None = None,
    number: Count = 10,
    show_draws: Count = 5,
    draws: Draws = 100,
    score: Amount = 200,
    *,
    reading: Reading,
    writing: Writing,
) -> None:
    """Makes some modalities of others: what is expected, its spread, draws, and how right they are.

    z ~ q(z | what is given), then p(x | z). Beside it stands what is drawn with nothing given.

    from_: the modalities that are given, NAME,NAME; the first of the run where none is named.
    to: those that are made of them, NAME,NAME; all others where none is named.
    number: how many examples of the part are translated; the first 20 are shown, a column each.
    show_draws: how many draws of each are shown.
    draws: of z, for each example.
    score: how many examples of the part are scored; 0 for none.
    out: the PNG file; figures/translations-FROM.png in the run folder where none is given.
    npz: a file for what is given, and mean, std, quantiles and samples of what is made; categories by the numbers that
        stand for them in the data, text by codes, with its words as NAME/labels/COLUMN.
    json: print the scores as one JSON document instead of the tables; --npz keeps what is made.

    Example: polyvae translate runs/mmvae --from mnist --to svhn
    """
    for file in (writing.out, writing.npz):
        check_place(file)
    place = usable(reading.device)
    found = opened(reading.run, reading.data_dir, several=True)
    spec = found.run.spec
    if spec is None or not spec.modalities:
        raise ValueError(f"{reading.run} is a run of one x; `polyvae complete` completes what is seen in part")
    known = list(spec.values)
    given = [known[0]] if from_ is None else [one_of(known, name, "from_") for name in dict.fromkeys(from_.split(","))]
    others = [name for name in known if name not in given]
    if not others:
        raise UsageError(f"--from names all of {', '.join(known)}, so that nothing is left to make of them")
    targets = others if to is None else [one_of(others, name, "to") for name in dict.fromkeys(to.split(","))]
    found.run.model.to(place)
    part, split = found.split(reading.split)
    chosen = subset(having(split, given), number, reading.seed)
    files = _draw(found, chosen, given, targets, (min(show_draws, draws), reading.seed, len(split)), writing)
    plain = [name for name in targets if len(found.specs[name].x) == 1 and not writing.json]
    wanted = targets if writing.npz is not None else plain
    made = found.run.translate(shown(chosen, given), wanted, draws, seed=reading.seed) if wanted else {}
    tables = made_tables(found.specs, chosen, given, {name: made[name] for name in plain}, show_draws)
    files += [] if writing.npz is None else [_save(found, chosen, given, made, writing.npz)]
    scores: list[TranslationScore] = []
    scored = subset(having(split, [*given, *targets]), score, reading.seed) if score else None
    if scored is not None:
        with counted("translating") as moved:
            held = None if part == "validation" else found.data.validation
            scores = score_translations(found.run, scored, given, targets, draws, held, reading.seed, progress=moved)
    told = {"run": str(reading.run), "split": part, "given": given, "draws": draws, "examples": len(scored or ())}
    notes = [FEW.format(draws=draws)] * (draws < RESOLVED) + [NOT_HELD] * (part == "validation")
    _say({**told, "notes": notes}, tables, scores, files, writing.json)


def _draw(
    found: Opened, split: Split, given: Sequence[str], to: Sequence[str], how: tuple[int, int, int], writing: Writing
) -> list[Path]:
    """The figure, where there is anything to see; `how`: draws, seed, rows of the part."""
    from polyvae.figures import draw
    from polyvae.figures.modalities import translated

    known = found.specs
    figure = translated(found.run, split.take(range(min(SHOWN, len(split)))), given, to, *how)
    if figure is None:
        if writing.out is not None:
            raise ValueError(f"--out: none of {', '.join(to)} is a picture; --npz keeps the values")
        return []
    names = [*given, *([] if len(given) + len(to) == len(known) else ["to", *to])]
    out = writing.out or found.folder / "figures" / f"translations-{'-'.join(names)}.png"
    return [draw(figure, out, f"{' and '.join(to)} of {' and '.join(given)}")]


def _save(found: Opened, split: Split, given: Sequence[str], made: Mapping[str, Any], place: Path) -> Path:
    """What is given, as it is, and of each target what `Run.translate` answers."""
    from polyvae.figures import save_array

    specs = found.specs
    held = kept({name: value for name, value in whole(split).items() if name in given}, specs)
    for name, each in made.items():
        for what, value in asdict(each).items():
            told = kept({name: value}, specs) if what in ("mean", "samples", "quantiles") else {name: value}
            held |= {f"{name}/{what}": told.pop(name), **told}
    return save_array(place, held)


def _say(
    told: Mapping[str, Any],
    tables: Sequence[Table],
    scores: Sequence[TranslationScore],
    files: Sequence[Path],
    json: bool,
) -> None:
    if json:
        print(json_module.dumps({**told, "scores": [*map(asdict, scores)], "files": [*map(str, files)]}))
        return
    for note in told["notes"]:
        print(f"polyvae: note: {note}", file=sys.stderr)
    screen = console()
    for table in tables:
        for part in stacked(table, screen.width):
            screen.print(part)
    if scores:
        title = "{run}: {draws} draws, {examples} examples of the {split} part".format(**told)
        rows = [(score.target, ", ".join(score.given) or "nothing", score) for score in scores]
        for part in stacked(error_table(rows, ("made", "given"), title), screen.width):
            screen.print(part)
    for file in files:
        screen.print(str(file), markup=False, soft_wrap=True)
