"""What a study keeps: its settings, and for every run a row, its curve and its error by mask size, as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyvae.data.files.writing import write_text

STUDY, RUNS, CURVES, MASKS, RESULT = "study.json", "runs.csv", "curves.csv", "masks.csv", "result.json"
KEYS = ("cell", "fold")
Row = dict[str, Any]
Key = tuple[str, int]

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


class StudyError(ValueError):
    """A study's folder that cannot be read or continued; the message names the file and what to do."""


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

    def join(self, other: Records) -> None:
        """Takes the runs of others that it does not know."""
        for key in other.rows.keys() - self.rows.keys():
            self.rows[key] = other.rows[key]
            for mine, theirs in ((self.curves, other.curves), (self.masks, other.masks)):
                if key in theirs:
                    mine[key] = theirs[key]

    def write(self, folder: Path) -> None:
        """Writes the three tables; the one of the runs comes last, since a run that stands there is done."""
        write_rows(folder / CURVES, CURVE, [line for key in sorted(self.curves) for line in self.curves[key]])
        write_rows(folder / MASKS, MASK, [line for key in sorted(self.masks) for line in self.masks[key]])
        write_rows(folder / RUNS, ROW, [self.rows[key] for key in sorted(self.rows)])

    @classmethod
    def read(cls, folder: Path) -> Records:
        """The tables of a folder; nothing where there are none yet."""
        found = cls({(row["cell"], row["fold"]): row for row in read_rows(folder / RUNS, ROW)})
        for name, columns, kept in ((CURVES, CURVE, found.curves), (MASKS, MASK, found.masks)):
            for line in read_rows(folder / name, columns):
                kept.setdefault((line["cell"], line["fold"]), []).append(line)
        return found


def write_rows(path: Path, columns: Mapping[str, type], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as CSV, None as nothing, so that every number is read back as it was."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_rows(path: Path, columns: Mapping[str, type]) -> list[Row]:
    """The rows of `write_rows`; none where there is no file. Raises StudyError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in KEYS if name not in (reader.fieldnames or ())]:
                raise ValueError(f"it has no column {missing[0]}")
            # A column that an earlier version did not write is empty.
            return [{name: _read(row.get(name) or "", kind) for name, kind in columns.items()} for row in reader]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise StudyError(
            f"{path} is not a table of this study ({error}); restore it, or choose another --out"
        ) from None


def _read(text: str, kind: type) -> Any:
    if kind is str:
        return text
    return None if text == "" else kind(text)


def read_result(folder: Path) -> dict[str, Any] | None:
    """What a run left in its folder when it was measured, or None. Raises StudyError."""
    path = folder / RESULT
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if not {"row", "curve", "masks"} <= set(result):
            raise ValueError("it holds no row, curve and masks")
        return result
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path} is not the result of a run ({error}); remove it to measure again") from None


def open_study(folder: Path, protocol: Mapping[str, Any]) -> None:
    """Starts a study's folder, or checks that it holds a study of the same settings. Raises StudyError."""
    path = folder / STUDY
    mine = json.loads(json.dumps({"study": "multitask", "protocol": protocol}))
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(entry.name[0] != "." for entry in folder.iterdir())):
            raise StudyError(f"{folder} holds other files; choose an empty or a new folder for the study")
        write_text(path, json.dumps(mine, indent=2) + "\n")
        return
    theirs = read_study(folder)
    then, now = theirs["protocol"], mine["protocol"]
    if differences := [
        f"{name}: {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]
    ]:
        raise StudyError(
            f"{folder} holds a study with other settings ({'; '.join(differences)}); "
            "repeat them, or choose another --out"
        )


def read_study(folder: Path) -> dict[str, Any]:
    """The settings that a study's runs share. Raises StudyError."""
    path = folder / STUDY
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found.get("protocol"), dict):
            raise ValueError("it holds no settings")
        return found
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"{folder} holds no study: it has no {STUDY}; start one without --report-only") from None
    except (ValueError, AttributeError) as error:
        raise StudyError(f"{path} does not describe a study ({error}); restore it, or choose another --out") from None
