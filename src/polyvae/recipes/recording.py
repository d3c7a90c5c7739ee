"""What a named variant is, and how a function becomes one."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, Protocol, cast, overload

import torch
from torch import nn

from polyvae.checks.finite import check_finite
from polyvae.checks.ranges import check
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.observe.transforms import Chain
from polyvae.recipes.flat import describe, gathered, spread
from polyvae.recipes.several import check_several, reads_modalities

P = ParamSpec("P")
UNCHANGED = Chain()
SHOWN = 4096  # examples that a recipe is shown before the first step


@dataclass(frozen=True)
class Recipe:
    """A model, the objective that trains it and the transform its batches need first.

    `monitor` is the validation value that chooses the best weights: "bound", the larger the better, or "loss" or the
    name of a term, the smaller the better. `solve`, where set, fits the model in closed form to all training examples,
    x observed and the others as the data hold them, by name [N, ...], and takes the place of gradient steps; what it
    returns, numbers that it chose by name, stands in the row of metrics. `start`, where set, is called once before the
    first step of a new run with up to 4,096 observed training examples, for what is set by data (a codebook's first
    codes). `call` records name, spec and options, so that the recipe can be built again; it is None where an option was
    an object that JSON cannot hold.

    `settle`, where set, is (n, function): the function is called like `start`, but after n epochs, or a share n < 1 of
    them; no epoch before that is the best one, for the function makes another model. `often`, where set, is (name,
    share): the rows of the training part in which that boolean value is True come again within each epoch, until they
    are such a share of it.
    """

    model: VAE
    objective: nn.Module
    observe: Callable[[Values], Values] = UNCHANGED
    monitor: str = "bound"
    solve: Callable[[Values], Mapping[str, float] | None] | None = None
    start: Callable[[Values], None] | None = None
    call: Mapping[str, Any] | None = None
    settle: tuple[float, Callable[[Values], None]] | None = None
    often: tuple[str, float] | None = None
    shown: int = SHOWN

    def settles(self, epochs: int) -> int | None:
        """After how many of so many epochs `settle` is called; None without it."""
        if self.settle is None:
            return None
        after = self.settle[0]
        return after if isinstance(after, int) else int(after * epochs)


class Entered(Protocol[P]):
    """A function in the catalogue: called with what it declares, or with flat options and a seed."""

    __name__: str

    @overload
    def __call__(self, spec: Any, *arguments: P.args, **options: P.kwargs) -> Recipe: ...

    @overload
    def __call__(self, spec: Any, *, seed: int | None = None, **options: Any) -> Recipe: ...


RECIPES: dict[str, Callable[..., Recipe]] = {}


def recipe(build: Callable[Concatenate[Any, P], Recipe]) -> Entered[P]:
    """Enters a function `build(spec, **options)` in the catalogue.

    `spec` may then be a `Spec`, the shape of one example, or anything that has a `spec`; the keyword `seed` fixes the
    weights without touching torch's global generator; the call is recorded. A dataclass among the options may be given
    whole or laid flat, see `polyvae.recipes.flat`. An option that the function does not have, that is infinite, not a
    number or outside the range its annotation says is refused by name.
    """

    @functools.wraps(build)
    def recorded(spec: Any, *arguments: Any, seed: int | None = None, **options: Any) -> Recipe:
        spec, source = as_spec(spec), spec
        _, *given = inspect.signature(build).bind_partial(spec, *arguments).arguments.items()
        flat = spread(build, {**dict(given), **options})
        check_finite(flat)
        check(recorded, flat)
        if reads_modalities(build):
            check_several(spec, build.__name__, getattr(source, "loose", ()))
        elif spec.modalities and not is_own(build):
            raise ValueError(
                f"{build.__name__} reads one x; these data hold several modalities, "
                f"{', '.join(spec.values)}: take mmvae, mvae or another recipe of `polyvae recipes` for several"
            )
        with contextlib.nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            made = cast(Callable[..., Recipe], build)(spec, **gathered(build, flat))
        return replace(made, call=_record(build.__name__, spec, flat if seed is None else {**flat, "seed": seed}))

    describe(recorded, build)
    held = RECIPES.get(build.__name__)
    if held is not None and not is_own(held) and is_own(build):
        raise ValueError(f"polyvae has a recipe named {build.__name__} already; give yours another name")
    RECIPES[build.__name__] = recorded
    return cast(Entered[P], recorded)


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
    call = {"name": name, "spec": spec.to_dict(), "options": dict(options)}
    try:
        return json.loads(json.dumps(call))
    except TypeError:
        return None
