"""What is claimed of the assignment's models, and what the runs say: differences paired by seed, at every reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from polyvae.study.shapes.measure import capacity_bits
from polyvae.study.statistics import UNDECIDED, Interval, interval, paired, verdict

Line = Mapping[str, Any]
# label -> epochs -> seed -> the line of the reading
Readings = Mapping[str, Mapping[int, Mapping[int, Line]]]
VAE = "vae"
# What is not known but for a value below it and one above.
BETWEEN = {
    "information": ("information_bits", "information_most_bits"),
    "marginal_kl": ("marginal_kl_least_bits", "marginal_kl_bits"),
}


@dataclass(frozen=True)
class Claim:
    """`column`, or what is `BETWEEN` two, of `one` less that of `other` is on a `side` of zero; `whose`: its author."""

    text: str
    one: str
    other: str
    column: str
    side: int
    whose: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim at one reading: the difference over the seeds, in the column's unit, and what it says.

    `most`: of what is known to lie between two values, the largest difference that they leave; `found` is the smallest.
    """

    text: str
    whose: str
    epochs: int
    found: Interval
    verdict: str
    most: Interval | None = None


def claims(labels: Sequence[str]) -> list[Claim]:
    """The claims about these variants, the noises in rising order."""
    noises = [label for label in labels if label != VAE]
    made = []
    for label in noises if VAE in labels else ():
        source = "the assignment" if label == "noise 5" else ""
        made += [
            Claim(f"{label} leaves a larger squared error than the VAE", label, VAE, "error_sum", 1, source),
            Claim(f"fewer test pictures of {label} are recognised", label, VAE, "right_test", -1, source),
            Claim(f"more random pictures of {label} are recognised", label, VAE, "recognised_random", 1, source),
            Claim(f"q(z) of {label} lies further from the prior", label, VAE, "marginal_kl", 1),
        ]
    for less, more in pairwise(noises):
        made += [
            Claim(
                f"fewer test pictures of {less} are recognised than of {more}",
                less,
                more,
                "right_test",
                -1,
                "the assignment",
            ),
            Claim(f"{less} leaves a smaller squared error than {more}", less, more, "error_sum", -1, "theory"),
            Claim(f"{less} tells more bits than {more}", less, more, "information", 1, "theory"),
        ]
    return made


def judged(readings: Readings, epochs: Sequence[int]) -> list[Judged]:
    """Every claim at every reading that at least one seed of both variants has, then that of the channel's capacity."""
    made = []
    for claim in claims(list(readings)):
        for at in epochs:
            one, other = (_bounds(readings, label, at, claim.column) for label in (claim.one, claim.other))
            if found := paired(one[0], other[1]):
                made.append(_judge(claim, at, found, paired(one[1], other[0])))
    return made


def capacities(readings: Readings, epochs: Sequence[int], noise: Callable[[str], float], d: int) -> list[Judged]:
    """Of every channel: what it tells lies below the capacity of a code that fills the prior."""
    made = []
    for label in [label for label in readings if label != VAE]:
        bound = capacity_bits(noise(label), d)
        claim = Claim(f"{label} tells at most its {bound:.2f} bits", label, "", "information", -1, "theory")
        told = {at: _bounds(readings, label, at, claim.column) for at in epochs}
        made += [
            _judge(claim, at, *([value - bound for value in values.values()] for values in both))
            for at, both in told.items()
            if both[0]
        ]
    return made


def _judge(claim: Claim, epochs: int, least: Sequence[float], most: Sequence[float]) -> Judged:
    """By the smallest differences and by the largest: what both say."""
    low, high = interval(least), interval(most)
    found = {verdict(low, claim.side), verdict(high, claim.side)}
    said = found.pop() if len(found) == 1 else UNDECIDED
    return Judged(claim.text, claim.whose, epochs, low, said, None if claim.column not in BETWEEN else high)


def _bounds(readings: Readings, label: str, epochs: int, column: str) -> tuple[dict[int, float], dict[int, float]]:
    """Of every seed the least and the most that a column, or what lies between two, can be."""
    low, high = BETWEEN.get(column, (column, column))
    return _values(readings, label, epochs, low), _values(readings, label, epochs, high)


def _values(readings: Readings, label: str, epochs: int, column: str) -> dict[int, float]:
    lines = readings[label].get(epochs, {})
    return {seed: line[column] for seed, line in lines.items() if line.get(column) is not None}
