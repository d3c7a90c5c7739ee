"""What the numbers of the assignment say, in sentences made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyvae.evaluation.numbers import number
from polyvae.study.shapes.claims import VAE, Judged, Readings
from polyvae.study.statistics import FAILS, HOLDS, UNDECIDED

WORDS = {HOLDS: ("holds", "hold"), FAILS: ("fails", "fail"), UNDECIDED: ("is undecided", "are undecided")}
Means = Mapping[str, Mapping[int, Mapping[str, float]]]


def discussion(
    readings: Readings, epochs: Sequence[int], found: Sequence[Judged], capacity: Mapping[str, float]
) -> list[str]:
    """Paragraphs: reconstructions, random pictures, bits, what more epochs bring, and what the claims came to."""
    means = {
        label: {at: _means(held[at], list(next(iter(held[at].values())))) for at in epochs if at in held}
        for label, held in readings.items()
    }
    last = max(at for held in means.values() for at in held)
    there = {label: held[last] for label, held in means.items() if last in held}
    return [
        _reconstructions(there, last),
        _random(there, last),
        _bits(there, capacity),
        *_more(means, epochs),
        *_verdicts(found, last),
    ]


def _means(seeds: Mapping[int, Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    made = {}
    for name in names:
        values = [line[name] for line in seeds.values() if isinstance(line[name], (int, float))]
        if values:
            made[name] = sum(values) / len(values)
    return made


def _reconstructions(there: Mapping[str, Mapping[str, float]], last: int) -> str:
    order = sorted(there, key=lambda label: there[label]["error_sum"])
    best, worst = there[order[0]], there[order[-1]]
    told = ", ".join(f"{label} {number(there[label]['error_sum'], 3)}" for label in order)
    still = ", ".join(f"{label} {number(there[label]['error_sum_without_noise'], 3)}" for label in order)
    right = ", ".join(f"{label} {there[label]['right_test']:.1%}" for label in order)
    return (
        f"Reconstructions, at {last} epochs. Squared errors from the smallest: {told}; the largest is "
        f"{worst['error_sum'] / best['error_sum']:.1f} times the smallest. Without the noise of z: {still}. Recognised "
        f"as what they are: {right}."
    )


def _random(there: Mapping[str, Mapping[str, float]], last: int) -> str:
    order = sorted(there, key=lambda label: -there[label]["recognised_random"])
    told = ", ".join(f"{label} {there[label]['recognised_random']:.1%}" for label in order)
    gap = ", ".join(
        f"{label} {100 * (there[label]['recognised_random'] - there[label]['recognised_test']):+.1f}" for label in order
    )
    return (
        f"Random pictures, at {last} epochs. Recognised, from the most: {told}. Against as many reconstructions of the "
        f"same model, in points of percent: {gap}. Where codes fill the prior the two would be alike; a random code "
        "that lies where no picture's does costs the difference."
    )


def _bits(there: Mapping[str, Mapping[str, float]], capacity: Mapping[str, float]) -> str:
    parts = []
    for label, line in there.items():
        most = capacity.get(label)
        bound = f", of a capacity of {number(most, 3)}" if most else ""
        between = f"{number(line['information_bits'], 3)} to {number(line['information_most_bits'], 3)}"
        least, idle = (line[name] / line["rate_bits"] for name in ("marginal_kl_least_bits", "marginal_kl_bits"))
        parts.append(
            f"{label} tells {between} bits{bound}, at a rate of {number(line['rate_bits'], 3)}, {least:.0%} to "
            f"{idle:.0%} of which is the distance of q(z) to the prior"
        )
    return f"Bits. {'; '.join(parts)}."


def _more(means: Means, epochs: Sequence[int]) -> list[str]:
    if len(epochs) < 2:
        return []
    first, last = epochs[0], epochs[-1]
    parts = []
    for label, held in means.items():
        if first in held and last in held:
            before, after = held[first], held[last]
            parts.append(
                f"{label} {number(before['error_sum'], 3)} to {number(after['error_sum'], 3)}, random pictures "
                f"{before['recognised_random']:.1%} to {after['recognised_random']:.1%}"
            )
    return [f"More epochs, from {first} to {last}: squared error of {'; '.join(parts)}."] if parts else []


def _verdicts(found: Sequence[Judged], last: int) -> list[str]:
    at_last = [each for each in found if each.epochs == last]
    made = []
    for whose, words in (("the assignment", "The assignment's own claims"), ("theory", "What theory says")):
        mine = [each for each in at_last if each.whose == whose]
        if mine:
            made.append(f"{words}, at {last} epochs: {_listed(mine)}.")
    rest = [each for each in at_last if not each.whose]
    if rest:
        made.append(f"Beside the {VAE.upper()}, at {last} epochs: {_listed(rest)}.")
    return made


def _listed(mine: Sequence[Judged]) -> str:
    parts = []
    for verdict in (HOLDS, FAILS, UNDECIDED):
        texts = [each.text for each in mine if each.verdict == verdict]
        if texts:
            parts.append(f"{len(texts)} {WORDS[verdict][len(texts) > 1]} ({'; '.join(texts)})")
    return ", ".join(parts)
