"""`polyvae complete`: pictures from a few of their pixels, how sure the model is, and how right."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from rich.table import Table

from polyvae.checks.ranges import LARGEST, Amount, Count, NumberOrShare, Range, Seed
from polyvae.cli.options import UsageError
from polyvae.cli.printing import console, stacked
from polyvae.cli.runs import Opened, check_place, chosen_prior, opened
from polyvae.cli.runs import device as usable
from polyvae.completion.baselines import Learned
from polyvae.completion.complete import latents_of
from polyvae.completion.predictive import Completer
from polyvae.completion.scores import Errors, Score, score_completions
from polyvae.data import Split
from polyvae.data.columns.kinds import some
from polyvae.data.cuts import subset
from polyvae.evaluation.blocks import evaluating
from polyvae.evaluation.calibration import LEVELS
from polyvae.evaluation.numbers import NONE, number, plus_minus
from polyvae.model.families.pixels import Bernoulli
from polyvae.observe.masks import SparsePixels
from polyvae.recipes.decoders import sparse_pixels
from polyvae.recipes.options import Mask, Where
from polyvae.training.progress import counted

Draws = Annotated[int, Range(2, LARGEST, whole=True)]
Numbers = Annotated[Sequence[int], Range(0, LARGEST, whole=True)]
GREY = "grey pictures under a Bernoulli likelihood: the spread is that of bits, the widest that such a mean allows"

RESOLVED = 39  # draws from which on the outermost two of them enclose 95 % of what comes
FEW = "--draws {draws}: bands reach from the smallest to the largest draw at most, and 95 % of a law take 39 draws"

STANDARDISED = "Squared error and CRPS are of numbers, in standard deviations of their columns."
INFINITE = "A dash is an error that is no finite number."
CODES = "Wrong and log loss (nats) are of labels and bits."


def complete(
    run: Path,
    mask: Where = "uniform",
    count: NumberOrShare | None = None,
    counts: Numbers | None = None,
    positions: Numbers | None = None,
    draws: Draws = 100,
    from_x: bool = False,
    weigh: Literal["none", "seen"] = "none",
    candidates: Count | None = None,
    code_prior: Literal["uniform", "learned"] | None = None,
    head: str | None = None,
    noise: bool = True,
    pixels: bool = False,
    examples: Count = 6,
    show_draws: Amount = 4,
    score: Amount = 200,
    out: Path | None = None,
    npz: Path | None = None,
    json: bool = False,
    seed: Seed = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    split: Literal["train", "validation", "test"] | None = None,
    data_dir: Path | None = None,
) -> None:
    """Completes examples from a few of their pixels: the expected picture, its spread, draws, and how right they are.

    Beside the model stand nearest and linear interpolation and gappy PCA, which see the same pixels.

    run: the folder of a run.
    mask: which pixels are seen.
    count: how many of them, or a share below 1; by default a twentieth, of a table's columns half, a quarter
        for a box, all of a half.
    counts: several such numbers, at each of which the errors are told and drawn.
    positions: of mask points, row,column,row,column... of a picture or columns of a table.
    draws: of the latents, for each example.
    from_x: draw the latents from the posterior, which sees all of x, and not from the prior.
    weigh: seen weighs what the prior draws by how well it explains what is seen.
    candidates: how many draws are weighed for each example; ten times those that are kept, where none is given.
    code_prior: of a vector-quantised run, equally probable codes or the learned prior, which is taken where there is
        one.
    head: the head that predicts; the one that reads the observation where none is named.
    noise: leave the likelihood's own noise out of the spread.
    pixels: show draws of the pixels too, where their expected values are shown otherwise.
    examples: how many are shown.
    show_draws: how many draws of each are shown.
    score: how many examples of the part are scored; 0 for none.
    out: the PNG file; figures/completions.png in the run folder where none is given.
    npz: a file for the arrays; beside the PNG file where none is given.
    json: print one JSON document instead of the table.
    seed: of the masks and the draws.
    device: cpu, cuda or mps; auto is cuda where there is one.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.

    Example: polyvae complete runs/first --mask uniform --count 40 --draws 100
    """
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out is a PNG file, such as completions.png; got {out}")
    check_place(npz)
    if from_x and weigh != "none":
        raise UsageError("--weigh seen weighs draws from the prior; leave out --from-x")
    completer = Completer(draws, latents_of(from_x, weigh), candidates, head, noise)
    found, place = opened(run, data_dir), usable(device)
    check_place(found.folder / "figures" / "completions.png" if out is None else out)
    found = replace(found, run=chosen_prior(found.run, code_prior))
    part, chosen = found.split(split)
    masks = _masks(found, chosen, mask, count, counts, positions)
    many = counts[0] if counts and count is None else count
    first = sparse_pixels(found.data.spec, Mask(mask, many, positions=positions))
    files = _draw(found, chosen, first, completer, (examples, show_draws, pixels), seed, place, out, npz)
    scored = subset(chosen, score, seed)
    scores = _scores(found, scored, masks, completer, seed, place) if score else []
    of = "columns" if len(found.data.spec.x) == 1 else "points"
    files += _draw_errors(scores, files[0], of) if scores and len(masks) > 1 else []
    notes = [GREY] if noise and _grey(found, completer, chosen) else []
    notes += [FEW.format(draws=draws)] if score and draws < RESOLVED else []
    told = {"run": str(run), "split": part, "mask": mask, "draws": draws, "examples": len(scored), "notes": notes}
    _say(told, scores, files, json)


def table(scores: Sequence[Score], title: str) -> Table:
    """The errors over unseen values, a row a method at each number of points, and after calibration.

    Two lines of coverage: of all unseen values, and of those that vary where that is another. Labels and bits have
    columns of their own, and numbers none where there are no others.
    """
    numbers = any(score.unseen.mse is not None or score.unseen.infinite for score in scores)
    codes = any(score.unseen.wrong is not None for score in scores)
    every = [errors for score in scores for errors in (score.unseen, score.calibrated) if errors is not None]
    notes = [STANDARDISED] * (numbers and scores[0].standardised) + [CODES] * codes
    if scores and scores[0].constant:
        notes.append(f"Left out, as constant in what is scored: {some(scores[0].constant)}.")
    if most := max((score.uncalibrated for score in scores), default=0):
        notes.append(f"{most} value{'s that have' if most > 1 else ' that has'} no finite spread")
        notes[-1] += f" {'are' if most > 1 else 'is'} in no calibrated number."
    notes += [INFINITE] * any(errors.infinite for errors in every)
    shown = Table(title=title, title_justify="left", caption=" ".join(notes) or None, caption_justify="left")
    vary = any(errors.varying != errors.coverage for errors in every)
    bands = f"in bands of\n{' / '.join(f'{100 * level:g}' for level in LEVELS)} %" + "\nof those that vary" * vary
    words = ["squared error", "CRPS", bands, "calibrated\nCRPS", bands] if numbers or not codes else []
    for word in ("points", "method", *words, *(["wrong", "log loss"] if codes else [])):
        shown.add_column(word, justify="left" if word == "method" else "right", no_wrap=word == "method")
    points = None
    for score in scores:
        if points not in (None, score.points):
            shown.add_section()
        method = score.method if score.rank is None else f"{score.method}, rank {score.rank}"
        unseen, calibrated = score.unseen, score.calibrated or Errors(None, None, None, {}, {})
        cells = (
            plus_minus(unseen.mse, unseen.mse_error),
            number(unseen.crps),
            _held(unseen, vary),
            number(calibrated.crps),
            _held(calibrated, vary),
        )
        rest = (NONE if unseen.wrong is None else f"{100 * unseen.wrong:.1f} %", number(unseen.log_loss))
        first = f"{score.points:g}" if score.points != points else ""
        shown.add_row(first, method, *(cells if words else ()), *(rest if codes else ()))
        points = score.points
    return shown


def _say(told: dict[str, Any], scores: Sequence[Score], files: Sequence[Path], json: bool) -> None:
    if json:
        whole = {**told, "scores": list(map(asdict, scores)), "files": list(map(str, files))}
        print(json_module.dumps(whole))
        return
    for note in told["notes"]:
        print(f"polyvae: note: {note}", file=sys.stderr)
    shown = console()
    if scores:
        words = "{run}: {mask} masks, {draws} draws, {examples} examples of the {split} part"
        for part in stacked(table(scores, words.format(**told)), shown.width):
            shown.print(part)
    for file in files:
        shown.print(str(file), markup=False, soft_wrap=True)


def _draw(
    found: Opened,
    split: Split,
    masks: SparsePixels,
    completer: Completer,
    shown: tuple[int, int, bool],
    seed: int,
    device: str,
    out: Path | None,
    npz: Path | None,
) -> list[Path]:
    """The pictures and their arrays."""
    from polyvae.figures import completions, draw, save_array

    place = found.folder / "figures" / "completions.png" if out is None else out
    with evaluating(found.run.model, device):
        figure = completions(found.run, split, masks, completer, *shown, seed=seed)
    seen = figure.mask[0].size and figure.mask.reshape(len(figure.mask), -1).sum(1).mean()
    noun = "column" if figure.mask.ndim == 2 else "point"
    first = draw(figure, place, f"Completed from {seen:g} {noun}{'' if seen == 1 else 's'}")
    return [first, save_array(place.with_suffix(".npz") if npz is None else npz, figure)]


def _draw_errors(scores: Sequence[Score], beside: Path, of: str) -> list[Path]:
    from polyvae.figures import draw, point_errors

    place = beside.with_name(f"{beside.stem}-errors.png")
    return [draw(point_errors(scores, of), place, f"Errors against the number of {of} seen")]


def _masks(
    found: Opened,
    split: Split,
    mask: Where,
    count: int | float | None,
    counts: Numbers | None,
    positions: Sequence[int] | None,
) -> dict[int | float, SparsePixels]:
    """The masks that are scored, fewest pixels first, each by its count or, where none was asked for, its pixels."""
    one = split.batch(torch.zeros(1, dtype=torch.int64, device=split.device))["x"]
    numbers = [*([] if counts and count is None else [count]), *(counts or [])]
    made = []
    for many in dict.fromkeys(numbers):
        try:
            made.append((many, sparse_pixels(found.data.spec, Mask(mask, many, positions=positions))))
        except ValueError as error:
            raise (ValueError(f"counts: {error}") if many in (counts or []) else error) from None
    sized: list[tuple[int, int | float | None, SparsePixels]] = []
    for many, masks in made:
        seen = masks.mask(one)
        if bool(seen.all()):
            what = "positions" if positions is not None else "counts" if many in (counts or []) else "count"
            raise ValueError(f"{what}: all {seen.numel()} places are seen, so that nothing is left to complete")
        sized.append((int(seen.sum()), many, masks))
    sized.sort(key=lambda each: each[0])
    return {points if many is None else many: masks for points, many, masks in sized}


def _scores(
    found: Opened, split: Split, masks: dict[int | float, SparsePixels], completer: Completer, seed: int, device: str
) -> list[Score]:
    data = found.data
    with counted("completing") as moved:
        learned = Learned(data.train, data.validation)
        return score_completions(found.run, split, masks, completer, learned, seed, device, moved)


def _grey(found: Opened, completer: Completer, split: Split) -> bool:
    """Whether the predicting head is of bits and the data are not."""
    model = found.run.model
    family: Any = getattr(getattr(model.heads[completer.head_of(model)], "likelihood", None), "family", None)
    if not isinstance(family, Bernoulli):
        return False
    some = subset(split, 10, 0)
    x = some.batch(torch.arange(len(some), device=some.device))["x"]
    return not bool(((x == 0) | (x == 1)).all())


def _held(errors: Errors, vary: bool) -> str:
    """Coverage of all values, and below of those that `vary`."""
    lines = (errors.coverage, errors.varying)[: 1 + vary]
    return "\n".join(_shares(found) for found in lines if any(found.values())) or NONE


def _shares(found: Mapping[float, float | None]) -> str:
    shares = [found.get(level) for level in LEVELS]
    return " / ".join(NONE if share is None else f"{100 * share:.0f}" for share in shares)
