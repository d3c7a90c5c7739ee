"""Values by name, and what a word that is not known was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST = 60  # characters of a text that a message repeats


def kind(value: Any) -> str:
    """What a value is, as a message says it: "a list", "the class KL", "a tensor of shape [3, 4]"."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    return f"a {name.lower()} of shape {list(shape)}" if isinstance(shape, tuple) else f"a {name}"


def near(text: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?" with the nearest of what is known, or nothing."""
    if not text.strip("-"):
        return ""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(text.lower()[:LONGEST], list(by_lower), n=3, cutoff=0.55)
    return f"; did you mean {' or '.join(by_lower[name] for name in found)}?" if found else ""


def shortened(words: Sequence[str], most: int, more: str = " and {:,} more") -> str:
    """The first of many words, with commas, and how many `more` there are."""
    return ", ".join(words[:most]) + (more.format(len(words) - most) if len(words) > most else "")


def one_of(known: Collection[str], name: str, kind: str, more: str = "") -> str:
    """The name; ValueError listing the known names and the nearest if it is none of them."""
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{kind} is one of {', '.join(known)}{more}; got {name!r}{near(str(name), known)}")
    return name


def find(known: Mapping[str, T], name: str, kind: str, more: str = "") -> T:
    """known[name], which is `one_of` those known."""
    return known[one_of(known, name, kind, more)]


def gathered(kind: type[T], given: Mapping[str, Any], hint: Callable[[str], str] = lambda name: "") -> T:
    """A dataclass of settings out of those that are named.

    Raises TypeError for an unknown name, with the `hint` for it, or else with the nearest ones.
    """
    names = [each.name for each in fields(kind)]  # pyright: ignore[reportArgumentType]
    for name in given:
        if name not in names:
            told = hint(name) or near(name, names)
            listed = f"{' The' if told else '; the'} settings are {', '.join(names)}"
            raise TypeError(f"no setting is named {name!r}{told}{listed}")
    return kind(**given)
