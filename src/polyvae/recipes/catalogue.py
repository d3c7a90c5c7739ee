"""The catalogue of the named variants: whoever reads it has them all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from polyvae.checks.names import near
from polyvae.model.spec import Spec
from polyvae.recipes import (
    adversarial,
    autoregressive,
    baselines,
    bounds,
    clusters,
    conditioning,
    deterministic,
    labels,
    ladders,
    likelihoods,
    missing,
    modalities,
    poise,
    posteriors,
    priors,
    quantised,
    regression,
    regularised,
    variants,
)
from polyvae.recipes.called import meant
from polyvae.recipes.flat import heeded
from polyvae.recipes.recording import RECIPES, Recipe, as_spec, is_own, recipe

__all__ = ["RECIPES", "Recipe", "as_spec", "is_own", "named", "rebuild", "recipe"]
WHERE = (  # each enters its own
    variants,
    posteriors,
    priors,
    likelihoods,
    ladders,
    bounds,
    regularised,
    adversarial,
    deterministic,
    conditioning,
    missing,
    modalities,
    poise,
    labels,
    clusters,
    quantised,
    autoregressive,
    baselines,
    regression,
)


def named(name: str) -> Callable[..., Recipe]:
    """The recipe of that name; ValueError with the nearest and all names if there is none."""
    if name not in RECIPES:
        hint = meant(name) or near(name, RECIPES)
        listed = f"{' The' if hint else '; the'} recipes are {', '.join(sorted(RECIPES))}"
        raise ValueError(f"no recipe is named {name!r}{hint}{listed}")
    return RECIPES[name]


def rebuild(call: Mapping[str, Any]) -> Recipe:
    """The recipe of a recorded call."""
    return named(call["name"])(Spec.from_dict(call["spec"]), **current(call)["options"])


def current(call: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded call as it would be recorded now; one of a recipe that is not known as it is."""
    build = RECIPES.get(call["name"])
    return dict(call) if build is None else {**call, "options": heeded(inspect.unwrap(build), call["options"])}
