"""What functions take, read from their source: a command knows its options before torch is imported."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# What is imported as it says, since it starts without torch; WITHIN is read here; else no text can stand for a type.
LIGHT = (
    "collections.abc",
    "pathlib",
    "typing",
    "polyvae.checks.ranges",
    "polyvae.cli.arguments",
    "polyvae.recipes.options",
    "polyvae.study.budget",
    "polyvae.study.compare.scoring",
    "polyvae.study.completion.protocol",
    "polyvae.study.disentangle.scoring",
    "polyvae.study.multimodal.protocol",
    "polyvae.study.shapes.assignment",
    "polyvae.study.thesis.protocol",
    "polyvae.study.trade.sweep",
)
WITHIN = "polyvae.recipes."


def recipes() -> dict[str, Callable[..., Any]]:
    """The recipes by name: polyvae's own as their source says them, those of a user's modules as they are."""
    found: dict[str, Callable[..., Any]] = {}
    for path in sorted((ROOT / "recipes").glob("*.py")):
        found |= functions(f"recipes/{path.name}", "recipe")
    if entered := sys.modules.get("polyvae.recipes.recording"):
        found |= {name: inspect.unwrap(build) for name, build in entered.RECIPES.items() if entered.is_own(build)}
    return found


def functions(file: str, decorator: str | None = None) -> dict[str, Callable[..., Any]]:
    """The functions of a file of polyvae's, or those with a `decorator`: to be asked what they take, not called."""
    names, decorators = _read(file)
    return {name: names[name] for name, found in decorators.items() if decorator is None or decorator in found}


@cache
def _read(file: str) -> tuple[_Names, dict[str, list[str]]]:
    """The functions and types of a file, and the decorators that the functions are here without."""
    names, decorators = _Names(), {}
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(WITHIN) and node.module not in LIGHT:
            there, _ = _read(f"{str(node.module).removeprefix('polyvae.').replace('.', '/')}.py")
            names |= {each.asname or each.name: there[each.name] for each in node.names}
            continue
        if isinstance(node, ast.FunctionDef):
            decorators[node.name], node.decorator_list = list(map(ast.unparse, node.decorator_list)), []
        elif not _is_type(node) and not (isinstance(node, ast.ImportFrom) and node.module in LIGHT):
            continue
        exec(compile(ast.Module([node], []), str(ROOT / file), "exec", annotations.compiler_flag, True), names)
    return names, decorators


def _is_type(node: ast.stmt) -> bool:
    """Whether a line names a type, such as `Mask = Literal[...]`."""
    name = node.targets[0] if isinstance(node, ast.Assign) else None
    return isinstance(name, ast.Name) and name.id[0].isupper() and not name.id.isupper()


class _Standing(type):
    """Its attributes and its members are it again: nn.Module, Mapping[str, nn.Module]."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __getitem__(cls, _: Any) -> Any:
        return cls


class Unread(metaclass=_Standing):
    """In the place of a type that is not imported."""


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Unread)
