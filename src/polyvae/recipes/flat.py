"""Dataclasses among the options of a recipe, laid flat and put together again: the one map between both.

`multitask(spec, latent=Gaussian(8, prior="vamp"))` and `multitask(spec, latent=8, prior="vamp")` are one call. Commands
and run folders hold the second. A field has its own name there, or the one that its `Flat` says; where the dataclass
may be None, the parameter's own name switches it on. A field that is not given is the recipe's to choose.

Nothing here imports torch.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from numbers import Real
from typing import Annotated, Any

from polyvae.checks.names import near
from polyvae.checks.ranges import numbers
from polyvae.recipes.bundles import Flat, given_fields, moved
from polyvae.recipes.options import HOMES
from polyvae.recipes.sources import Build, explanations, passed_on

CHOSEN = ": the recipe chooses it itself"


@dataclass(frozen=True)
class Option:
    """One option under its flat name: what it admits, its default, and the `field` of `source` that explains it."""

    name: str
    hint: Any
    default: Any
    source: Build
    field: str


@dataclass(frozen=True)
class Bundle:
    """A parameter that is one of some dataclasses, that of its default first; a `switch` where it may be None."""

    name: str
    kinds: tuple[type, ...]
    default: Any
    switch: Option | None

    def options(self) -> dict[str, Option]:
        """Its options by flat name."""
        found = {} if self.switch is None else {self.name: self.switch}
        for kind in self.kinds:
            found |= {k: v for k, v in _flat(_declared(kind, self._start(kind))).items() if k not in found}
        return found

    def spread(self, value: Any) -> dict[str, Any]:
        """A dataclass laid flat: the fields that were given, and the first where its name chooses the kind.

        The value itself where it may be that of its first field, by the same name; ValueError for any other.
        """
        if self.switch is not None and (value is None or isinstance(value, bool)):
            return {self.name: bool(value)}
        if not isinstance(value, self.kinds):
            if self._plain() and (isinstance(value, (str, Real, list, tuple)) or hasattr(value, "tolist")):
                return {self.name: value}
            raise ValueError(f"{self.name} is {self._admits()}; got {_told(value)}")
        found: dict[str, Any] = {} if self.switch is None else {self.name: True}
        given, chosen = given_fields(value), type(value) is self.kinds[0]
        for place, each in enumerate(_declared(type(value), type(value)())):
            inner = getattr(value, each.field)
            if isinstance(each, Bundle):
                found |= each.spread(inner) if each.field in given else {}
            elif each.field in given or (place == 0 and not chosen):
                found[each.name] = inner
        return found

    def gathered(self, flat: Mapping[str, Any]) -> Any:
        """The dataclass of these options, None where it is switched off.

        The default's kind, or another whose first field is among them; ValueError for options of two kinds, for those
        of another kind without its first, and for those of what is switched off.
        """
        if self.is_off(flat):
            if idle := [name for name in flat if name != self.name]:
                raise _lonely(idle[0], self.kinds[0], f"{self.name}=True")
            return None
        names = {kind: list(_flat(_declared(kind, kind()))) for kind in self.kinds}
        given = {name: value for name, value in flat.items() if any(name in each for each in names.values())}
        for place, kind in enumerate(self.kinds):
            if set(names[kind]) >= set(given):
                first = names[kind][0]
                if place and first not in given:
                    raise _lonely(next(iter(given)), kind, first)
                return moved(self._start(kind), gathered(kind, given))
        apart = [next(name for name in given if name not in names[kind]) for kind in reversed(self.kinds)]
        kinds = " or ".join(kind.__name__ for kind in self.kinds)
        raise ValueError(f"{' and '.join(apart)} exclude each other: {self.name} is {kinds}")

    def chosen(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The first option, at its default, of another kind than the default's that has options here of its own."""
        for kind in self.kinds[1:]:
            options, usual = _flat(_declared(kind, kind())), _flat(_declared(self.kinds[0], self.kinds[0]()))
            first = next(iter(options))
            if first not in flat and any(name in flat for name in set(options) - set(usual)):
                return {first: options[first].default}
        return {}

    def is_off(self, flat: Mapping[str, Any]) -> bool:
        """Whether it is None with these options."""
        return self.switch is not None and not flat.get(self.name, self.default is not None)

    @property
    def field(self) -> str:
        """As of an `Option`: the parameter's own name."""
        return self.name

    def _plain(self) -> bool:
        """Whether its name is also that of an option of its own."""
        return self.switch is None and self.name in self.options()

    def _admits(self) -> str:
        kinds = " or ".join(f"{kind.__name__}(...)" for kind in self.kinds)
        if self.switch is not None:
            return f"True, False or a {self.kinds[0].__name__}"
        words = self._plain() and typing.get_origin(*_members(self.options()[self.name].hint)) is typing.Literal
        return f"a {'name' if words else 'number'} or {kinds}" if self._plain() else kinds

    def _start(self, kind: type) -> Any:
        return self.default if isinstance(self.default, kind) else kind()


@functools.cache
def accepted(build: Build) -> tuple[dict[str, Option], dict[str, Bundle], bool]:
    """The options of a function by flat name, its parameters that are dataclasses, and whether it may take others.

    Those that it passes on by **options, and does not settle in that call, are among them; they are read from its
    source, without which it may take others.
    """
    declared = list(_declared(build))
    options, bundles = _flat(declared), dict(_bundles(declared))
    below = list(passed_on(build))
    for function, settled in below:
        more, whole, _ = accepted(function)
        # A dataclass handed on settles all that it holds, one value its own name alone.
        hidden = {name for each in settled & set(bundles) & set(whole) for name in whole[each].options()} | settled
        options |= {name: each for name, each in more.items() if name not in hidden | set(options)}
        bundles = {name: each for name, each in whole.items() if name not in settled} | bundles
    last = list(inspect.signature(build).parameters.values())[-1]
    return options, bundles, not below and last.kind is last.VAR_KEYWORD


def spread(build: Build, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options given to a function, every dataclass among them laid flat.

    ValueError for one that the function does not have or that is given twice.
    """
    options, bundles, others = accepted(build)
    found: dict[str, Any] = {}
    within: dict[str, str] = {}  # the dataclasses that options came in
    for name, value in given.items():
        bundle = bundles.get(name)
        kind = type(value).__name__ if bundle is not None and isinstance(value, bundle.kinds) else ""
        for each, held in ({name: value} if bundle is None else bundle.spread(value)).items():
            if each not in options and not others:
                hint = belongs(build, each) or near(each, options) or f"; its options are {', '.join(options)}"
                raise ValueError(f"{each} is no option of {build.__name__}{hint}")
            if each in found:
                raise ValueError(f"{each} is given twice, in {within.get(each) or kind} and by itself")
            found[each] = numbers(held, options[each].hint) if each in options else held
            within |= {each: kind} if kind else {}
    return found


def belongs(build: Build, name: str, written: Callable[[str], str] = str) -> str:
    """What to say of a name that is no option of a function but is known all the same, or nothing."""
    options, bundles, _ = accepted(build)
    if name in options:
        return ""
    if name in bundles:
        return f"; did you mean {written(next(iter(bundles[name].options())))}?"
    for function, _ in passed_on(build):
        names, whole, _ = accepted(function)
        if name in {**names, **whole} or belongs(function, name) == CHOSEN:
            return CHOSEN
    return f"; {HOMES[name]} has it" if name in HOMES else ""


def gathered(build: Build, flat: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a function or dataclass from flat options; what none of its dataclasses holds is as it was."""
    found = dict(flat)
    for each in _declared(build):
        if isinstance(each, Option):
            found |= {each.field: found.pop(each.name)} if each.name in found else {}
        elif inside := {name: found.pop(name) for name in each.options() if name in found}:
            found[each.name] = each.gathered(inside)
    return found


def heeded(build: Build, flat: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call that may have been recorded before some were refused.

    Those of what is switched off had no effect, and those of another kind than the default's chose it alone.
    """
    bundles = accepted(build)[1].values()
    idle = {name for each in bundles if each.is_off(flat) for name in each.options() if name != each.name}
    chosen = {name: value for each in bundles for name, value in each.chosen(flat).items()}
    return {**chosen, **{name: value for name, value in flat.items() if name not in idle}}


def describe(function: Any, build: Build) -> Any:
    """The function, with signature, annotations and docstring of `build`, all options flat and explained."""
    options, _, others = accepted(build)
    parameters = list(inspect.signature(build).parameters.values())
    flat = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.hint)
        for name, each in options.items()
    ]
    function.__signature__ = inspect.Signature([parameters[0], *flat, *parameters[-1:] * others])
    function.__annotations__ = {name: each.hint for name, each in options.items()}
    own = set(explanations(build))
    said = {name: explanations(each.source).get(each.field) for name, each in options.items() if name not in own}
    more = textwrap.fill(" ".join(f"`{name}`: {text}" for name, text in said.items() if text), 120)
    *paragraphs, end = inspect.cleandoc(build.__doc__ or "").split("\n\n")
    ends = [end, more] if not paragraphs or end.startswith("`") else [more, end]  # a paper comes last
    function.__doc__ = "\n\n".join(filter(None, [*paragraphs, *ends]))
    return function


def _lonely(name: str, kind: type, missing: str) -> ValueError:
    return ValueError(f"{name} is an option of {kind.__name__}; give {missing} too")


def _told(value: Any) -> str:
    """A value that is refused, and the recipe that takes it where it is a dataclass of another, or its class."""
    kind = value if isinstance(value, type) else type(value)
    home = HOMES.get(kind.__name__.lower())
    shown = f"{kind.__name__}(...)" if is_dataclass(value) and kind is not value else repr(value)
    return shown if home is None else f"{shown}; {home} takes {kind.__name__}"


def _declared(source: Build, held: Any = None) -> Iterator[Option | Bundle]:
    """The parameters of a function after its first, or the fields of a dataclass with the values of `held`."""
    for each, hint in _parameters(source):
        default = getattr(held, each.name) if held is not None else each.default
        kinds = [kind for kind in _members(hint) if isinstance(kind, type) and is_dataclass(kind)]
        if not kinds:
            name = next((mark.name for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Flat)), each.name)
            yield Option(name, hint, default, source, each.name)
            continue
        switch = Option(each.name, bool, default is not None, source, each.name)
        kinds.sort(key=lambda kind: not isinstance(default, kind))
        yield Bundle(each.name, tuple(kinds), default, switch if type(None) in _members(hint) else None)


@functools.cache
def _parameters(source: Build) -> list[tuple[inspect.Parameter, Any]]:
    """Those of `_declared`, and what they admit."""
    hints = typing.get_type_hints(source, include_extras=True)
    found = list(inspect.signature(source).parameters.values())[0 if isinstance(source, type) else 1 :]
    return [(each, hints.get(each.name, Any)) for each in found if each.kind is not each.VAR_KEYWORD]


def _members(hint: Any) -> list[Any]:
    """A type, or the types that a union admits."""
    while typing.get_origin(hint) is Annotated:
        hint = hint.__origin__
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return [member for each in typing.get_args(hint) for member in _members(each)] if union else [hint]


def _flat(declared: Iterable[Option | Bundle]) -> dict[str, Option]:
    """The options by flat name; ValueError where two have one name."""
    found: dict[str, Option] = {}
    for each in declared:
        mine = each.options() if isinstance(each, Bundle) else {each.name: each}
        if twice := set(found) & set(mine):
            raise ValueError(f"{sorted(twice)} of {each.field} are options already: laid flat they have one name twice")
        found |= mine
    return found


def _bundles(declared: Iterable[Option | Bundle]) -> Iterator[tuple[str, Bundle]]:
    """The dataclasses among parameters by name, and those that they hold."""
    for each in declared:
        if isinstance(each, Bundle):
            yield each.name, each
            for kind in each.kinds:
                yield from _bundles(_declared(kind, kind()))
