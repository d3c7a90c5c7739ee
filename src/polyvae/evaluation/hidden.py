"""A model that is not told some of its conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyvae.evaluation.blocks import Source, source_of
from polyvae.model.conditions import dispensable, flag
from polyvae.observe.conditions import Hide
from polyvae.observe.transforms import chain


def without(source: Any, names: str | Sequence[str] | None) -> Any:
    """The source with these conditions hidden in all rows, or as it is.

    ValueError for a name that is none of the conditions that the model has learned to do without.
    """
    if not names:
        return source
    chosen = tuple(name.strip() for name in names.split(",")) if isinstance(names, str) else tuple(names)
    found = source_of(source)
    may = dispensable(getattr(found.model, "inputs", ()))
    if unknown := [name for name in chosen if name not in may]:
        said = f"of this one: {', '.join(may)}" if may else "this one has none: train it with dropped"
        raise ValueError(f"without names conditions that a model has learned to do without, {said}; got {unknown[0]!r}")
    return Source(found.model, chain(found.observe, Hide(chosen)))


def kept_from(source: Any) -> set[str]:
    """What no bound of a source is given: the conditions hidden in all rows, and the flags that say so."""
    model, observe = source_of(source)
    hidden = {name for step in chain(observe).transforms if isinstance(step, Hide) for name in step.names}
    return hidden | {flag(name) for name in dispensable(getattr(model, "inputs", ()))}
