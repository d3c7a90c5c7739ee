"""The page of a room in the reference: first what the room offers by its own name, then the files behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "polyvae"


def page_of(room: str) -> str:
    """The blocks of a room without folders that lists its names in `__init__.pyi`, those one begins with first."""
    files = {path.stem: dict(_defined(path)) for path in sorted((SOURCE / room).glob("[!_]*.py"))}
    stub = ast.parse((SOURCE / room / "__init__.pyi").read_text(encoding="utf-8"))
    public = {each.name for node in stub.body if isinstance(node, ast.ImportFrom) for each in node.names}
    offered = {file: [name for name in names if name in public] for file, names in files.items()}
    order = sorted(offered, key=lambda file: (file != FIRST.get(room), -len(offered[file])))
    blocks = [_block(f"polyvae.{room}", "members: false"), "## What it offers\n"]
    blocks += [_block(f"polyvae.{room}.{file}.{name}", *SHOWN) for file in order for name in offered[file]]
    blocks += ["## The files behind it\n"]
    for file, names in files.items():
        rest = [name for name, told in names.items() if told and name not in public]
        blocks.append(_block(f"polyvae.{room}.{file}", *SHOWN, f"members: [{', '.join(rest)}]"))
    return "\n".join(blocks)


def on_page_markdown(text: str, page: object, **_: object) -> str:
    """The page of a room, put together."""
    room = getattr(page, "url", "").removeprefix("reference/").strip("/")
    folder, block = SOURCE / room, f"::: polyvae.{room}\n"
    if block not in text or not (folder / "__init__.pyi").exists() or list(folder.glob("*/__init__.py")):
        return text
    return text.replace(block, page_of(room))


FIRST = {"recipes": "variants"}  # the file of a room that one begins with, where it is not the fullest
SHOWN = ("heading_level: 3", "show_root_heading: true", "show_root_toc_entry: true")


def _block(path: str, *options: str) -> str:
    return "\n".join([f"::: {path}", "    options:", *(f"      {option}" for option in options), ""])


def _defined(path: Path) -> Iterator[tuple[str, bool]]:
    """The public functions and classes of a file, and whether they have a docstring."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node.name, ast.get_docstring(node) is not None
