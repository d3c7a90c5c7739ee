"""What a text on the command line may stand for: numbers, paths, one of some names."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyvae.checks.names import LONGEST, near
from polyvae.checks.ranges import Range


class UsageError(Exception):
    """A command line that cannot be understood; the message says what was expected."""


def check_known(kind: str, name: str, known: Iterable[str], where: str, hint: str = "") -> None:
    """UsageError for a name that is none of those known, with a hint or else the nearest, and `where` all are told."""
    if name not in (names := list(known)):
        raise UsageError(f"no {kind} is named {named(name)}{hint or near(name, names)}; {where}")


@dataclass(frozen=True)
class Kind:
    """What is expected, in words and in a line of help, and how it is read; ValueError for another text."""

    expected: str
    metavar: str
    read: Callable[[str], Any]


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):  # int() takes 1_0 and the digits of every script too
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if "_" in text or not text.isascii():
        raise ValueError(text)
    value = float(text)
    if not math.isfinite(value):
        raise OverflowError(text)
    return value


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError(text)
    return text


KINDS: dict[Any, Kind] = {
    int: Kind("a whole number", "N", _whole),
    float: Kind("a number", "X", _number),
    str: Kind("a text", "TEXT", _text),
    Path: Kind("a path", "PATH", lambda text: Path(_text(text))),
    Sequence[float]: Kind(
        "numbers and commas, like 0.5,1", "X,X,...", lambda text: [_number(each) for each in text.split(",")]
    ),
    Sequence: Kind(
        "whole numbers and commas, like 512,256", "N,N,...", lambda text: [_whole(n) for n in text.split(",")]
    ),
}


def plain(annotation: Any) -> list[Any]:
    """The members of an annotation that a text can stand for, narrow ones first."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    members = typing.get_args(annotation) if union else (annotation,)
    kept = [member for member in members if member in (*KINDS, bool) or typing.get_origin(member) in _GENERIC]
    order = [bool, int, float]
    return sorted(kept, key=lambda member: order.index(member) if member in order else len(order))


def first_of(kinds: Sequence[Kind]) -> Callable[[str], Any]:
    """A reader of the first of these kinds that the text can stand for."""

    def read(text: str) -> Any:
        for kind in kinds:
            try:
                return kind.read(text)
            except ValueError:
                continue
            except OverflowError:  # not a text either, where an option takes both
                raise ValueError(f"expected a finite number, got {quoted(text)}") from None
        raise ValueError(f"expected {' or '.join(kind.expected for kind in kinds)}, got {quoted(text)}")

    return read


read_path = first_of([KINDS[Path]])


def one_of(allowed: Sequence[str]) -> Callable[[str], str]:
    """A reader of one of these names."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}, got {quoted(text)}{near(text, allowed)}")
        return text

    return read


def one_or_each(allowed: Sequence[str]) -> Callable[[str], str]:
    """A reader of one of these values, or of NAME=VALUE,...; who knows the names looks at these."""

    def read(text: str) -> str:
        pairs = [part.partition("=") for part in text.split(",")] if "=" in text else [("", "", text)]
        for name, equals, value in ((name.strip(), equals, value.strip()) for name, equals, value in pairs):
            if "=" in text and not (name and equals):
                raise ValueError(f"expected one for all, or NAME=VALUE,..., got {quoted(name)} alone")
            if value not in allowed:
                of = f" for {named(name)}" if name else ""
                known = f"{', '.join(allowed)}, or NAME=VALUE,... of each modality"
                raise ValueError(f"expected one of {known}, got {quoted(value)}{of}{near(value, allowed)}")
        return text

    return read


def within(read: Callable[[str], Any], range: Range) -> Callable[[str], Any]:
    """The reader, which refuses numbers outside the range, alone or in a list."""

    def checked(text: str) -> Any:
        value = read(text)
        for number in value if isinstance(value, list) else [value]:
            if not isinstance(number, str) and not range.holds(number):
                raise ValueError(f"expected {range.expected(number)}, got {quoted(text)}")
        return value

    return checked


def quoted(text: str) -> str:
    """The text between quotation marks, the end of a long one left out."""
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def named(text: str) -> str:
    """The text as it is, between quotation marks where it is empty, long or more than a word."""
    return text if re.fullmatch(rf"[\w./:-]{{1,{LONGEST}}}", text) else quoted(text)


_GENERIC = (typing.Literal, Sequence)
