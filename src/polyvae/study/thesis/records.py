"""What the study keeps: for every run a row, its curve and its error by mask size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyvae.study.records import Key, Row, append_rows, read_rows, write_rows

RUNS, CURVES, MASKS = "runs.csv", "curves.csv", "masks.csv"

ROW: dict[str, type] = {
    "cell": str,
    "dataset": str,
    "family": str,
    "config": int,
    "method": str,
    "exponent": int,
    "fold": int,
    "train": int,
    "validation": int,
    "epochs": int,
    "best_epoch": int,
    "parameters": int,
    "mse": float,
    "mse_at_mean": float,
    "latent": float,
    "conditioned_mse": float,
    "conditioned_mse_at_mean": float,
    "observed": float,
    "observed_sd": float,
    "observed_count": int,
    "pixels": int,
    "seconds": float,
    "device": str,
    "precision": str,
    "seed": int,
    "commit": str,
    "polyvae": str,
    "torch": str,
}
CURVE: dict[str, type] = {
    "cell": str,
    "fold": int,
    "epoch": int,
    "mse": float,
    "latent": float,
    "conditioned_mse": float,
}
MASK: dict[str, type] = {"cell": str, "fold": int, "count": int, "mse": float, "without": float}


@dataclass
class Records:
    """All that is known of a study's runs, by cell and fold: rows, curves (a row an epoch), masks (a row a size)."""

    rows: dict[Key, Row] = field(default_factory=dict)
    curves: dict[Key, list[Row]] = field(default_factory=dict)
    masks: dict[Key, list[Row]] = field(default_factory=dict)

    def add(self, result: Mapping[str, Any]) -> Key:
        """Takes a run's result and returns its key."""
        row = {name: result["row"].get(name) for name in ROW}
        key = row["cell"], row["fold"]
        where = {"cell": key[0], "fold": key[1]}
        self.rows[key] = row
        for kept, columns, lines in ((self.curves, CURVE, result["curve"]), (self.masks, MASK, result["masks"])):
            if lines:
                kept[key] = [{name: {**where, **line}.get(name) for name in columns} for line in lines]
        return key

    def append(self, folder: Path, key: Key) -> None:
        """Adds a run to the tables of `write`; its row comes last, since a run that stands there is done."""
        append_rows(folder / CURVES, CURVE, self.curves.get(key, []))
        append_rows(folder / MASKS, MASK, self.masks.get(key, []))
        append_rows(folder / RUNS, ROW, [self.rows[key]])

    def write(self, folder: Path) -> None:
        """Writes the three tables anew, sorted, without what kills have left; the one of the runs comes last."""
        write_rows(folder / CURVES, CURVE, [line for key in sorted(self.curves) for line in self.curves[key]])
        write_rows(folder / MASKS, MASK, [line for key in sorted(self.masks) for line in self.masks[key]])
        write_rows(folder / RUNS, ROW, [self.rows[key] for key in sorted(self.rows)])

    @classmethod
    def read(cls, folder: Path) -> Records:
        """The tables of a folder; nothing where there are none yet."""
        found = cls({(row["cell"], row["fold"]): row for row in read_rows(folder / RUNS, ROW)})
        for name, columns, by, kept in ((CURVES, CURVE, "epoch", found.curves), (MASKS, MASK, "count", found.masks)):
            # A kill may have left the first lines of a run that was recorded again: the later ones count.
            lines = {(line["cell"], line["fold"], line[by]): line for line in read_rows(folder / name, columns)}
            for (cell, fold, _), line in lines.items():
                if (cell, fold) in found.rows:
                    kept.setdefault((cell, fold), []).append(line)
        return found
