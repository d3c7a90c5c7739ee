"""What a named variant is, and how a function becomes one."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.checks.finite import check_finite
from polyvae.checks.ranges import check
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.observe.transforms import Chain

UNCHANGED = Chain()


@dataclass(frozen=True)
class Recipe:
    """A model, the objective that trains it and the transform its batches need first.

    `monitor` is the validation value that chooses the best weights: "bound", the larger the better, or the name of a
    term, the smaller the better. `solve`, where set, fits the model in closed form to all training examples [N, ...]
    and takes the place of gradient steps. `start`, where set, is called once before the first step of a new run with up
    to 4,096 observed training examples, for what is set by data (a codebook's first codes). `call` records name, spec
    and options, so that the recipe can be built again; it is None where an option was an object that JSON cannot hold.
    """

    model: VAE
    objective: nn.Module
    observe: Callable[[Values], Values] = UNCHANGED
    monitor: str = "bound"
    solve: Callable[[Tensor], None] | None = None
    start: Callable[[Values], None] | None = None
    call: Mapping[str, Any] | None = None


RECIPES: dict[str, Callable[..., Recipe]] = {}


def recipe(build: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """Enters a function `build(spec, **options)` in the catalogue.

    `spec` may then be a `Spec`, the shape of one example, or anything that has a `spec`; the keyword `seed` fixes the
    weights without touching torch's global generator; the call is recorded. An option that is infinite, not a number
    or outside the range its annotation says is refused by name.
    """

    @functools.wraps(build)
    def recorded(spec: Any, *, seed: int | None = None, **options: Any) -> Recipe:
        spec = as_spec(spec)
        check_finite(options)
        check(build, options)
        if seed is None:
            made = build(spec, **options)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made = build(spec, **options)
        return replace(made, call=_record(build.__name__, spec, options if seed is None else {**options, "seed": seed}))

    held = RECIPES.get(build.__name__)
    if held is not None and not is_own(held) and is_own(build):
        raise ValueError(f"polyvae has a recipe named {build.__name__} already; give yours another name")
    RECIPES[build.__name__] = recorded
    return recorded


def is_own(build: Callable[..., Recipe]) -> bool:
    """Whether a recipe is a user's own."""
    return (build.__module__ or "").partition(".")[0] != "polyvae"  # code that is typed in has no module


def as_spec(source: Any) -> Spec:
    """A `Spec` from itself, from the shape of one example, or from anything with a `spec`."""
    source = getattr(source, "spec", source)
    if isinstance(source, Spec):
        return source
    if isinstance(source, (tuple, list, torch.Size)) and all(isinstance(side, int) for side in source):
        return Spec(tuple(source), levels=256 if len(source) == 3 else None)
    raise TypeError(f"a recipe needs a Spec, the shape of one example or a data set; got {type(source).__name__}")


def _record(name: str, spec: Spec, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    call = {"name": name, "spec": asdict(spec), "options": dict(options)}
    try:
        return json.loads(json.dumps(call))
    except TypeError:
        return None
