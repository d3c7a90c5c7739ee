"""`polyvae sample`, `reconstruct`, `traverse`, `interpolate` and `figures`: PNG files of a run, and their arrays."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, isqrt
from pathlib import Path
from typing import Any, Literal

from polyvae.checks.ranges import Amount, Count, Positive, Seed, Weight
from polyvae.cli.options import UsageError
from polyvae.cli.runs import Opened, check_place, chosen_prior, opened
from polyvae.cli.runs import device as usable

Part = Literal["train", "validation", "test"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def sample(
    run: Path,
    number: Count | None = None,
    pixels: bool = False,
    code_prior: Literal["uniform", "learned"] | None = None,
    temperature: Weight = 1.0,
    top_k: Count | None = None,
    out: Path | None = None,
    npz: Path | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Draws latents from the prior and shows what they generate; a conditional model has a column for each label.

    Of a table every value is drawn and shown beside the data.

    run: the folder of a run.
    number: how many, or a few more where they would not fill the grid; 64 pictures, or 1,000 rows of a table, where
        none is given.
    pixels: draw the pixels too, where their expected values are shown otherwise.
    code_prior: of a vector-quantised run, equally probable codes or the prior of `polyvae train-prior`, which is taken
        where there is one.
    temperature: how boldly a learned prior draws, 1 as it was trained, 0 the likeliest code each time.
    top_k: draw among so many likeliest codes only.
    out: the PNG file; figures/samples.png in the run folder where none is given.
    npz: a file for the arrays.
    seed: of the draws.
    device: cpu, cuda or mps; auto is cuda where there is one.
    split: where a conditional model's conditions are taken from; the test part, or else the validation part.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae sample runs/first --number 100 --npz samples.npz
    """
    from polyvae.figures import samples

    found = _opened(run, data_dir, device, out, npz)
    found = replace(found, run=chosen_prior(found.run, code_prior, temperature, top_k))
    table = len(found.data.spec.x) == 1
    number = number or (1000 if table else 64)
    examples = found.split(split)[1] if table or found.run.model.conditions else None
    y = examples.tensors.get("y") if examples is not None and not table else None
    columns = isqrt(number - 1) + 1 if y is None or y.ndim > 1 else min(number, len(y.unique()))
    figure = samples(found.run, examples, ceil(number / columns), columns, pixels, seed)
    title = "Samples beside the data" if table else "Samples from the prior"
    _save(figure, title, run, "samples", out, npz, json)


def reconstruct(
    run: Path,
    number: Count | None = None,
    out: Path | None = None,
    npz: Path | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Shows the first examples above their reconstructions at the posterior means.

    run: the folder of a run.
    number: how many examples; 32 pictures, or 1,000 rows of a table, where none is given.
    out: the PNG file; figures/reconstructions.png in the run folder where none is given.
    npz: a file for the arrays original and reconstruction.
    seed: of what the data draw for a batch.
    device: cpu, cuda or mps; auto is cuda where there is one.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae reconstruct runs/first --number 16
    """
    from polyvae.figures import reconstructions

    found = _opened(run, data_dir, device, out, npz)
    number = number or (1000 if len(found.data.spec.x) == 1 else 32)
    figure = reconstructions(found.run, found.split(split)[1], number, seed)
    _save(figure, "Reconstructions", run, "reconstructions", out, npz, json)


def traverse(
    run: Path,
    latent_name: str | None = None,
    number: Count = 12,
    reach: Positive = 3.0,
    columns: Count = 11,
    example: Amount = 0,
    at_prior: bool = False,
    out: Path | None = None,
    npz: Path | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Moves each dimension of a latent over its range, the others held where an example lies.

    run: the folder of a run.
    latent_name: which latent; the topmost where none is named.
    number: how many dimensions, those that carry most first.
    reach: from -reach to reach, in standard deviations of a standard normal prior.
    columns: pictures in a row.
    example: the number of the example that the others are held at.
    at_prior: hold them at the prior's mean instead.
    out: the PNG file; figures/traversals.png in the run folder where none is given.
    npz: a file for the arrays.
    seed: of what is drawn to rank the dimensions.
    device: cpu, cuda or mps; auto is cuda where there is one.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae traverse runs/first --number 5 --reach 2
    """
    from polyvae.figures import traversals

    found = _opened(run, data_dir, device, out, npz)
    examples = found.split(split)[1]
    if not 0 <= example < len(examples):
        raise UsageError(f"--example is from 0 to {len(examples) - 1}; got {example}")
    held = None if at_prior else example
    figure = traversals(found.run, examples, latent_name, held, columns, reach, number, seed)
    title = f"Traversals from {'the mean of the prior' if at_prior else f'example {example}'}"
    _save(figure, title, run, "traversals", out, npz, json)


def interpolate(
    run: Path,
    number: Count = 6,
    columns: Count = 9,
    spherical: bool = False,
    out: Path | None = None,
    npz: Path | None = None,
    seed: Seed = 0,
    device: Device = "auto",
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Walks from one example to another through the latents, along straight lines.

    run: the folder of a run.
    number: how many pairs of examples.
    columns: pictures in a walk.
    spherical: walk at the angle and length between, as suits a normal prior of many dimensions.
    out: the PNG file; figures/interpolations.png in the run folder where none is given.
    npz: a file for the arrays.
    seed: of the pairs.
    device: cpu, cuda or mps; auto is cuda where there is one.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae interpolate runs/first --number 4 --spherical
    """
    from polyvae.figures import interpolations

    found = _opened(run, data_dir, device, out, npz)
    figure = interpolations(found.run, found.split(split)[1], number, columns, spherical, seed)
    _save(figure, "Interpolations", run, "interpolations", out, npz, json)


def figures(
    run: Path,
    out: Path | None = None,
    arrays: bool = False,
    seed: Seed = 0,
    device: Device = "auto",
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Draws everything: curves, KL, reconstructions, samples, traversals and map of every latent, interpolations.

    A learned prior of `polyvae train-prior` draws the samples where there is one.

    run: the folder of a run.
    out: the folder of the PNG files; figures in the run folder where none is given.
    arrays: write the arrays of each into an .npz beside it.
    seed: of what is drawn.
    device: cpu, cuda or mps; auto is cuda where there is one.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae figures runs/first
    """
    from polyvae.figures import save_figures

    check_place(out, folder=True)
    found = _opened(run, data_dir, device)
    history = [row for row in found.run.history if row["epoch"]]  # a closed form has no curve
    shown = chosen_prior(found.run, None)
    _say(save_figures(shown, found.split(split)[1], out or run / "figures", history, arrays, seed), json)


def _opened(folder: Path, data_dir: Path | None, device: str, *files: Path | None) -> Opened:
    """The run on the device; what is wrong with the line is said before the run is read."""
    out = files[0] if files else None
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out is a PNG file, such as {folder.name}.png; got {out}")
    for file in files:
        check_place(file)
    place = usable(device)
    found = opened(folder, data_dir)
    found.run.model.to(place)
    return found


def _save(figure: Any, title: str, run: Path, name: str, out: Path | None, npz: Path | None, json: bool) -> None:
    from polyvae.figures import draw, save_array

    files = [draw(figure, run / "figures" / f"{name}.png" if out is None else out, title)]
    _say(files if npz is None else [*files, save_array(npz, figure)], json)


def _say(files: Sequence[Path], json: bool) -> None:
    print(json_module.dumps({"files": [str(path) for path in files]}) if json else "\n".join(map(str, files)))
