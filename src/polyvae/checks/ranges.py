"""Which numbers a parameter admits, said once: in its annotation, which calls and commands both read."""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, TypeVar

Called = TypeVar("Called", bound=Callable[..., Any])
NUMBERS = {int, float, str, Sequence, type(None)}  # the types of options that are numbers, lists of them or words
LARGEST = 2**31 - 1  # of what is counted: larger ones overflow what they are multiplied with


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most` that `latent: Annotated[int, Range(1, whole=True)]` admits, never infinite.

    whole: whole numbers only. open: without `least` itself; below: without `most` itself. odd: odd numbers only.
    share: beside whole numbers, shares: fractions from 0 to below 1.
    """

    least: float
    most: float = math.inf
    whole: bool = False
    open: bool = False
    below: bool = False
    odd: bool = False
    share: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a number lies within."""
        whole = isinstance(value, Integral)
        if isinstance(value, bool) or not isinstance(value, Real) or (self.odd and value % 2 == 0):
            return False
        value = int(value) if whole else float(value)  # a float has no 2^63 - 1
        if self.share and not whole:
            return 0 <= value < 1
        if self.whole and not whole:
            return False
        enough = value > self.least if self.open else value >= self.least
        return enough and (value < self.most if self.below else value <= self.most) and (whole or math.isfinite(value))

    def expected(self, value: float) -> str:
        """What the value should have been, as in "a whole number of at least 1"."""
        kind = "an odd number" if self.odd else "a whole number" if self.whole else "a number"
        if self.share:
            return f"a whole number of at least {self.least:g}, or a share from 0 to below 1"
        if self.most in (math.inf, LARGEST) and value <= self.most:
            bound = "above" if self.open else "of at least"
            return "a positive number" if self.open and self.least == 0 else f"{kind} {bound} {self.least:g}"
        if self.most in (math.inf, LARGEST):
            return f"{kind} of at most {self.most}" if self.whole else "a finite number"
        if self.open and self.below:
            return f"{kind} between {self.least:g} and {self.most:g}"
        last = "2^63 - 1" if self.most == 2**63 - 1 else f"{self.most:g}"
        return f"{kind} {'above' if self.open else 'from'} {self.least:g} {'to below' if self.below else 'to'} {last}"


Count = Annotated[int, Range(1, LARGEST, whole=True)]
Amount = Annotated[int, Range(0, LARGEST, whole=True)]  # or none
NumberOrShare = Annotated[int | float, Range(0, LARGEST, whole=True, share=True)]
Seed = Annotated[int, Range(0, 2**63 - 1, whole=True)]
Positive = Annotated[float, Range(0, open=True)]
Weight = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1, below=True)]
Widths = Annotated[Sequence[int], Range(1, LARGEST, whole=True)]


def check(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """ValueError that names the first of the `given` values that lies outside the range its annotation says.

    Or the first that is not True or False where its annotation is bool.
    """
    for name, (found, admitted) in ranges_of(function).items():
        value = given.get(name)
        several = isinstance(value, Sequence) and not isinstance(value, str) and Sequence in admitted
        if isinstance(value, Real) and admitted - {type(None)} == {Sequence}:
            raise ValueError(f"{name} is a list of numbers, such as [{value}]; got {value!r}")
        if name not in given or (value is None and type(None) in admitted):
            continue
        for number in value if several else [value]:  # pyright: ignore[reportOptionalIterable, reportGeneralTypeIssues]
            if isinstance(number, Real) and not found.holds(number):
                raise ValueError(f"{name} is {found.expected(float(number))}; got {number!r}")
            if not isinstance(number, Real) and type(number) not in admitted and admitted <= NUMBERS:
                raise ValueError(f"{name} is {found.expected(found.least)}; got {number!r}")
    for name in _switches(function):
        if not isinstance(given.get(name, False), bool):
            raise ValueError(f"{name} is True or False; got {given[name]!r}")


def numbers(value: Any, hint: Any) -> Any:
    """The value, an array or scalar of NumPy or torch as a list or number where its annotation asks for these."""
    if type(value) in (list, tuple):
        return type(value)(numbers(each, hint) for each in value)
    wanted = _types_in(hint) & {bool, int, float, list, tuple, Sequence}
    return value.tolist() if wanted and hasattr(value, "tolist") else value


def ranged(function: Called) -> Called:
    """The function, which refuses what lies outside the ranges of its annotations."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        check(function, signature.bind(*arguments, **options).arguments)
        return function(*arguments, **options)

    return typing.cast(Called, checked)


@functools.lru_cache(maxsize=256)
def ranges_of(function: Callable[..., Any]) -> dict[str, tuple[Range, set[Any]]]:
    """The range of each parameter whose annotation has one, also of a member of a union, and the types that it admits.

    What a sequence holds is left out of the types.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    found = ((name, _range_in(hint), _types_in(hint)) for name, hint in hints.items())
    return {name: (each, admitted) for name, each, admitted in found if each is not None}


@functools.lru_cache(maxsize=256)
def _switches(function: Callable[..., Any]) -> list[str]:
    return [name for name, hint in typing.get_type_hints(function).items() if hint is bool]


def _types_in(hint: Any) -> set[Any]:
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _types_in(members[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*map(_types_in, members))
    return {origin or hint}


def _range_in(hint: Any) -> Range | None:
    if typing.get_origin(hint) is Annotated:
        return next((each for each in hint.__metadata__ if isinstance(each, Range)), None)
    return next((each for each in map(_range_in, typing.get_args(hint)) if each is not None), None)


def at_least(name: str, value: int, least: int, counted: str = "") -> int:
    """`value`; ValueError by name, and by what is `counted`, where it is below `least`."""
    if value < least:
        raise ValueError(f"{name} {f'counts {counted},' if counted else 'is'} at least {least}; got {value}")
    return value
