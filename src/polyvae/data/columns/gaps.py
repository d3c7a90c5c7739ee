"""Missing cells of a table: kept with a mask of what is seen, or rows with one are left out, or refused with advice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from polyvae.checks.names import shortened
from polyvae.data.errors import DataError

MORE = " and in {} more columns"
_ASIDE = 3  # columns with missing cells, of which more are not an accident
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


def check_missing(missing: Mapping[str, int], where: str | Path, aside: bool = False) -> None:
    """Raises DataError naming the columns with missing cells, and how many each has; `aside`: x may do without them."""
    found = [f"{count:,} missing in column {name!r}" for name, count in missing.items() if count]
    if found:
        lacking = [name for name, count in missing.items() if count]
        names = ",".join(lacking)
        named = aside and len(lacking) <= _ASIDE and names.count(",") < len(lacking) < len(missing)
        out = f", or take them out of x, as conditions (beside={names!r})" if named else ""
        advice = (
            f"drop these rows or columns, or fill the cells, with the column's median for instance{out}. The recipe "
            "incomplete trains on gaps (gaps=True) and fills them: run.impute(frame). Others do not: load the data "
            "without these rows (skip_bad=True), and a run of arbitrary_conditioning on the others then says what the "
            "gaps may hold: run.complete(frame)"
        )
        raise DataError(where, "a value in every cell", shortened(found, 20, MORE), advice)


def filled(cells: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The cells [N] with those that are not `known` [N] replaced by the known ones in turn.

    Nobody reads them, but what looks at a column then sees nothing that it does not hold: its values, their range and
    how often each comes are those of the known cells. At least one is known.
    """
    made = cells.copy()
    made[~known] = np.resize(cells[known], int((~known).sum()))
    return made


def kept_cells(
    columns: Mapping[str, np.ndarray], gaps: Mapping[str, np.ndarray], where: str | Path
) -> tuple[dict[str, np.ndarray], np.ndarray, str]:
    """The columns `filled`, which of their cells are seen, bool [N, D], and a note on the others.

    Raises DataError, by name, for columns without a value.
    """
    if empty := [name for name in columns if gaps[name].all()]:
        found = f"none in column{'s' * (len(empty) > 1)} {shortened([repr(name) for name in empty], 20, MORE)}"
        raise DataError(where, "at least one value in every column", found, "drop what is empty")
    seen = ~np.stack([gaps[name] for name in columns], 1)
    missing = {name: int(gaps[name].sum()) for name in columns if gaps[name].any()}
    words = shortened([f"{count:,} in column {name!r}" for name, count in missing.items()], 20, MORE)
    rows = int((~seen.any(1)).sum())
    share = f"{1 - seen.mean():.1%}"
    note = (
        f"{where}: {int((~seen).sum()):,} of {seen.size:,} cells ({share}) lack a value and are kept as gaps: {words}"
    )
    note += f"; {rows:,} rows have no value at all" if rows else ""
    return {name: filled(cells, ~gaps[name]) for name, cells in columns.items()}, seen, note


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
