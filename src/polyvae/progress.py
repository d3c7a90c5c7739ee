"""What a person at a terminal sees of a training run; nothing where there is no terminal."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text


class Reporter(Protocol):
    """Told of each step; asks for values only when it is about to show them."""

    def due(self) -> bool: ...

    def show(self, epoch: int, step: int, values: dict[str, float], rate: float) -> None: ...

    def close(self) -> None: ...


class Silent:
    """Shows nothing."""

    def due(self) -> bool:
        return False

    def show(self, epoch: int, step: int, values: dict[str, float], rate: float) -> None: ...

    def close(self) -> None: ...


class Cut(TextColumn):
    """A text on one line, with an ellipsis for what there is no room for."""

    def __init__(self, text: str) -> None:
        super().__init__(text, table_column=Column())

    def render(self, task: Task) -> Text:
        shown = super().render(task)
        shown.no_wrap, shown.overflow = True, "ellipsis"
        return shown


class Bar:
    """A bar with epoch, mean losses of the epoch so far, examples a second and time left, drawn twice a second.

    What is too much for the terminal's width is cut from the losses; a narrow one has a short bar and no rate.
    """

    def __init__(self, console: Console, epochs: int, steps: int, done: int) -> None:
        self.epochs = epochs
        wide = console.width >= 80
        whole = [Column(no_wrap=True) for _ in range(4)]  # rich narrows the other columns first
        columns = [
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}", table_column=whole[0]),
            BarColumn(bar_width=24 if wide else 10, table_column=whole[1]),
            Cut("{task.fields[values]}"),
            *([TextColumn("{task.fields[rate]:,.0f}/s", table_column=whole[2])] if wide else []),
            TimeRemainingColumn(compact=True, table_column=whole[3]),
        ]
        self.progress = Progress(*columns, console=console)
        self.task = self.progress.add_task("", total=steps, completed=done, epoch=0, epochs=epochs, values="", rate=0.0)
        self.progress.start()
        self.next = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() >= self.next

    def show(self, epoch: int, step: int, values: dict[str, float], rate: float) -> None:
        text = "  ".join(f"{name} {value:.2f}" for name, value in values.items())
        self.progress.update(self.task, completed=step, epoch=epoch, values=text, rate=rate)
        self.next = time.monotonic() + 0.5

    def close(self) -> None:
        self.progress.stop()


def reporter(wanted: bool | None, epochs: int, steps: int, done: int) -> Reporter:
    """A bar on standard error where that is a terminal (or where `wanted`), else silence."""
    console = Console(stderr=True)
    shown = console.is_terminal if wanted is None else wanted
    return Bar(console, epochs, steps, done) if shown else Silent()
