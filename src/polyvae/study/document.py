"""A report as blocks of text, tables and pictures, written as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the document's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph, plain."""

    text: str


@dataclass(frozen=True)
class Code:
    """Lines as they are typed."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table of texts: `columns` head it, the first of each row names it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG file, by its path below the document's folder, and what it shows."""

    path: str
    text: str


Block = Heading | Text | Code | Grid | Picture


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as Markdown with pictures beside the file."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_escaped(text)}"
        case Text(text):
            return _escaped(text)
        case Code(text):
            return f"```\n{text}\n```"
        case Picture(path, text):
            return f"![{_escaped(text)}]({path})\n\n*{_escaped(text)}*"
        case Grid(columns, rows, caption):
            lines = [columns, tuple("---" if place == 0 else "---:" for place in range(len(columns))), *rows]
            body = "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)
            return body if not caption else f"{body}\n\n*{_escaped(caption)}*"


def _escaped(text: str) -> str:
    """Text that Markdown takes for nothing else; an underscore within a word needs no mark, nor most brackets."""
    return re.sub(r"[\\`*|]|\](?=\()|(?<!\w)_|_(?!\w)", r"\\\g<0>", text).replace("&", "&amp;").replace("<", "&lt;")
