"""In which precisions runs were trained, and whether a comparison mixes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Side = Mapping[int, frozenset[str]]  # the precisions of what stands on one side of a comparison, by fold
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Precisions:
    """The precisions of a comparison in words, and whether some fold compares one with another."""

    text: str
    mixed: bool


def compared(sides: Sequence[Side]) -> Precisions:
    """Of a comparison paired over the folds that all sides have.

    "bf16" where both sides were trained alike, "fp32 against bf16" where they were not, "bf16 and fp32 mixed" of more
    than two sides; a dash without a common fold.
    """
    folds = sorted(set.intersection(*(set(side) for side in sides))) if sides else []
    found = list(dict.fromkeys(tuple(listed(side[fold]) for side in sides) for fold in folds))
    if not found:
        return Precisions("–", False)
    unlike = [names for names in found if len(set(names)) > 1]
    if not unlike:
        return Precisions(listed(names[0] for names in found), False)
    if len(sides) == 2:
        return Precisions("; ".join(" against ".join(names) for names in unlike), True)
    return Precisions(f"{listed(frozenset().union(*(side[fold] for side in sides for fold in folds)))} mixed", True)


def listed(names: Iterable[str]) -> str:
    """ "bf16", or "bf16 and fp32"."""
    return " and ".join(sorted(set(names))) or UNKNOWN
