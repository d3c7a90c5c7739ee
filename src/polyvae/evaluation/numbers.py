"""Numbers as tables of results show them: to a few figures, beside a spread to two figures of the spread."""

from __future__ import annotations

import math

NONE = "–"


def number(value: float | None, figures: int = 4) -> str:
    """A number to so many figures, a dash for none."""
    if value is None or math.isnan(value):
        return NONE
    value += 0.0  # of minus zero zero
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        digits = max(0, figures - 1 - math.floor(math.log10(abs(value)))) if value else 0
        return f"{value:.{min(digits, 8)}f}"
    return f"{value:.{figures - 1}e}"


def so_many(count: int, noun: str) -> str:
    """So many of a noun whose plural ends in s: 1 example, 2,000 examples."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def plus_minus(mean: float | None, spread: float | None) -> str:
    """A mean and its deviation or standard error, to two figures of that: 0.01780 ± 0.00035; the mean alone else."""
    if mean is None or math.isnan(mean) or spread is None or not (math.isfinite(spread) and spread > 0):
        return number(mean)
    decimals = min(12, max(0, 1 - math.floor(math.log10(spread))))
    if decimals > 6:
        power = math.floor(math.log10(abs(mean))) if mean else 0
        return f"{number(mean)} ± {spread:.1e}" if power > -4 else f"{mean:.2e} ± {spread:.1e}"
    return f"{mean:.{decimals}f} ± {spread:.{decimals}f}"
