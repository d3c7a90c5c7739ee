"""All figures of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isqrt
from pathlib import Path
from typing import Any

from polyvae.data.exchange.given import taken
from polyvae.evaluation.blocks import source_of
from polyvae.evaluation.classes import class_latent
from polyvae.evaluation.pictures import recorded_spec
from polyvae.figures import arrays, classes, from_above, latents, walks
from polyvae.figures.plots import draw
from polyvae.figures.subject import is_table, one_hot

_ROWS = 1000  # of a table: enough to compare shares


def save_figures(
    source: Any,
    data: Any,
    folder: str | os.PathLike[str],
    history: Sequence[Mapping[str, Any]] = (),
    npz: bool = False,
    seed: int = 0,
) -> list[Path]:
    """All figures of a model over data into a folder, the curves where there is a history; the paths, in order.

    `data`: a split, Data, of which it is the test part, or whatever else `Run.score` takes. KL bars are left out where
    no latent has a KL per dimension, levels and groups where no latents stand above each other. Of several modalities:
    a sheet of what is made of what, and a map of the latents given each.
    """
    spec = recorded_spec(source)
    folder, split = Path(folder), taken(data, spec)
    made: dict[str, tuple[Any, str]] = {}
    if history:
        made["curves"] = arrays.curves(history, getattr(source, "monitor", "bound")), _trained(source)
    if spec is not None and spec.modalities:
        from polyvae.figures.modalities import all_of  # with the judges' libraries

        made |= all_of(source, split, spec.values, seed)
        return _drawn(made, folder, npz)
    with suppress(ValueError):
        made["kl"] = latents.kl_bars(source, split, seed=seed), "KL of each dimension"
    model = source_of(source).model
    classes_of, read = one_hot(model), {name for prior in model.prior.values() for name in model.plan.reads(prior)}
    if len(model.prior) > 1 and (not classes_of or read & {*classes_of}):
        made["groups"] = latents.group_kl(source, split, seed=seed), "KL of each group"
    table = is_table(source, split)
    made["reconstructions"] = arrays.reconstructions(source, split, _ROWS if table else 32, seed), "Reconstructions"
    side, title = (isqrt(_ROWS) + 1, "Samples beside the data") if table else (8, "Samples from the prior (means)")
    made["samples"] = arrays.samples(source, split, side, side, seed=seed), title
    if not table:
        with suppress(ValueError):
            made["levels"] = (
                from_above.levels(source, split, seed=seed),
                "Reconstructions from the highest latents alone",
            )
    for latent in model.prior:
        title = f"Traversals of {latent}, from example 0"
        title = f"Every value of {latent}, for example 0" if latent in classes_of else title
        made[f"traversals-{latent}"] = walks.traversals(source, split, latent, seed=seed), title
        if latent not in classes_of:
            made[f"map-{latent}"] = latents.latent_map(source, split, latent, seed=seed), f"Posterior means of {latent}"
    if (name := class_latent(model)) is not None:
        if not table:
            shown = f"Every value of {name}: examples it is likeliest for, and their most frequent label"
            made["clusters"] = classes.clusters(source, split, seed=seed), shown
        for latent in model.prior:
            if latent != name:
                by_class = latents.latent_map(source, split, latent, seed=seed, by_class=True)
                made[f"map-{latent}-by-class"] = by_class, f"Posterior means of {latent}"
    if len(split) > 1:
        made["interpolations"] = walks.interpolations(source, split, seed=seed), "Interpolations"
    return _drawn(made, folder, npz)


def _trained(source: Any) -> str:
    """The title of the curves, which says so where the two losses do not compare."""
    objective = getattr(getattr(source, "recipe", source), "objective", None)
    weights = [head.weight for head in source_of(source).model.heads.values()]
    if getattr(objective, "weighted", False) and any(weight != 1 for weight in weights):
        return "Training; its loss weighs the modalities, that of the validation part does not"
    return "Training"


def _drawn(made: Mapping[str, tuple[Any, str]], folder: Path, npz: bool) -> list[Path]:
    return [draw(figure, folder / f"{name}.png", title, npz) for name, (figure, title) in made.items()]
