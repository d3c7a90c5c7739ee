"""How far a training or a count of examples is: a bar on a terminal, plain lines where a command has none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from polyvae.data.bars import bar
from polyvae.training.budget import Budget
from polyvae.training.settings import ENDLESS

SHORT, LONG = 3.0, 30.0  # seconds between two lines at least: of ends of epochs, and within an epoch or a count
MOST = 100  # lines of either sort, however long a run takes


class Silent:
    """Shows nothing. Like all of them it is told of each step, and asked whether it is due to show values."""

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


class EpochBar:
    """A bar with epoch, mean losses of the epoch so far, examples a second and time left, drawn twice a second.

    What is too much for the terminal's width is cut from the losses; a narrow one has a short bar and no rate.
    """

    def __init__(
        self,
        console: Console,
        epochs: int,
        steps: int,
        done: int,
        budget: Budget = Budget(None),  # noqa: B008
    ) -> None:
        self.steps, self.budget = steps, budget
        wide = console.width >= 80
        whole = [Column(no_wrap=True) for _ in range(4)]  # rich narrows the other columns first
        columns = [
            TextColumn("epoch {task.fields[epoch]}{task.fields[of]}", table_column=whole[0]),
            BarColumn(bar_width=24 if wide else 10, table_column=whole[1]),
            Cut("{task.fields[values]}"),
            *([TextColumn("{task.fields[rate]:,.0f}/s", table_column=whole[2])] if wide else []),
            TimeRemainingColumn(compact=True, table_column=whole[3]),
        ]
        self.progress = Progress(*columns, console=console)
        done, of = self._done(done), _of(epochs)
        self.task = self.progress.add_task("", total=steps, completed=done, epoch=0, of=of, values="", rate=0.0)
        self.progress.start()
        self.next = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() >= self.next

    def show(self, epoch: int, step: int, values: dict[str, float], rate: float) -> None:
        self.progress.update(self.task, completed=self._done(step), epoch=epoch, values=_written(values), rate=rate)
        self.next = time.monotonic() + 0.5

    def close(self) -> None:
        self.progress.stop()

    def _done(self, step: int) -> int:
        """By steps or by time, whichever is further on."""
        return max(step, int(self.budget.share * self.steps))


class Lines:
    """A line on standard error for each epoch, with its losses and the time left.

    Ends of epochs that follow each other within seconds, or within a hundredth of the whole time, share one; within a
    long epoch there are lines too, the first soon.
    """

    def __init__(self, epochs: int, steps: int, done: int, budget: Budget = Budget(None)) -> None:  # noqa: B008
        self.epochs, self.steps = epochs, steps
        self.pace = Pace(steps, done, budget.seconds - budget.spent)
        self.told = -SHORT  # when the last end of an epoch was
        self.next = self.pace.began + SHORT

    def due(self) -> bool:
        return time.monotonic() >= self.next

    def show(self, epoch: int, step: int, values: dict[str, float], rate: float) -> None:
        now, over = time.monotonic(), step * self.epochs >= epoch * self.steps
        if over and 1 < epoch < self.epochs and now - self.told < max(SHORT, self.pace.whole(step) / MOST):
            return
        self.told = now if over else self.told
        self.next = now + max(LONG, self.pace.whole(step) / MOST)
        share = "" if over else f" at {100 * (step * self.epochs / self.steps + 1 - epoch):.0f} %"
        _print(f"epoch {epoch}{_of(self.epochs)}{share}  {_written(values)}  {rate:,.0f}/s{self.pace.left(step)}")

    def close(self) -> None: ...


Reporter = Silent | EpochBar | Lines


class Pace:
    """How long `total` things take, of which `done` were there at the beginning, and which end after `most` seconds."""

    def __init__(self, total: int, done: int = 0, most: float = inf) -> None:
        self.total, self.done, self.most, self.began = total, done, most, time.monotonic()

    def whole(self, done: int) -> float:
        """The seconds from the beginning to the end, judged by what is done."""
        return min(self.most, (time.monotonic() - self.began) / max(1, done - self.done) * (self.total - self.done))

    def left(self, done: int) -> str:
        """The rest of it in words, nothing at the end."""
        rest = self.whole(done) - (time.monotonic() - self.began)
        return f", about {duration(rest)} left" if done < self.total and rest > 0 else ""


def reporter(
    wanted: bool | None,
    epochs: int,
    steps: int,
    done: int,
    budget: Budget = Budget(None),  # noqa: B008
) -> Reporter:
    """A bar on standard error where that is a terminal; elsewhere lines where `wanted`, else silence."""
    console = Console(stderr=True)
    if wanted is False or not (wanted or console.is_terminal):
        return Silent()
    return EpochBar(console, epochs, steps, done, budget) if console.is_terminal else Lines(epochs, steps, done, budget)


@contextmanager
def counted(words: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that moves a bar on standard error, where that is a terminal, else writes lines."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Count(words)
        return
    with bar(words, console=console, transient=True) as bars:
        task = bars.add_task(words)
        yield lambda done, total: bars.update(task, completed=done, total=total)


class _Count:
    """A line as soon as the time left is known, if it is worth one, and then from time to time."""

    def __init__(self, words: str) -> None:
        self.words, self.pace, self.next = words, Pace(0), 0.0

    def __call__(self, done: int, total: int) -> None:
        self.pace.total = total
        now, whole = time.monotonic(), self.pace.whole(done)
        if done < total and now >= self.next and whole >= SHORT:
            self.next = now + max(LONG, whole / MOST)
            _print(f"{self.words}: {done:,} of {total:,}{self.pace.left(done)}")


def duration(seconds: float) -> str:
    """Seconds as a person says them: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _of(epochs: int) -> str:
    return f"/{epochs}" if epochs < ENDLESS else ""


def _written(values: dict[str, float]) -> str:
    """Without the bound of a posterior that is a point, -inf."""
    return "  ".join(f"{name} {value:.2f}" for name, value in values.items() if value != -inf)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
