"""`polyvae sample`, `reconstruct`, `traverse`, `interpolate` and `figures`: PNG files of a run, and their arrays."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, isqrt
from pathlib import Path
from typing import Any

from polyvae.checks.ranges import Amount, Count, Positive
from polyvae.cli import several
from polyvae.cli.arguments import Codes, Reading, Writing
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import Opened, check_place, chosen_prior, opened
from polyvae.cli.runs import device as usable


def sample(
    number: Count | None = None,
    pixels: bool = False,
    guidance: float = 1.0,
    *,
    codes: Codes,
    reading: Reading,
    writing: Writing,
) -> None:
    """Draws latents from the prior and shows what they generate; a conditional model has a column for each label,
    one that sums over classes for each class.

    Of a table every value is drawn and shown beside the data. Modalities are drawn together and stand below each other.

    number: how many, or a few more where they would not fill the grid; 64 pictures, 16 of several modalities, or 1,000
        rows of a table, where none is given.
    pixels: draw the pixels too, where their expected values are shown otherwise.
    guidance: w, by which a model that has learned to do without its conditions heeds them: 1 as it was trained, 0 not
        at all, above 1 more.
    out: the PNG file; figures/samples.png in the run folder where none is given.
    split: where a conditional model's conditions are taken from; the test part, or else the validation part.

    Example: polyvae sample runs/first --number 100 --npz samples.npz
    """
    from polyvae.evaluation.classes import class_latent
    from polyvae.figures import samples

    found = _opened(reading, writing, several=True)
    if found.several:
        several.refuse(replace(codes, code_prior=None), guidance=None if guidance == 1 else guidance)
    own, found = found.run, replace(found, run=chosen_prior(found.run, codes.code_prior, top_k=codes.top_k))
    if found.several:
        title = "Modalities drawn together" + ", by the fitted prior" * (found.run is not own)
        _say(several.drawn(found, number, pixels, title, reading, writing), writing.json)
        return
    table = len(found.data.spec.x) == 1
    number = number or (1000 if table else 64)
    examples = found.split(reading.split)[1] if table or found.run.model.conditions else None
    y = examples.tensors.get("y") if examples is not None and not table else None
    columns = isqrt(number - 1) + 1 if y is None or y.ndim > 1 else min(number, len(y.unique()))
    if (name := class_latent(found.run.model)) in found.run.model.summed and not table:
        columns = len(found.run.model.prior[name]({}).logits)
    rows = ceil(number / columns)
    figure = samples(found.run, examples, rows, columns, pixels, reading.seed, codes.temperature, guidance)
    title = "Samples beside the data" if table else "Samples from the prior"
    _save(figure, title, "samples", reading, writing)


def reconstruct(number: Count | None = None, *, reading: Reading, writing: Writing) -> None:
    """Shows the first examples above their reconstructions at the posterior means.

    Of several modalities each as it is, made of itself, and made of all, at a draw of the posterior.

    number: how many examples; 32 pictures, 10 of several modalities, or 1,000 rows of a table, where none is given.
    out: the PNG file; figures/reconstructions.png in the run folder where none is given.
    npz: a file for the arrays original and reconstruction.
    seed: of what the data draw for a batch.

    Example: polyvae reconstruct runs/first --number 16
    """
    from polyvae.figures import reconstructions

    found = _opened(reading, writing, several=True)
    if found.several:
        _say(several.reconstructed(found, number, reading, writing), writing.json)
        return
    number = number or (1000 if len(found.data.spec.x) == 1 else 32)
    figure = reconstructions(found.run, found.split(reading.split)[1], number, reading.seed)
    _save(figure, "Reconstructions", "reconstructions", reading, writing)


def traverse(
    latent_name: str | None = None,
    number: Count = 12,
    reach: Positive = 3.0,
    columns: Count = 11,
    example: Amount = 0,
    at_prior: bool = False,
    *,
    reading: Reading,
    writing: Writing,
) -> None:
    """Moves each dimension of a latent over its range, the others held where an example lies.

    latent_name: which latent; the topmost that is no class where none is named. A class takes each of its values.
    number: how many dimensions, those that carry most first.
    reach: from -reach to reach, in standard deviations of a standard normal prior.
    columns: pictures in a row.
    example: the number of the example that the others are held at.
    at_prior: hold them at the prior's mean instead.
    out: the PNG file; figures/traversals-LATENT.png in the run folder where none is given.
    seed: of what is drawn to rank the dimensions.

    Example: polyvae traverse runs/first --number 5 --reach 2
    """
    from polyvae.figures import traversals
    from polyvae.figures.latents import latent_of

    found = _opened(reading, writing)
    examples = found.split(reading.split)[1]
    if not 0 <= example < len(examples):
        raise UsageError(f"--example is from 0 to {len(examples) - 1}; got {example}")
    held = None if at_prior else example
    figure = traversals(found.run, examples, latent_name, held, columns, reach, number, reading.seed)
    title = f"Traversals from {'the mean of the prior' if at_prior else f'example {example}'}"
    _save(figure, title, f"traversals-{latent_of(found.run.model, latent_name)}", reading, writing)


def interpolate(
    number: Count = 6,
    columns: Count = 9,
    spherical: bool = False,
    *,
    reading: Reading,
    writing: Writing,
) -> None:
    """Walks from one example to another through the latents, along straight lines.

    number: how many pairs of examples.
    columns: pictures in a walk.
    spherical: walk at the angle and length between, as suits a normal prior of many dimensions.
    out: the PNG file; figures/interpolations.png in the run folder where none is given.
    seed: of the pairs.

    Example: polyvae interpolate runs/first --number 4 --spherical
    """
    from polyvae.figures import interpolations

    found = _opened(reading, writing)
    figure = interpolations(found.run, found.split(reading.split)[1], number, columns, spherical, reading.seed)
    _save(figure, "Interpolations", "interpolations", reading, writing)


def figures(out: Path | None = None, arrays: bool = False, json: bool = False, *, reading: Reading) -> None:
    """Draws everything: curves, KL, reconstructions, samples, traversals and map of every latent, interpolations.

    A learned prior of `polyvae train-prior` draws the samples where there is one. Of several modalities: curves, what
    they make of themselves, of each other and of the prior, and a map of the latents given each.

    out: the folder of the PNG files; figures in the run folder where none is given.
    arrays: write the arrays of each into an .npz beside it.
    seed: of what is drawn.
    json: print the files' paths as one JSON document.

    Example: polyvae figures runs/first
    """
    from polyvae.figures import save_figures

    check_place(out, folder=True)
    found = _opened(reading, several=True)
    history = [row for row in found.run.history if row["epoch"]]  # a closed form has no curve
    shown = chosen_prior(found.run, None)
    _say(
        save_figures(
            shown, found.split(reading.split)[1], out or reading.run / "figures", history, arrays, reading.seed
        ),
        json,
    )


def _opened(reading: Reading, writing: Writing | None = None, several: bool = False) -> Opened:
    """The run on the device; what is wrong with the line is said before the run is read."""
    for file in () if writing is None else (writing.out, writing.npz):
        check_place(file)
    place = usable(reading.device)
    found = opened(reading.run, reading.data_dir, several)
    found.run.model.to(place)
    return found


def _save(figure: Any, title: str, name: str, reading: Reading, writing: Writing) -> None:
    from polyvae.figures import draw, save_array

    files = [draw(figure, writing.out or reading.run / "figures" / f"{name}.png", title)]
    _say(files if writing.npz is None else [*files, save_array(writing.npz, figure)], writing.json)


def _say(files: Sequence[Path], json: bool) -> None:
    print(json_module.dumps({"files": [str(path) for path in files]}) if json else "\n".join(map(str, files)))
