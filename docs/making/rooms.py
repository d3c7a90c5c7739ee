"""The table of the rooms in the reference: each with the sentence that its own docstring begins with."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "polyvae"
HERE = "<!-- rooms -->"  # where a page wants it


def sentence(room: str) -> str:
    """The first paragraph of a room's docstring."""
    text = (SOURCE / room / "__init__.py").read_text(encoding="utf-8")
    return " ".join((ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].split())


def on_page_markdown(text: str, config: dict, **_: object) -> str:
    """A page with the table in it, in the order of the menu."""
    if HERE not in text:
        return text
    (menu,) = [entry["Reference"] for entry in config["nav"] if "Reference" in entry]
    rooms = [room for entry in menu for room, page in entry.items() if page.startswith("reference/")]
    rows = [f"| [`{room}`](reference/{room}.md) | {sentence(room)} |" for room in rooms]
    return text.replace(HERE, "\n".join(["| room | what lives there |", "|---|---|", *rows]))
