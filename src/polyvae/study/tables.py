"""The tables of a study: a row for each run, and beside it lines of the run, such as one for each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from polyvae.study.records import KEYS, Key, Row, append_rows, read_rows, write_rows

RUNS = "runs.csv"


@dataclass(frozen=True)
class Side:
    """A table beside that of the runs: its file, its columns, and which of them tells a run's lines apart."""

    file: str
    columns: Mapping[str, type]
    by: str


@dataclass(frozen=True)
class Layout:
    """What a study keeps of a run: the columns of its row, and the tables beside by the names of a result's parts.

    `keys`: the two columns that name a run, a text and a number, in every table.
    """

    columns: Mapping[str, type]
    sides: Mapping[str, Side] = field(default_factory=dict)
    keys: tuple[str, str] = KEYS


@dataclass
class Tables:
    """All that is known of a study's runs: `rows` by key, and `lines` by the name of their table, then by key."""

    layout: Layout
    rows: dict[Key, Row] = field(default_factory=dict)
    lines: dict[str, dict[Key, list[Row]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lines = {name: self.lines.get(name, {}) for name in self.layout.sides}

    def add(self, result: Mapping[str, Any]) -> Key:
        """Takes a run's result, its "row" and the lines of each table, and returns its key."""
        row = {name: result["row"].get(name) for name in self.layout.columns}
        first, second = self.layout.keys
        key = row[first], row[second]
        where = {first: key[0], second: key[1]}
        self.rows[key] = row
        for name, side in self.layout.sides.items():
            if result[name]:
                lines = [{**where, **line} for line in result[name]]
                self.lines[name][key] = [{column: line.get(column) for column in side.columns} for line in lines]
        return key

    def append(self, folder: Path, key: Key) -> None:
        """Adds a run to the tables of `write`; its row comes last, since a run that stands there is done."""
        for name, side in self.layout.sides.items():
            append_rows(folder / side.file, side.columns, self.lines[name].get(key, []))
        append_rows(folder / RUNS, self.layout.columns, [self.rows[key]])

    def write(self, folder: Path) -> None:
        """Writes all tables anew, sorted, without what kills have left; the one of the runs comes last."""
        for name, side in self.layout.sides.items():
            kept = self.lines[name]
            write_rows(folder / side.file, side.columns, [line for key in sorted(kept) for line in kept[key]])
        write_rows(folder / RUNS, self.layout.columns, [self.rows[key] for key in sorted(self.rows)])

    def filled(self, folder: Path) -> Self:
        """These tables, with what those of a folder hold; nothing where there are none yet."""
        (first, second), keys = self.layout.keys, self.layout.keys
        self.rows |= {(row[first], row[second]): row for row in read_rows(folder / RUNS, self.layout.columns, keys)}
        for name, side in self.layout.sides.items():
            # A kill may have left the first lines of a run that was recorded again: the later ones count.
            held = read_rows(folder / side.file, side.columns, keys)
            lines = {(line[first], line[second], line[side.by]): line for line in held}
            for (label, number, _), line in lines.items():
                if (label, number) in self.rows:
                    self.lines[name].setdefault((label, number), []).append(line)
        return self
