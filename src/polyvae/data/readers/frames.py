"""Data frames, sparse and annotated matrices as tables, recognised by their attributes: no library is imported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from polyvae.data.columns.gaps import check_missing, spread
from polyvae.data.columns.roles import is_index
from polyvae.data.columns.table import Table, numbered, numbered_features
from polyvae.data.errors import DataError

FRAMES = ("pandas", "polars")
NOTED = 256 * 2**20  # bytes; a sparse matrix that is larger when dense is said to be so


def is_frame(anything: Any) -> bool:
    """Whether it is a table of named columns, as of pandas or polars."""
    return all(hasattr(anything, name) for name in ("columns", "to_numpy", "__getitem__")) and not is_series(anything)


def library_of(anything: Any) -> str | None:
    """The library in FRAMES of a data frame, or of the x of a pair; None for anything else."""
    found = anything[0] if isinstance(anything, tuple) and anything else anything
    name = type(found).__module__.partition(".")[0]
    return name if name in FRAMES and is_frame(found) else None


def is_series(anything: Any) -> bool:
    """Whether it is one column of such a table."""
    return hasattr(anything, "to_numpy") and getattr(anything, "ndim", 1) == 1 and hasattr(anything, "name")


def is_annotated(anything: Any) -> bool:
    """Whether it is a matrix with named rows and columns, as AnnData of anndata."""
    return all(hasattr(anything, name) for name in ("X", "obs", "var_names"))


def is_sparse(anything: Any) -> bool:
    """Whether it is a sparse matrix or array of scipy."""
    return all(hasattr(anything, name) for name in ("nnz", "toarray", "tocsr"))


def frame_columns(frame: Any, where: str) -> dict[str, np.ndarray]:
    """The columns of a data frame as arrays [N] of numbers, truth values or text, by name.

    Raises DataError for names given twice, cells that are missing, and columns of dates or objects.
    """
    columns, gaps = frame_cells(frame, where)
    index = [name for place, name in enumerate(columns) if is_index(place, name)]
    check_missing({name: int(gap.sum()) for name, gap in gaps.items() if name not in index}, where)
    return columns


def frame_cells(frame: Any, where: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The columns of a data frame as `frame_columns` returns them, with missing cells, and which cells are missing.

    Raises DataError for names given twice, and columns of dates or objects.
    """
    columns: dict[str, np.ndarray] = {}
    gaps: dict[str, np.ndarray] = {}
    for place, (name, series) in enumerate(series_of(frame, where).items()):
        try:
            cells, known = known_cells(series, f"{where}, column {name!r}")
        except DataError:
            if not is_index(place, name):
                raise
            known = ~_empty(series)  # dates, say, or numbers and text
            cells = np.array([str(cell) for cell in np.asarray(series.to_numpy())[known]])
        columns[name], gaps[name] = spread(cells, known), ~known
    return columns, gaps


def series_of(frame: Any, where: str) -> dict[str, Any]:
    """The columns of a data frame by name, in its library's type. Raises DataError for names given twice."""
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise DataError(where, "a name of its own for every column", f"{names}", "rename the columns")
    return {str(name): frame[name] for name in frame.columns}


def series_values(series: Any, where: str) -> np.ndarray:
    """The values of one column of a data frame, likewise."""
    if missing := int(_empty(series).sum()):
        raise DataError(where, "a value in every cell", f"{missing:,} missing", "drop these rows, or fill them")
    return plain(np.asarray(series.to_numpy()), where)


def known_cells(series: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The cells of one column that have a value, as `frame_columns` returns them, and which rows [N] they are.

    `column`: of a frame, or an array [N].
    """
    if isinstance(series, np.ndarray):
        cells, known = series, np.ones(len(series), dtype=bool)
    else:
        cells, known = np.asarray(series.to_numpy()), ~_empty(series)
    if cells.dtype.kind == "f":  # not a number is a value where missing ones are marked in another way
        known &= ~np.isnan(cells)
    return plain(cells[known], where), known


def annotated_table(matrix: Any, label: str | None, where: str) -> Table:
    """The matrix X [N, d] of annotated data with the names of its variables, and y from the column `label` of obs.

    A sparse X becomes dense. Raises DataError for a label that is not in obs, missing labels, and values not finite.
    """
    names = [str(name) for name in matrix.var_names]
    if len(set(names)) < len(names):
        raise DataError(where, "a name of its own for every variable", "names given twice", "make the names unique")
    if matrix.X is None:
        raise DataError(where, "values in X", "none", "put the layer to be modelled into X")
    x = matrix.X
    whole = dense(x, where) if is_sparse(x) else Table({"x": np.asarray(x)}, numbered_features(np.asarray(x), x.dtype))
    features = (replace(each, name=name) for each, name in zip(whole.features, names, strict=True))
    whole = replace(whole, features=tuple(features))
    known = [str(name) for name in matrix.obs.columns]
    if label and label not in known:
        raise DataError(where, f"a column of labels {label!r} in obs", f"the columns {known}", "name one of these")
    if not label:  # what a column of obs says of a cell is no label until it is asked for
        return whole
    y, labels = numbered(frame_columns(matrix.obs[[label]], where)[label], f"{where}, column {label!r}")
    return replace(whole, arrays={**whole.arrays, "y": y}, labels=labels)


def dense(matrix: Any, where: str) -> Table:
    """A sparse matrix [N, d] as x, float32 or wider if float32 loses digits; with a note if that takes much memory."""
    size = 4 * matrix.shape[0] * matrix.shape[1]
    held = int(matrix.nnz) / max(1, matrix.shape[0] * matrix.shape[1])
    note = f"{where}: the sparse matrix ({held:.1%} not zero) is held dense, in {size / 2**20:,.0f} MiB"
    narrow = matrix.astype(np.float32)
    x = (matrix if (narrow != matrix).nnz else narrow).toarray()  # what is lost is noted of dense columns
    return Table({"x": x}, numbered_features(x, matrix.dtype), notes=(note,) if size > NOTED else ())


def _empty(series: Any) -> np.ndarray:
    """Which cells have no value, [N]."""
    return np.asarray(series.isna() if hasattr(series, "isna") else series.is_null())


def plain(values: np.ndarray, where: str) -> np.ndarray:
    """Numbers, truth values or text [N] that are stored as objects, in their own type; other values unchanged."""
    if values.dtype.kind == "O":
        kinds = {type(value) for value in values.tolist()}
        if not all(issubclass(kind, (bool, int, float, str, np.generic)) for kind in kinds):
            found = f"objects of {', '.join(sorted(kind.__name__ for kind in kinds))}"
            raise DataError(where, "a column of numbers or text", found, "turn them into numbers, or drop the column")
        if any(issubclass(kind, str) for kind in kinds) and not all(issubclass(kind, str) for kind in kinds):
            found = f"both, of {', '.join(sorted(kind.__name__ for kind in kinds))}"
            raise DataError(where, "numbers throughout, or text throughout", found, "write all its cells alike")
        values = np.array(values.tolist())
    if values.dtype.kind not in "biufU":
        advice = "turn it into numbers, such as days since the first, or drop the column"
        raise DataError(where, "a column of numbers or text", f"{values.dtype}", advice)
    return values
