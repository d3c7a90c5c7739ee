"""A report in Markdown, of blocks: headings, paragraphs, code, pictures and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


def heading(text: str, level: int = 2) -> str:
    """A title; level 1 is the document's."""
    return f"{'#' * level} {plain(text)}"


def code(text: str) -> str:
    """Lines as they are typed."""
    return f"```\n{text}\n```"


def image(path: str, text: str) -> str:
    """A PNG file, by its path below the document's folder, and what it shows."""
    return f"![{plain(text)}]({path})\n\n*{plain(text)}*"


@dataclass(frozen=True)
class TextTable:
    """A table of texts: `columns` head it, the first of each row names it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def __str__(self) -> str:
        lines = [self.columns, tuple("---" if place == 0 else "---:" for place in range(len(self.columns))), *self.rows]
        body = "\n".join("| " + " | ".join(plain(cell) for cell in line) + " |" for line in lines)
        return body if not self.caption else f"{body}\n\n*{plain(self.caption)}*"


Block = str | TextTable


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as Markdown with pictures beside the file."""
    return "\n\n".join(map(str, blocks)) + "\n"


def plain(text: str) -> str:
    """Text that Markdown takes for nothing else; an underscore within a word needs no mark, nor most brackets."""
    return re.sub(r"[\\`*|]|\](?=\()|(?<!\w)_|_(?!\w)", r"\\\g<0>", text).replace("&", "&amp;").replace("<", "&lt;")
