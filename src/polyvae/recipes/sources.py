"""What the source and the docstring of a function say of its options. Nothing here imports torch."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

Build = Callable[..., Any]
MARK = re.compile(r"`\w+`(?:,\s+`\w+`)*:\s")
LINE = re.compile(r"^\w+(?:, \w+)*: ", re.MULTILINE)


def passed_on(build: Build) -> Iterator[tuple[Build, set[str]]]:
    """The functions that a function's **options go on to, each with the parameters that it is given besides."""
    options = [each.name for each in inspect.signature(build).parameters.values() if each.kind is each.VAR_KEYWORD]
    if not options:
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(build)))
    except OSError:  # code that was typed in
        return
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and any(k.arg is None and ast.unparse(k.value) in options for k in call.keywords):
            target = inspect.unwrap(eval(ast.unparse(call.func), build.__globals__))
            by_place = list(inspect.signature(target).parameters)[: len(call.args)]
            yield target, {each.arg for each in call.keywords if each.arg is not None} | set(by_place[1:])


def explanations(source: Build) -> dict[str, str]:
    """What a docstring says of each parameter: "`name`: text" anywhere, or "name, name: text" at a line's start."""
    found: dict[str, str] = {}
    for paragraph in inspect.cleandoc(source.__doc__ or "").split("\n\n"):
        marks = list(MARK.finditer(paragraph)) or list(LINE.finditer(paragraph))
        for mark, end in zip(marks, [*(each.start() for each in marks[1:]), len(paragraph)], strict=bool(marks)):
            said = " ".join(paragraph[mark.end() : end].split())
            found |= {name: said for name in re.findall(r"\w+", mark[0]) if name not in found}
    return found
