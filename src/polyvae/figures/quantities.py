"""Which quantities of a training are worth a panel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polyvae.figures.kinds import Curves


def told(figure: Curves) -> dict[str, tuple[str, dict[str, np.ndarray]]]:
    """The quantities worth a panel, by name: its heading and its lines.

    Left out is what never changes, and what only repeats another, such as a loss that is the bound with the other sign;
    the heading of the other then says so. Where nothing changes, as in a single epoch, all but the repeated stay. Of
    the validation part a line is left out that is 0 throughout where the training's is not, as the cost of labels is
    that are all hidden there.
    """
    first = ("bound", "loss")
    names = sorted(figure.quantities, key=lambda name: first.index(name) if name in first else len(first))
    moving = [name for name in names if any(_moves(values) for values in figure.quantities[name].values())]
    kept: dict[str, str] = {}
    for name in moving or names:
        for other in kept:
            if sign := _twins(figure.quantities[name], figure.quantities[other]):
                kept[other] += f" = {'-' if sign < 0 else ''}{name}"
                break
        else:
            kept[name] = name
    return {name: (kept[name], _counted(lines)) for name, lines in figure.quantities.items() if name in kept}


def _counted(lines: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The lines of a quantity without that of a validation part none of whose rows counts."""
    none = {role for role, values in lines.items() if not np.nan_to_num(values, nan=1.0).any()}
    return {role: values for role, values in lines.items() if none != {"validation"} or role != "validation"}


def _moves(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 1 and bool(np.ptp(known) > 1e-9 * np.abs(known).max())


def _twins(mine: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> int:
    """1 where both have the same lines, -1 where they are mirrored, else 0."""
    if set(mine) != set(other):
        return 0
    same = {sign: all(np.allclose(sign * mine[k], other[k], 1e-4, 0, equal_nan=True) for k in mine) for sign in (1, -1)}
    return 1 if same[1] else -1 if same[-1] else 0
