"""What commands print: tables as wide as the terminal, numbers that JSON can hold."""

from __future__ import annotations

import shutil
from math import isfinite
from typing import Any

from rich.console import Console
from rich.table import Table


def console() -> Console:
    """Where to print: as wide as the terminal or $COLUMNS says, or wide enough for any table where neither does."""
    return Console(width=shutil.get_terminal_size((160, 24)).columns, highlight=False)


def stacked(table: Table, width: int) -> list[Table]:
    """The table as several of at most `width` letters, one below the other, where one would cut its cells.

    Each begins with the first two columns; the title stands above the first, the caption below the last.
    """
    leading, columns = table.columns[:2], table.columns[2:]
    cells = {id(column): list(column.cells) for column in table.columns}
    made: list[Table] = []
    while columns or not made:
        for count in range(max(1, len(columns)), 0, -1):
            part = Table(title=None if made else table.title, title_justify="left", caption_justify="left")
            chosen = [*leading, *columns[:count]]
            for column in chosen:
                part.add_column(column.header, justify=column.justify, no_wrap=True)
            for row, cell in zip(table.rows, zip(*(cells[id(column)] for column in chosen), strict=True), strict=True):
                part.add_row(*cell, end_section=row.end_section)
            if Console(width=1000).measure(part).maximum <= width:
                break
        made, columns = [*made, part], columns[count:]
    made[-1].caption = table.caption
    return made


def printable(value: Any) -> Any:
    """The same with None for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: printable(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value
