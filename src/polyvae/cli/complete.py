"""`polyvae complete`: pictures from a few of their pixels, how sure the model is, and how right."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from polyvae.checks.ranges import Amount
from polyvae.cli.arguments import CodePrior, Masks, Predicting, Reading, Showing, Writing
from polyvae.cli.errors import error_table
from polyvae.cli.printing import console, stacked
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import Opened, check_place, completing, opened
from polyvae.cli.runs import device as usable
from polyvae.completion.baselines import MIXTURE, NORMAL, SEPARABLE, Learned
from polyvae.completion.complete import latents_of
from polyvae.completion.completer import Completer, sees
from polyvae.completion.masked import masked
from polyvae.completion.scores import MODEL, Score, score_completions
from polyvae.data import Split
from polyvae.data.cuts import subset
from polyvae.evaluation.blocks import evaluating
from polyvae.evaluation.classifier import train_classifier
from polyvae.model.families.pixels import Bernoulli
from polyvae.model.priors.completing import Completing
from polyvae.observe.masks import SparsePixels
from polyvae.observe.sensors import Fixed
from polyvae.observe.transforms import Chain
from polyvae.recipes.begun import begun_at
from polyvae.recipes.observing import sparse_pixels
from polyvae.recipes.options import Mask
from polyvae.training.progress import counted
from polyvae.training.run import Run

GREY = "grey pictures under a Bernoulli likelihood: the spread is that of bits, the widest that such a mean allows"

RESOLVED = 39  # draws from which on the outermost two of them enclose 95 % of what comes
FEW = "--draws {draws}: bands reach from the smallest to the largest draw at most, and 95 % of a law take 39 draws"


def complete(
    *,
    masks: Masks,
    predicting: Predicting,
    code_prior: CodePrior | None = None,
    showing: Showing,
    score: Amount = 200,
    classifier: bool = False,
    reading: Reading,
    writing: Writing,
) -> None:
    """Completes examples from a few of their pixels: the expected picture, its spread, draws, and how right they are.

    A model whose prior and decoder read no observation completes by --weigh, or by what `polyvae fit-completion` fits.

    Beside the model stand nearest and linear interpolation, gappy PCA, the conditioned normal law, a mixture of normal
    laws, kriging and, where all masks are one, regression by Gaussian processes; for tables neither kriging nor
    interpolation. All see the same pixels.

    score: how many examples of the part are scored; 0 for none.
    classifier: also what a classifier of the labels, which is trained first, reads of completed pictures: the class log
        loss.
    code_prior: the run's own prior, which of a vector-quantised run is uniform, or the learned one of `polyvae
        train-prior` and `fit-prior`; where none is named, what `polyvae fit-completion` fitted or else the learned one.
    out: the PNG file; figures/completions.png in the run folder where none is given.
    npz: a file for the arrays; beside the PNG file where none is given.
    json: print one JSON document instead of the table.
    seed: of the masks and the draws.

    Example: polyvae complete runs/first --mask uniform --count 40 --draws 100
    """
    check_place(writing.npz)
    latents = latents_of(predicting.from_x, predicting.weigh)
    asked = predicting.draws, latents, predicting.candidates, predicting.head, predicting.noise
    completer = Completer(*asked, moves=predicting.moves)
    found, place = opened(reading.run, reading.data_dir), usable(reading.device)
    png = found.folder / "figures" / "completions.png" if writing.out is None else writing.out
    check_place(png)
    if classifier and (len(found.data.spec.x) != 3 or found.data.train.labels is None):
        raise UsageError(f"--classifier: it reads pictures with labels, which {found.data.name} are not")
    found = replace(found, run=completing(found.run, code_prior))
    part, chosen = found.split(reading.split)
    first = masks.counts[0] if masks.counts and masks.count is None else masks.count
    how = (reading.seed, place)
    several = _masks(found, chosen, masks)
    files = _draw(found.run, chosen, _observed(found, masks, first), completer, showing, how, (png, writing.npz))
    scored = subset(chosen, score, reading.seed)
    scores: list[Score] = []
    if score:
        with counted("completing") as moved:
            learned = Learned(found.data.train, found.data.validation)
            judge = train_classifier(found.data.train, cache=found.folder) if classifier else None
            scores = score_completions(found.run, scored, several, completer, learned, *how, moved, judge)
    of = "columns" if len(found.data.spec.x) == 1 else "points"
    files += _draw_errors(scores, png, of) if scores and len(several) > 1 else []
    notes = [GREY] if predicting.noise and _grey(found, completer, chosen) else []
    notes += [FEW.format(draws=predicting.draws)] if score and predicting.draws < RESOLVED else []
    kind = masks.mask if _sensors(found.run, masks) is None else "sensors"
    told = {"run": str(reading.run), "split": part, "mask": kind, "draws": predicting.draws}
    told["latents"] = _whence(found.run, completer)
    told = {**told, "examples": len(scored), "notes": notes, "to_try": _to_try(found, scores)}
    _say(told, scores, files, writing.json)


def table(scores: Sequence[Score], title: str) -> Table:
    """The errors over unseen values, a row a method at each number of points, and after calibration."""
    names = [score.method if score.rank is None else f"{score.method}, rank {score.rank}" for score in scores]
    rows = [(f"{score.points:g}", name, score) for name, score in zip(names, scores, strict=True)]
    return error_table(rows, ("points", "method"), title)


def _say(told: dict[str, Any], scores: Sequence[Score], files: Sequence[Path], json: bool) -> None:
    if json:
        whole = {**told, "scores": list(map(asdict, scores)), "files": list(map(str, files))}
        print(json_module.dumps(whole))
        return
    for note in told["notes"]:
        print(f"polyvae: note: {note}", file=sys.stderr)
    shown = console()
    if scores:
        words = "{run}: {seen}, {draws} draws of z from {latents}, {examples} examples of the {split} part"
        seen = "the sensors that it reads" if told["mask"] == "sensors" else f"{told['mask']} masks"
        for part in stacked(table(scores, words.format(**told, seen=seen)), shown.width):
            shown.print(part)
    for each in scores:
        if each.unseen.class_loss is not None:
            loss = f"{each.unseen.class_loss:.3f} nats"
            shown.print(f"class log loss of completions from {each.points:g} points ({each.method}): {loss}")
    for hint in told["to_try"]:
        shown.print(hint, markup=False, soft_wrap=True)
    for file in files:
        shown.print(str(file), markup=False, soft_wrap=True)


def _whence(run: Run, completer: Completer) -> str:
    """Where draws of z come from, in words."""
    if completer.latents == "posterior":
        return "q(z | x)"
    made = masked(run)
    laws = list(made.model.prior.values())
    own = "p(z | m)" if any(sees(made.model, law, made.name) for law in laws) else "p(z)"
    drawn = "the fitted q(z | m)" if any(isinstance(law, Completing) for law in laws) else own
    return drawn + {"weighed": ", weighed", "moved": ", weighed and moved"}.get(completer.latents, "")


def _draw(
    run: Run,
    split: Split,
    seen: SparsePixels,
    completer: Completer,
    showing: Showing,
    how: tuple[int, str],
    writing: tuple[Path, Path | None],
) -> list[Path]:
    """The pictures and their arrays."""
    from polyvae.figures import completions, draw, save_array

    png, npz = writing
    with evaluating(run.model, how[1]):
        figure = completions(run, split, seen, completer, showing.examples, showing.show_draws, showing.pixels, how[0])
    points = figure.mask[0].size and figure.mask.reshape(len(figure.mask), -1).sum(1).mean()
    noun = "column" if figure.mask.ndim == 2 else "point"
    first = draw(figure, png, f"Completed from {points:g} {noun}{'' if points == 1 else 's'}")
    return [first, save_array(png.with_suffix(".npz") if npz is None else npz, figure)]


def _draw_errors(scores: Sequence[Score], beside: Path, of: str) -> list[Path]:
    from polyvae.figures import draw, point_errors

    place = beside.with_name(f"{beside.stem}-errors.png")
    return [draw(point_errors(scores, of), place, f"Errors against the number of {of} seen")]


def _masks(found: Opened, split: Split, masks: Masks) -> dict[int | float, SparsePixels]:
    """The masks that are scored, fewest pixels first, each by its count or, where none was asked for, its pixels."""
    one = split.batch(torch.zeros(1, dtype=torch.int64, device=split.device))["x"]
    several = masks.counts or []
    numbers: list[int | float | None] = [] if several and masks.count is None else [masks.count]
    sized: list[tuple[int, int | float | None, SparsePixels]] = []
    for many in dict.fromkeys([*numbers, *several]):
        try:
            made = _observed(found, masks, many)
        except ValueError as error:
            raise (ValueError(f"counts: {error}") if many in several else error) from None
        seen = made.mask(one)
        if bool(seen.all()):
            what = "positions" if masks.positions is not None else "counts" if many in several else "count"
            raise ValueError(f"{what}: all {seen.numel()} places are seen, so that nothing is left to complete")
        sized.append((int(seen.sum()), many, made))
    sized.sort(key=lambda each: each[0])
    return {points if many is None else many: made for points, many, made in sized}


def _sensors(run: Run, masks: Masks) -> SparsePixels | None:
    """What a run shows that reads sensors which stay where they are; None of others, and where masks are asked for."""
    if masks != Masks():
        return None
    parts = run.recipe.observe.transforms if isinstance(run.recipe.observe, Chain) else [run.recipe.observe]
    shown = (each for each in parts if isinstance(each, SparsePixels))
    return next((each for each in shown if isinstance(each.where, Fixed)), None)


def _observed(found: Opened, masks: Masks, count: int | float | None) -> SparsePixels:
    own = _sensors(found.run, masks)
    return own or sparse_pixels(found.data.spec, Mask(masks.mask, count, positions=masks.positions))


def _grey(found: Opened, completer: Completer, split: Split) -> bool:
    """Whether the predicting head is of bits and the data are not."""
    model = found.run.model
    family: Any = getattr(getattr(model.heads[completer.head_of(model)], "likelihood", None), "family", None)
    if not isinstance(family, Bernoulli):
        return False
    some = subset(split, 10, 0)
    x = some.batch(torch.arange(len(some), device=some.device))["x"]
    return not bool(((x == 0) | (x == 1)).all())


def _to_try(found: Opened, scores: Sequence[Score]) -> list[str]:
    """What begins at a law that is nearer than the run, of grey levels and bits, or that such a run learns yet."""
    model, spec = found.run.model, found.data.spec
    if len(spec.x) != 3 or spec.columns or spec.levels is None:
        return []
    error = {(score.method, score.count): score.unseen.mse for score in scores}
    nearer: dict[str, list[str]] = {}
    for score in scores:
        mine, theirs = error.get((MODEL, score.count)), score.unseen.mse
        if score.method in (NORMAL, MIXTURE, SEPARABLE) and mine is not None and theirs is not None and theirs < mine:
            nearer.setdefault(score.method, []).append(f"{score.points:g}")
    if not nearer:
        return []
    decoder = "normal-law" if spec.x[0] > 1 and SEPARABLE in {score.method for score in scores} else "analysers"
    said = ", ".join(f"the {law} where {', '.join(points)} points are seen" for law, points in nearer.items())
    if begun_at(model.features):
        return [f"nearer than the run: {said}; train it for longer, which begins at such a law, or on more examples"]
    return [f"nearer than the run: {said}; `--decoder {decoder}` of arbitrary_conditioning begins at such a law"]
