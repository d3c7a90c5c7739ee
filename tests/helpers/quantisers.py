"""Small options of `Codes` for every quantiser."""

from __future__ import annotations

from typing import Any

LEARNED: dict[str, Any] = {"codes": 6, "dim": 4}
QUANTISERS: dict[str, dict[str, Any]] = {
    "nearest": LEARNED,
    "residual": {**LEARNED, "depth": 3},
    "grouped": {**LEARNED, "depth": 2},
    "finite-scalar": {"levels": (4, 3)},
    "lookup-free": {"codes": 8},
    "gumbel": {**LEARNED, "anneal": 6},
}
STACKED = {"residual": 3, "grouped": 2}  # integers at a place
SIZES = {"finite-scalar": 12, "lookup-free": 8}  # words, of those that are not asked for so many


def options(quantiser: str, **more: Any) -> dict[str, Any]:
    """Flat options of a recipe of codes."""
    return {"quantiser": quantiser, "widths": (4, 6), "seed": 1, **QUANTISERS[quantiser], **more}
