"""The recipes that a study trains, each with options and a label of its own, and how a line of text says them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from polyvae.checks.names import one_of
from polyvae.recipes import RECIPES, named
from polyvae.recipes.flat import accepted

WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}
SHARED = ("network", "widths")  # the one says what the other counts


@dataclass(frozen=True)
class Variant:
    """A recipe with `options` of its own, which tables call by its `label`."""

    label: str
    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The name of its folder."""
        return re.sub(r"[^\w.-]+", "-", self.label).strip("-.") or "recipe"

    def given(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """Its options, and those that a study gives to all recipes where this one takes them.

        A network of its own comes without the widths of another; what takes no network has its own widths.
        """
        known = accepted(inspect.unwrap(named(self.recipe)))[0]
        found = {name: value for name, value in shared.items() if name in known}
        if "network" in self.options or "network" not in known:
            found = {name: value for name, value in found.items() if name not in SHARED}
        return {**found, **self.options}


def variants(
    said: str | Iterable[str | Variant], known: Collection[str] | None = None, kind: str = "a recipe"
) -> list[Variant]:
    """The variants of a text such as "vae, iwae:samples=50, vae:prior=mixture,components=20 as mixture-20".

    Between recipes stands a comma or a semicolon; options follow a colon, with commas between them, lists too
    (widths=300,300); " as " gives another label than the recipe with its options. A list may hold such texts beside
    variants. `known`: the recipes that the study is for, all where none are named; `kind`: what they are called. Raises
    ValueError for a text that says none, two of one label and a recipe that does not exist.
    """
    texts = [said] if isinstance(said, str) else list(said)
    found = [each for text in texts for each in ([text] if isinstance(text, Variant) else _read(text))]
    if not found:
        raise ValueError(f"recipes are names with commas between them, such as vae,iwae:samples=50; got {said!r}")
    for each in found:
        try:
            named(each.recipe) if known is None or each.recipe in RECIPES else one_of(known, each.recipe, kind)
        except ValueError as error:
            raise ValueError(f"recipes: {error}") from error
    places = [each.place for each in found]
    if twice := [each.label for each in found if places.count(each.place) > 1]:
        raise ValueError(f"recipes: {twice[0]!r} stands there twice; give one another label, {twice[0]} as NAME")
    return found


def _read(text: str) -> list[Variant]:
    """A semicolon ends a recipe, and so does a comma before a word that is neither an option nor a number of a list."""
    pieces: list[str] = []
    for part in filter(None, map(str.strip, text.split(";"))):
        begun = False
        for word in filter(None, map(str.strip, part.split(","))):
            more = begun and ":" in pieces[-1] and (re.match(r"\w+\s*=", word) or re.match(r"[-+.\d]", word))
            if more:
                pieces[-1] += f",{word}"
            else:
                pieces.append(word)
            begun = True
    return [_variant(piece) for piece in pieces]


def _variant(text: str) -> Variant:
    call, _, label = (part.strip() for part in text.partition(" as "))
    name, colon, rest = (part.strip() for part in call.partition(":"))
    options: dict[str, Any] = {}
    last = ""
    for word in rest.split(",") if colon else ():
        option, equals, value = (part.strip() for part in word.partition("="))
        if equals:
            last = option
            options[option] = _value(value)
        elif last:  # another number of a list
            held = options[last]
            options[last] = [*(held if isinstance(held, list) else [held]), _value(option)]
        else:
            raise ValueError(f"recipes: an option is NAME=VALUE, as in iwae:samples=50; got {text!r}")
    return Variant(label or call, name, options)


def _value(text: str) -> Any:
    """A number, a list of one like [300], true, false, none, or the text itself."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, (int, float, list)) else text
