"""`polyvae sample`, `reconstruct`, `traverse`, `interpolate` and `figures`: PNG files of a run, and their arrays."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, isqrt
from pathlib import Path
from typing import Any, Literal

from polyvae.cli.options import UsageError, call
from polyvae.cli.runs import chosen_prior, opened

Part = Literal["train", "validation", "test"]


def run(name: str, arguments: Sequence[str]) -> None:
    """The command `name`."""
    call(COMMANDS[name], f"polyvae {name}", arguments)


def sample(
    run: Path,
    count: int = 64,
    pixels: bool = False,
    prior: Literal["uniform", "learned"] | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    out: Path | None = None,
    npz: Path | None = None,
    seed: int = 0,
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Draws latents from the prior and shows what they generate; a conditional model has a column for each label.

    run: the folder of a run.
    count: how many, or a few more where they would not fill the grid.
    pixels: draw the pixels too, where their expected values are shown otherwise.
    prior: of a vector-quantised run, equally probable codes or the prior of `polyvae train-prior`, which is taken where
        there is one.
    temperature: how boldly a learned prior draws, 1 as it was trained, 0 the likeliest code each time.
    top_k: draw among so many likeliest codes only.
    out: the PNG file; figures/samples.png in the run folder where none is given.
    npz: a file for the arrays.
    seed: of the draws.
    split: where a conditional model's conditions are taken from; the test part, or else the validation part.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae sample runs/first --count 100 --npz samples.npz
    """
    from polyvae.figures import samples

    if count < 1:
        raise UsageError(f"--count is at least 1; got {count}")
    found = opened(run, data_dir)
    found = replace(found, run=chosen_prior(found.run, prior, temperature, top_k))
    conditional = bool(found.run.model.conditions)
    examples = found.split(split)[1] if conditional else None
    y = examples.tensors.get("y") if examples is not None else None
    columns = isqrt(count - 1) + 1 if y is None or y.ndim > 1 else min(count, len(y.unique()))
    figure = samples(found.run, examples, ceil(count / columns), columns, pixels, seed)
    _save(figure, "Samples from the prior", run, "samples", out, npz, json)


def reconstruct(
    run: Path,
    count: int = 32,
    out: Path | None = None,
    npz: Path | None = None,
    seed: int = 0,
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Shows the first examples above their reconstructions at the posterior means.

    run: the folder of a run.
    count: how many examples.
    out: the PNG file; figures/reconstructions.png in the run folder where none is given.
    npz: a file for the arrays original and reconstruction.
    seed: of what the data draw for a batch.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae reconstruct runs/first --count 16
    """
    from polyvae.figures import reconstructions

    if count < 1:
        raise UsageError(f"--count is at least 1; got {count}")
    found = opened(run, data_dir)
    figure = reconstructions(found.run, found.split(split)[1], count, seed)
    _save(figure, "Reconstructions", run, "reconstructions", out, npz, json)


def traverse(
    run: Path,
    latent: str | None = None,
    count: int = 12,
    limit: float = 3.0,
    steps: int = 11,
    example: int = 0,
    prior: bool = False,
    out: Path | None = None,
    npz: Path | None = None,
    seed: int = 0,
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Moves each dimension of a latent over its range, the others held where an example lies.

    run: the folder of a run.
    latent: the name of the latent; the topmost where none is given.
    count: how many dimensions, those that carry most first.
    limit: from -limit to limit, in standard deviations of a standard normal prior.
    steps: pictures in a row.
    example: the number of the example that the others are held at.
    prior: hold them at the prior's mean instead.
    out: the PNG file; figures/traversals.png in the run folder where none is given.
    npz: a file for the arrays.
    seed: of what is drawn to rank the dimensions.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae traverse runs/first --count 5 --limit 2
    """
    from polyvae.figures import traversals

    if min(count, steps) < 1:
        raise UsageError(f"--count and --steps are at least 1; got {count} and {steps}")
    found = opened(run, data_dir)
    examples = found.split(split)[1]
    if not 0 <= example < len(examples):
        raise UsageError(f"--example is from 0 to {len(examples) - 1}; got {example}")
    held = None if prior else example
    figure = traversals(found.run, examples, latent, held, steps, limit, count, seed)
    _save(figure, "Traversals", run, "traversals", out, npz, json)


def interpolate(
    run: Path,
    count: int = 6,
    steps: int = 9,
    spherical: bool = False,
    out: Path | None = None,
    npz: Path | None = None,
    seed: int = 0,
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Walks from one example to another through the latents, along straight lines.

    run: the folder of a run.
    count: how many pairs of examples.
    steps: pictures in a walk.
    spherical: walk at the angle and length between, as suits a normal prior of many dimensions.
    out: the PNG file; figures/interpolations.png in the run folder where none is given.
    npz: a file for the arrays.
    seed: of the pairs.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae interpolate runs/first --count 4 --spherical
    """
    from polyvae.figures import interpolations

    if min(count, steps) < 1:
        raise UsageError(f"--count and --steps are at least 1; got {count} and {steps}")
    found = opened(run, data_dir)
    figure = interpolations(found.run, found.split(split)[1], count, steps, spherical, seed)
    _save(figure, "Interpolations", run, "interpolations", out, npz, json)


def figures(
    run: Path,
    out: Path | None = None,
    npz: bool = False,
    seed: int = 0,
    split: Part | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Draws everything: curves, KL, reconstructions, samples, traversals and map of every latent, interpolations.

    A learned prior of `polyvae train-prior` draws the samples where there is one.

    run: the folder of a run.
    out: the folder of the PNG files; figures in the run folder where none is given.
    npz: write the arrays beside each.
    seed: of what is drawn.
    split: the part of the data; test unless none was cut, then validation.
    data_dir: where the data lie now, in DIR/NAME.
    json: print the files' paths as one JSON document.

    Example: polyvae figures runs/first
    """
    from polyvae.figures import save_figures

    found = opened(run, data_dir)
    history = [row for row in found.run.history if row["epoch"]]  # a closed form has no curve
    shown = chosen_prior(found.run, None)
    _say(save_figures(shown, found.split(split)[1], out or run / "figures", history, npz, seed), json)


def _save(figure: Any, title: str, run: Path, name: str, out: Path | None, npz: Path | None, json: bool) -> None:
    from polyvae.figures import draw, save_array

    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out is a PNG file, such as {name}.png; got {out}")
    files = [draw(figure, run / "figures" / f"{name}.png" if out is None else out, title)]
    _say(files if npz is None else [*files, save_array(npz, figure)], json)


def _say(files: Sequence[Path], json: bool) -> None:
    print(json_module.dumps({"files": [str(path) for path in files]}) if json else "\n".join(map(str, files)))


COMMANDS = {
    "sample": sample,
    "reconstruct": reconstruct,
    "traverse": traverse,
    "interpolate": interpolate,
    "figures": figures,
}
