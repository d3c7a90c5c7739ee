"""Dataclasses of options that belong together, which know what of them was given. Nothing here imports torch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass(frozen=True)
class Flat:
    """The name of a field where its dataclass is laid flat, where that is another."""

    name: str


@dataclass_transform(frozen_default=True)
def bundle(kind: type[T]) -> type[T]:
    """A frozen dataclass that knows which of its fields were given: the others are the recipe's to choose."""
    made: type[Any] = dataclass(frozen=True)(kind)
    plain, signature = made.__init__, inspect.signature(made)

    @functools.wraps(plain)
    def init(self: Any, *values: Any, **named: Any) -> None:
        plain(self, *values, **named)
        object.__setattr__(self, "_given", frozenset(signature.bind(*values, **named).arguments))

    made.__init__ = init
    return made


def moved(value: T, changes: Mapping[str, Any]) -> T:
    """A dataclass with other values in some fields, which then are given beside those that were."""
    made = replace(value, **changes)  # pyright: ignore[reportArgumentType, reportCallIssue, reportType]
    if hasattr(value, "_given"):
        object.__setattr__(made, "_given", given_fields(value) | set(changes))
    return made


def given_fields(value: Any) -> frozenset[str]:
    """The fields of a dataclass that were given; of one that does not know, those that are not at their defaults.

    `dataclasses.replace` gives all fields, and so says nothing of any.
    """
    known = getattr(value, "_given", None)
    if known is not None and len(known) < len(fields(value)):
        return known
    default = type(value)()
    return frozenset(each.name for each in fields(value) if getattr(value, each.name) != getattr(default, each.name))
