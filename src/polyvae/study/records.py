"""A study's folder: its settings, what its runs leave, and tables as CSV that grow by a run at a time."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polyvae.data.files.sealed import read_sealed_json
from polyvae.data.files.writing import write_text

STUDY, RESULT = "study.json", "result.json"
KEYS = ("cell", "fold")
LONGEST = 2**16  # bytes of a line at most
Row = dict[str, Any]
Key = tuple[str, int]


class StudyError(ValueError):
    """A study's folder that cannot be read or continued; the message names the file and what to do."""


def write_rows(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as CSV, None as nothing, so that every number is read back as it was."""
    write_text(path, _lines([{name: name for name in columns}, *rows], columns))


def append_rows(path: Path, columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> None:
    """Adds rows to those of `write_rows`, on the disk when it returns; nobody else may write the file meanwhile.

    A kill leaves the first of the lines and perhaps a torn one, which `read_rows` leaves out and the next call cuts.
    """
    with path.open("r+b") as file:
        start = max(0, file.seek(0, os.SEEK_END) - LONGEST)
        file.seek(start)
        file.truncate(start + file.read().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(_lines(rows, columns).encode())
        file.flush()
        os.fsync(file.fileno())


def _lines(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, type]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, list(columns), lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_rows(path: Path, columns: Mapping[str, type], keys: Sequence[str] = KEYS) -> list[Row]:
    """The rows of `write_rows` and `append_rows`; none where there is no file. Raises StudyError.

    `keys`: the columns that a table of the study has, whichever version wrote it.
    """
    try:
        held = path.read_bytes()
        reader = csv.DictReader(io.StringIO(held[: held.rfind(b"\n") + 1].decode(), newline=""))
        if missing := [name for name in keys if name not in (reader.fieldnames or ())]:
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


def read_result(folder: Path, parts: Collection[str] = ("row",)) -> dict[str, Any] | None:
    """What a run left in its folder when it was measured, or None. Raises StudyError where it lacks one of `parts`."""
    path = folder / RESULT
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if missing := [part for part in parts if part not in result]:
            raise ValueError(f"it holds no {missing[0]}")
        return result
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path} is not the result of a run ({error}); remove it to measure again") from None


def open_study(folder: Path, name: str, protocol: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Starts the folder of a study, or checks that it holds one of the same settings. Raises StudyError.

    `before`: settings that came later, as studies without them meant them.
    """
    path = folder / STUDY
    mine = json.loads(json.dumps({"study": name, "protocol": protocol}))
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(entry.name[0] != "." for entry in folder.iterdir())):
            raise StudyError(f"{folder} holds other files; choose an empty or a new folder for the study")
        write_text(path, json.dumps(mine, indent=2) + "\n")
        return
    theirs = read_study(folder)
    then, now = {**(before or {}), **theirs["protocol"]}, mine["protocol"]
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
        return read_sealed_json(path, "protocol")
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"{folder} holds no study: it has no {STUDY}; start one without --report-only") from None
    except (ValueError, OSError) as error:
        raise StudyError(f"{path} does not describe a study ({error}); restore it, or choose another --out") from None
