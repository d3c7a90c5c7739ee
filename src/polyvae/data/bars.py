"""The bar that says how much of something is done."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


def bar(
    words: str,
    *counts: ProgressColumn,
    console: Console | None = None,
    transient: bool = False,
    shown: bool = True,
) -> Progress:
    """A bar with the time left: `words` before it, `counts` behind it, by default how many of all there are."""
    return Progress(
        TextColumn(words),
        BarColumn(bar_width=24),
        *(counts or [MofNCompleteColumn()]),
        TimeRemainingColumn(compact=True),
        console=console or Console(stderr=True),
        transient=transient,
        disable=not shown,
    )
