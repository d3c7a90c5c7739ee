"""Missing cells of a table: rows with one are left out, or refused with advice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from polyvae.checks.names import shortened
from polyvae.data.errors import DataError

MORE = " and in {} more columns"
_PATTERNS = 200  # of missing cells, the smallest, from which sets of columns to drop are taken


def kept_rows(gaps: Mapping[str, np.ndarray], where: str | Path, skip_bad: bool) -> tuple[np.ndarray, str]:
    """Which rows [N] have a value in every cell, and a note on the others, which are left out.

    `gaps`: which cells of each column are missing, bool [N]. Raises DataError as `check_missing` if cells are missing
    and may not be skipped; if no row would be left, the error says which columns to drop.
    """
    keep = ~np.logical_or.reduce(list(gaps.values()))
    if not skip_bad:
        check_missing({name: int(gap.sum()) for name, gap in gaps.items()}, where)
    elif not keep.any():
        counts = {name: int(gap.sum()) for name, gap in gaps.items()}
        words = [
            f"{'all ' if n == len(keep) else ''}{n:,} missing in column {name!r}" for name, n in counts.items() if n
        ]
        found = f"no row is complete: {shortened(words, 20, MORE)}"
        advice = "drop what is empty" if len(keep) in counts.values() else "drop columns"
        raise DataError(where, "a value in every cell", found, f"{advice}: {_to_drop(gaps)}")
    return keep, f"{where}: {int((~keep).sum()):,} of {len(keep):,} rows lack a value, and are left out"


def check_missing(missing: Mapping[str, int], where: str | Path) -> None:
    """Raises DataError naming the columns with missing cells, and how many each has."""
    found = [f"{count:,} missing in column {name!r}" for name, count in missing.items() if count]
    if found:
        advice = (
            "drop these rows or columns, or fill the cells, with the column's median for instance. No recipe trains on "
            "gaps: load the data without these rows (skip_bad=True), and a run of arbitrary_conditioning on the others "
            "then says what the gaps may hold: run.complete(frame)"
        )
        raise DataError(where, "a value in every cell", shortened(found, 20, MORE), advice)


def spread(cells: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The cells of the `known` rows at their places among all rows [N]; what the other rows hold means nothing."""
    if known.all():
        return cells
    whole = np.zeros(len(known), cells.dtype)
    whole[known] = cells
    return whole


def _to_drop(gaps: Mapping[str, np.ndarray]) -> str:
    """Sets of columns without which rows are complete: the smallest, and up to two larger ones that keep more rows."""
    patterns, counts = np.unique(np.stack([*gaps.values()], 1), axis=0, return_counts=True)
    words: list[str] = []
    most = 0
    for pattern in patterns[np.lexsort((-counts, patterns.sum(1)))[:_PATTERNS]]:
        rows = int(counts[~(patterns & ~pattern).any(1)].sum())
        if rows > 1.1 * most and len(words) < 3:
            names = [repr(name) for name, gap in zip(gaps, pattern, strict=True) if gap]
            most = rows
            columns, verb = "columns" if len(names) > 1 else "column", "rows are" if rows > 1 else "row is"
            words.append(f"without {columns} {shortened(names, 20, MORE)} {rows:,} {verb} complete")
    return "; ".join(words)
