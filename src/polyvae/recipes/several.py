"""Which recipes are for data of several modalities, and what they refuse of data. Nothing here imports torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from polyvae.model.spec import Spec
from polyvae.recipes.flat import accepted
from polyvae.recipes.options import Modal


def reads_modalities(build: Callable[..., Any]) -> bool:
    """Whether a recipe is for data of several modalities."""
    return any(Modal in each.kinds for each in accepted(inspect.unwrap(build))[1].values())


def check_several(spec: Spec, recipe: str, names: Sequence[str] = ()) -> None:
    """ValueError, by the recipe, for data of one x; `names` are those that could be modalities."""
    if spec.modalities:
        return
    how = "or a mapping of arrays by name with modalities"
    if len(names := names or [str(each.name) for each in spec.columns if each.name]) > 1:
        pair = [name if name.isidentifier() else f"m{n}={name}" for n, name in enumerate(names[:2], 1)]
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        how = f'or these with modalities="{",".join(pair)}", which are named of {", ".join(names[:20])}{more}'
    raise ValueError(f"{recipe} is for data of several modalities, and none are named: take mnist-svhn, {how}")


def check_names(spec: Spec, recipe: str, latents: Iterable[str]) -> None:
    """ValueError for a modality that is called as one of the recipe's `latents`."""
    values = spec.values
    if clash := [name for name in latents if name in values]:
        name = clash[0]
        columns = "+".join(str(each.name) for each in values[name].columns if each.name)
        other = f"{name}2={columns or name}"
        raise ValueError(
            f"modalities: {name!r} is the name of a latent of {recipe}; call the modality otherwise, as in {other}"
        )
