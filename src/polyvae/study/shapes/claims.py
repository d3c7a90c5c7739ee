"""What is claimed of the assignment's models, and what the runs say: differences paired by seed, at every reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from polyvae.study.shapes.measure import capacity_bits
from polyvae.study.statistics import Interval, interval, paired, verdict

Line = Mapping[str, Any]
# label -> epochs -> seed -> the line of the reading
Readings = Mapping[str, Mapping[int, Mapping[int, Line]]]
VAE = "vae"


@dataclass(frozen=True)
class Claim:
    """`column` of `one` less that of `other` lies on a `side` of zero; `whose`: who says so."""

    text: str
    one: str
    other: str
    column: str
    side: int
    whose: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim at one reading: the difference over the seeds, in the column's unit, and what it says."""

    text: str
    whose: str
    epochs: int
    found: Interval
    verdict: str


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
            Claim(f"q(z) of {label} lies further from the prior", label, VAE, "marginal_kl_bits", 1),
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
            Claim(f"{less} tells more bits than {more}", less, more, "information_bits", 1, "theory"),
        ]
    return made


def judged(readings: Readings, epochs: Sequence[int]) -> list[Judged]:
    """Every claim at every reading that at least one seed of both variants has, then that of the channel's capacity."""
    made = []
    for claim in claims(list(readings)):
        for at in epochs:
            one, other = (_values(readings, label, at, claim.column) for label in (claim.one, claim.other))
            if found := paired(one, other):
                made.append(_judge(claim, at, interval(found)))
    return made


def capacities(readings: Readings, epochs: Sequence[int], noise: Callable[[str], float], d: int) -> list[Judged]:
    """Of every channel: the most that it can have told lies below the capacity of a code that fills the prior."""
    made = []
    for label in [label for label in readings if label != VAE]:
        bound = capacity_bits(noise(label), d)
        claim = Claim(f"{label} tells at most its {bound:.2f} bits", label, "", "information_most_bits", -1, "theory")
        told = {at: _values(readings, label, at, claim.column) for at in epochs}
        made += [
            _judge(claim, at, interval(value - bound for value in values.values()))
            for at, values in told.items()
            if values
        ]
    return made


def _judge(claim: Claim, epochs: int, found: Interval) -> Judged:
    return Judged(claim.text, claim.whose, epochs, found, verdict(found, claim.side))


def _values(readings: Readings, label: str, epochs: int, column: str) -> dict[int, float]:
    lines = readings[label].get(epochs, {})
    return {seed: line[column] for seed, line in lines.items() if line.get(column) is not None}
