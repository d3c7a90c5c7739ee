"""What a run of several modalities makes and is no picture, in tables: words, or numbers and labels by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table
from torch import Tensor

from polyvae.data import Split
from polyvae.evaluation.modalities.given import real_values, whole
from polyvae.evaluation.numbers import NONE
from polyvae.model.spec import Column, Spec

SHOWN = 20  # examples at most, as columns of the figure
COLUMNS = 6  # of a table at most
LETTERS = 16  # of a label or a column's name at most
EXPECTED = "A draw is what is expected at one draw of z."


def made_tables(
    specs: Mapping[str, Spec], split: Split, given: Sequence[str], made: Mapping[str, Any], draws: int
) -> list[Table]:
    """A table for each modality that was made of a split's rows: what is real, what is expected, so many draws.

    A row an example of words, else a row for each of its first columns.
    """
    values = whole(split)
    return [
        _table(specs[name], f"{name} of {' and '.join(given)}", real_values(split, values, name), each, draws)
        for name, each in made.items()
    ]


def _table(spec: Spec, title: str, real: Tensor | None, made: Any, draws: int) -> Table:
    from polyvae.figures.modalities import is_word, worded

    word, count, width = is_word(spec), len(made.mean), spec.x[0]
    named = spec.columns or (Column(),) * width
    best = "likeliest" if all(each.labels for each in named) else "mean"
    columns = {"real": real, best: made.mean}
    columns |= {f"draw {number + 1}": each for number, each in enumerate(made.samples[:draws])}
    notes = [EXPECTED] * (draws > 0)
    notes += [f"The first {SHOWN} of {count} examples."] * (count > SHOWN)
    notes += [f"{COLUMNS} of {width} columns; --npz keeps all."] * (width > COLUMNS and not word)
    table = Table(title=escape(title), title_justify="left", caption=" ".join(notes), caption_justify="left")
    for heading in ("example", *(() if word else ("column",)), *columns):
        table.add_column(heading, justify="left" if word or heading == "column" else "right", no_wrap=True)
    for row in range(min(SHOWN, count)):
        values = [
            None if each is None or not bool(each[row].isfinite().all()) else each[row] for each in columns.values()
        ]
        if word:
            cells = [NONE if each is None else worded(each.tolist(), spec) for each in values]
            table.add_row(str(row + 1), *map(escape, cells))
            continue
        for place in range(min(COLUMNS, width)):
            cells = [NONE if each is None else _cell(float(each[place]), named[place]) for each in values]
            name = _cut(named[place].name or str(place))
            last = place + 1 == min(COLUMNS, width)
            table.add_row(str(row + 1) if place == 0 else "", escape(name), *map(escape, cells), end_section=last)
    return table


def _cell(value: float, column: Column) -> str:
    if column.labels is None:
        return f"{value:.3g}"
    return _cut(str(column.labels[int(value)]))


def _cut(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
