"""Command-line options read off typed functions: their names, types, defaults and the sentences of their docstrings."""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from polyvae.checks.ranges import ranges_of
from polyvae.cli.reading import (
    KINDS,
    UsageError,
    first_of,
    named,
    near,
    one_of,
    one_or_each,
    plain,
    quoted,
    read_path,
    within,
)
from polyvae.recipes.sources import LINE, MARK, explanations


@dataclass(frozen=True)
class Option:
    """One value of a command: the keyword `name` it is passed as, and the `flag` it is written as, None if by place.

    `read` makes a value of the text and raises ValueError with what was expected; None for a switch. `choices`: the
    texts that it takes, where they can be listed. `several`: one or more of them, by place. `bare`: the flag alone
    stands for True. A parser returns the value
    under `key`.
    """

    name: str
    flag: str | None
    read: Callable[[str], Any] | None
    metavar: str
    help: str
    default: Any = inspect.Parameter.empty
    choices: tuple[str, ...] = ()
    bare: bool = False
    several: bool = False

    @property
    def key(self) -> str:
        """`--data-seed` is data_seed; a switch --no-centre is no_centre."""
        return self.name if self.flag is None else self.flag.lstrip("-").replace("-", "_")

    def called(self, flag: str, text: str | None = None) -> Option:
        """The same value under another flag, and with other words; a positional one becomes an option."""
        default = None if self.flag is None else self.default
        return replace(self, flag=flag, default=default, help=self.help if text is None else text)


class _Help(argparse.HelpFormatter):
    """Wraps the paragraphs that do not fit; lines of those that do, and of examples, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(map(partial(_wrapped, width), text.split("\n\n")))


def _wrapped(width: int, paragraph: str) -> str:
    lines = paragraph.splitlines()
    if any(line.startswith(" ") for line in lines) or all(len(line) <= width for line in lines):
        return paragraph
    return textwrap.fill(" ".join(lines), width, break_long_words=False, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """Takes whole option names only, leaves out what was not given, and names the neighbours of an unknown option.

    `former`: what options were called before, and what they are called now. `hint`: what to say of another unknown
    option in place of its neighbours, or nothing.
    """

    def __init__(
        self,
        prog: str,
        usage: str,
        text: str,
        example: str,
        former: Mapping[str, str] | None = None,
        hint: Callable[[str], str] = lambda flag: "",
    ) -> None:
        super().__init__(
            prog=prog,
            description=text,
            epilog="example:\n" + textwrap.indent(example, "  "),
            usage=usage,
            formatter_class=_Help,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            conflict_handler="resolve",  # of an option --from of its own a command takes that
        )
        # Shown here alone: it is read before the command, whose choices it may change.
        own = self.add_argument_group("recipes of your own")
        own.add_argument("--from", metavar="MODULE", help="a module, or its .py file, with recipes of yours; it is run")
        self.former, self.hint = former or {}, hint

    def add(self, title: str, options: Iterable[Option]) -> None:
        """Adds options under a heading of the help."""
        group = self.add_argument_group(title)
        for option in options:
            shown = (option.help or "as above").replace("%", "%%")
            if option.flag is None:
                several: dict[str, Any] = {"nargs": "+"} if option.several else {}
                read = _argument(option.read or str)
                group.add_argument(option.key, type=read, metavar=option.metavar, help=shown, **several)
                continue
            if option.default is not inspect.Parameter.empty and option.read is not None and option.default is not None:
                shown = f"{shown} (default: {written(option.default)})".lstrip()
            shared: dict[str, Any] = {"dest": option.key, "help": shown}
            if option.read is None:
                group.add_argument(option.flag, action="store_const", const=not option.default, **shared)
            else:
                required = option.default is inspect.Parameter.empty
                reader = _argument(option.read)
                shared |= {"nargs": "?", "const": True} if option.bare else {}
                group.add_argument(option.flag, type=reader, metavar=option.metavar, required=required, **shared)

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The values that were given, by key."""
        values, rest = self.parse_known_args(arguments)
        for text in rest:
            if text.startswith("-"):
                self.error(f"{self.prog} has no option {named(text.partition('=')[0])}{self._near(text)}")
        if rest:
            self.error(f"{quoted(rest[0])} is one argument too many")
        return vars(values)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def _near(self, text: str) -> str:
        name = text.partition("=")[0].replace("_", "-")
        if name in self.former:
            return f"; did you mean {self.former[name]}?"
        flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        return self.hint(name) or near(name, flags)


@contextmanager
def advising(options: Iterable[Option]) -> Iterator[None]:
    """Writes the arguments of a Python call that an error advises, weigh='seen', as the options, --weigh seen."""
    flags = {option.name: option.flag for option in options if option.flag is not None}

    def option(word: re.Match[str]) -> str:
        name, value = word[1] or word[3], word[2]
        if name not in flags or _REPR.search(word.string, 0, word.start()):
            return word[0]
        return flags[name] if value in (None, "True", "False") else f"{flags[name]} {shlex.quote(value.strip(_QUOTES))}"

    try:
        yield
    except (UsageError, ValueError, ArithmeticError, RuntimeError) as error:
        error.args = tuple(_ARGUMENT.sub(option, each) if isinstance(each, str) else each for each in error.args)
        raise


@contextmanager
def naming(options: Sequence[Option]) -> Iterator[None]:
    """Turns a ValueError that begins with the names of parameters into a UsageError about their options.

    What it advises is told as by `advising`.
    """
    flags = {option.name: option.flag for option in options if option.flag is not None}
    with advising(options):
        try:
            yield
        except ValueError as error:
            led = _LED.match(str(error))
            # Kinds of ValueError of their own are about files and runs.
            if type(error) is not ValueError or led is None or led[1] not in flags:
                raise
            said = re.sub(r"\w+", lambda word: flags.get(word[0], word[0]), led[0])
            raise UsageError((said + str(error)[led.end() :]).replace(" or None;", ";")) from error


def options_of(
    source: Callable[..., Any], choices: Mapping[str, Iterable[str]] | None = None, ranged: bool = True
) -> list[Option]:
    """The options of a function or dataclass, those of its dataclasses laid flat, but for what no text can stand for.

    `choices`: the texts that a parameter admits. `ranged`: whether numbers outside their ranges are refused here.
    """
    hints, ranges = typing.get_type_hints(source), ranges_of(source) if ranged else {}
    helps = help_of(source)
    found: list[Option] = []
    for name, parameter in inspect.signature(source).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD or name == "spec":  # what data are, which no line says
            continue
        if is_dataclass(hints.get(name)):
            usual = parameter.default  # an object may have others than its class
            inner = [replace(each, help=helps.get(each.name, each.help)) for each in options_of(hints[name])]
            known = isinstance(usual, hints[name])
            found += [replace(each, default=getattr(usual, each.name)) if known else each for each in inner]
            continue
        admitted = tuple((choices or {}).get(name, ()))
        if members := plain(hints.get(name)):
            option = _option(name, members, parameter.default, helps.get(name, ""), admitted)
            if admitted and _by_name(hints[name]):
                option = replace(option, read=one_or_each(admitted))
            if option.read is not None and name in ranges:
                option = replace(option, read=within(option.read, ranges[name][0]))
            found.append(option)
    return found


def gathered(source: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a function out of the values of its options, its dataclasses made of those that are theirs."""
    hints, found, parameters = typing.get_type_hints(source), dict(given), inspect.signature(source).parameters
    for name, kind in hints.items():
        if isinstance(kind, type) and is_dataclass(kind):
            mine = {each.name: found.pop(each.name) for each in fields(kind) if each.name in found}
            usual = parameters[name].default if name in parameters else None
            found[name] = replace(usual, **mine) if isinstance(usual, kind) else kind(**mine)
    return found


def help_of(source: Callable[..., Any]) -> dict[str, str]:
    """The first sentence of what a docstring says of each parameter."""
    said = explanations(source).items()
    return {name: _SENTENCE.split(text.replace("`", ""))[0].rstrip(".;") for name, text in said}


def without_options(text: str) -> str:
    """A docstring without the lines that explain parameters."""
    marked = (part for part in text.split("\n\n") if not MARK.match(part))
    return "\n\n".join(part for part in marked if not (LINE.match(part) and part[0].islower()))


def _option(name: str, members: Sequence[Any], default: Any, text: str, choices: tuple[str, ...]) -> Option:
    dashed = name.rstrip("_").replace("_", "-")  # a parameter from_, whose name Python keeps for itself, is --from
    literal = next((typing.get_args(member) for member in members if typing.get_origin(member) is typing.Literal), None)
    if members == [bool]:
        flag = f"--no-{dashed}" if default else f"--{dashed}"
        text = re.sub("^whether ", "switch off that " if default else "", text)
        return Option(name, flag, None, "", text, default)
    if allowed := choices or literal:
        text = _OBJECT.sub("", text)
        if choices and any(each not in text for each in allowed):
            text = f"{text}; one of {', '.join(allowed)}".lstrip("; ")
        metavar, read = ("{" + ",".join(allowed) + "}" if literal else "NAME"), one_of(allowed)
    else:
        kinds = [KINDS[member if member in KINDS else Sequence] for member in members if member is not bool]
        metavar, read = "PATH" if Path in members else kinds[0].metavar, first_of(kinds)
    listed = tuple(allowed or ())
    if default is inspect.Parameter.empty:
        several = members == [Sequence[Path]]
        how = read_path if several else read
        return Option(name, None, how, name.upper(), text, default, listed, several=several)
    return Option(name, f"--{dashed}", read, metavar, text, default, listed, bool in members)


def _by_name(hint: Any) -> bool:
    """Whether an annotation also admits a value for each name."""
    return any(typing.get_origin(member) is Mapping for member in typing.get_args(hint))


def _argument(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def argument(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return argument


def written(value: Any) -> str:
    """A value as a line gives it."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


_LED = re.compile(r"(\w+)(?:(?:, | and | or )\w+)*(?=[ :])")  # the names that a message begins with
_OBJECT = re.compile(r",? or an? (?:builder of modules|family|module)\b")  # which no line can give
_QUOTES = "'\""
# An argument with its value, or a name of several words that is no path or part of a longer one, such as vae:latent=3.
_ARGUMENT = re.compile(r"""(?<![\w./'":,-])(?:(\w+)=('[^']*'|"[^"]*"|\w+(?:\.\w+)*)|(\w+_\w+)(?![\w/'"=]|\.\w))""")
_REPR = re.compile(r"\b[A-Z]\w*\([^()]*$")  # what stands in an object's, SoftAdapt(beta=0.1, is no advice
_SENTENCE = re.compile(r"\.\s+(?=[A-Z])")
