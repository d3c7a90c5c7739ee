"""Whether the data lie where a likelihood is defined: asked of every example before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from polyvae.data.split import Data, Split
from polyvae.model.laws import repeat
from polyvae.model.vae import Draw, Values
from polyvae.recipes import Recipe

_VALUES = 2**22  # looked at at a time


def check_support(recipe: Recipe, data: Data, laws: Mapping[str, Distribution]) -> None:
    """Raises ValueError, naming head, part and example, for values that a likelihood is not a law of.

    `laws`: of each head by its name, of any examples (see `trial.tried`); bounds that differ are those of the first.
    A law scores what its `accepted` constraint holds for, by default its `support`; an unbounded one scores all.
    """
    for name, head in recipe.model.heads.items():
        accepted = _of_one(_plain(_accepted(laws[name])), len(laws[name].event_shape))
        if accepted is constraints.real:
            continue
        for part, split in data.parts.items():
            if len(split):
                _check(f"{part} part", name, head, laws[name], accepted, split)  # pyright: ignore[reportArgumentType]


def supported(draw: Draw) -> dict[str, Tensor]:
    """Whether each example holds a value that the law of a head scores, booleans [B] by head, as `check_support` asks.

    `draw`: of the model on that batch. Heads whose laws score all values are left out.
    """
    found = {}
    for name, head in draw.heads.items():
        accepted = _accepted(head.p)
        if _plain(accepted) is not constraints.real:
            several = None if head.scored is None else repeat(head.scored, draw.samples)
            found[name] = _each(accepted, (repeat(head.x, draw.samples), several)).view(draw.samples, -1).all(0)
    return found


def _accepted(law: Distribution) -> Any:
    """What a law scores: all where it does not say."""
    try:
        return getattr(law, "accepted", None) or law.support
    except NotImplementedError:
        return constraints.real


def _of_one(constraint: constraints.Constraint, event: int) -> constraints.Constraint:
    """The constraint with bounds [B, ...] that a law has for each example cut to those of the first, [1, ...]."""
    bounds = {k: v[:1] for k, v in vars(constraint).items() if isinstance(v, Tensor) and v.ndim > event}
    if not bounds:
        return constraint
    one = copy(constraint)
    vars(one).update(bounds)
    return one


def _check(
    part: str, name: str, head: nn.Module, law: Distribution, accepted: constraints.Constraint, split: Split
) -> None:
    size = max(1, _VALUES // max(1, law.event_shape.numel()))
    for start in range(0, len(split), size):
        index = torch.arange(start, min(start + size, len(split)), device=split.device)
        batch = split.batch(index)
        if head.of not in batch:  # an observation, which the model's own transforms make
            return
        bad = ~_each(accepted, _scored(head, batch))
        if bool(bad.any()):
            place = int(bad.nonzero()[0])
            low, high = (float(value) for value in batch[str(head.of)][place].float().aminmax())
            raise ValueError(
                f"the likelihood of {name!r} is a {_called(law)}, which scores {_words(accepted)}; example "
                f"{start + place} of the {part} holds values in [{low:g}, {high:g}]. Leave the likelihood to follow "
                "the data, or take one of real numbers, such as normal-learned"
            )


def _scored(head: nn.Module, batch: Values) -> tuple[Tensor, Tensor | None]:
    where = None if head.where is None else batch.get(str(head.where))
    return batch[str(head.of)], where


def _each(accepted: constraints.Constraint, scored: tuple[Tensor, Tensor | None]) -> Tensor:
    """Whether each example, or what is asked of it, is one that the law scores, [n]."""
    x, where = scored
    if where is not None and where.ndim > 1:  # values: in the place of others one that every law scores, 1 or else 0
        several = [torch.where(where.bool(), x, each) for each in (1.0, 0.0)]
        return _each(accepted, (several[0], None)) | _each(accepted, (several[1], None))
    plain = _plain(accepted)
    holds = plain.check(x.to("cpu") if x.device.type == "mps" else x).reshape(len(x), -1).all(1).to(x.device)
    return holds if where is None else holds | ~where


def _plain(constraint: Any) -> constraints.Constraint:
    """What is said of a value, where that is what is said of an event."""
    return getattr(constraint, "base_constraint", constraint)


def _called(law: Distribution) -> str:
    return type(getattr(law, "base_dist", law)).__name__


def _words(accepted: constraints.Constraint) -> str:
    plain = _plain(accepted)
    known = {
        constraints.unit_interval: "values in [0, 1]",
        constraints.boolean: "zeros and ones",
        constraints.nonnegative_integer: "whole numbers from 0 on",
        constraints.positive: "numbers above 0",
    }
    levels = getattr(plain, "levels", None)
    if levels is not None:
        return f"the {levels} grey levels 0, 1/{levels - 1}, ..., 1"
    return known.get(plain, f"values of {plain}")
