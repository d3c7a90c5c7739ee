"""The seven claims of the thesis, each taken apart into differences whose intervals are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from polyvae.study.statistics import Interval, averaged, interval, little, paired, slopes, together, verdict
from polyvae.study.thesis.grid import EXPONENTS, methods
from polyvae.study.thesis.precisions import Precisions, compared
from polyvae.study.thesis.table import Group, Table

MARGIN = 0.10  # the share within which grid and uniform masks are called little different; the thesis names none
GRID, UNIFORM = ("two-grid",), ("two-uniform",)
FIXED = (*GRID, *UNIFORM)
ADAPTED = tuple(f"{name}-softadapt" for name in FIXED)
TWO = (*FIXED, *ADAPTED)
ONE = tuple(method.name for method in methods() if method.kind == "one")
TEXTS = {
    "a": "Gaussian, two decoders: reconstruction falls, KL rises",
    "b": "VQ, two decoders with SoftAdapt: reconstruction and code loss fall",
    "c": "Gaussian, one decoder: KL falls much, reconstruction without m becomes a little worse",
    "d": "VQ, one decoder: reconstruction without m and code loss fall",
    "e": "One decoder, higher exponent: better reconstruction without m, higher KL",
    "f": "The decoder with m beats the one without, more so for Gaussian than for VQ",
    "g": f"Two decoders: grid and uniform masks differ little (within {MARGIN:.0%})",
}

Groups = Mapping[str, Group]  # the two families, the Gaussian first
Sides = Mapping[str, tuple[int, str]]  # of zero on which the difference of a column is claimed to lie, and in words


@dataclass(frozen=True)
class Part:
    """One statement of a claim: the difference it is about, its interval over folds and the verdict.

    relative: the same as a share of the value it is compared with, None where the difference is one already.
    precisions: what the runs that are compared were trained in.
    """

    text: str
    found: Interval
    relative: float | None
    verdict: str
    precisions: Precisions


@dataclass(frozen=True)
class Judged:
    """A claim on a data set's configuration: its parts, and what follows from them."""

    claim: str
    dataset: str
    config: int
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> str:
        return together([part.verdict for part in self.parts])

    @property
    def mixed(self) -> str:
        """The precisions that its parts compare with each other, empty where none does."""
        return "; ".join(dict.fromkeys(part.precisions.text for part in self.parts if part.precisions.mixed))


def judge(table: Table) -> list[Judged]:
    """Every claim on every data set and configuration that has runs for some part of it."""
    places = sorted({(group.dataset, group.config) for group in table.groups})
    found = []
    for claim, parts_of in CLAIMS.items():
        for dataset, config in places:
            groups = {family: Group(dataset, family, config) for family in ("gaussian", "vq")}
            if parts := tuple(parts_of(table, groups)):
                found.append(Judged(claim, dataset, config, parts))
    return found


def _beside(family: str, names: Sequence[str], sides: Sides, table: Table, groups: Groups) -> Iterable[Part]:
    """The mean of the methods that have runs, less the baseline on the same folds, by column and side of zero."""
    group = groups[family]
    for column, (side, text) in sides.items():
        if found := table.difference(group, names, column):
            relative = table.difference(group, names, column, relative=True)
            held = [name for name in names if table.values(group, name, column)]
            words = f"{text}, {_listed(held)} against the baseline"
            share = None if relative is None else relative.mean
            yield Part(words, found, share, verdict(found, side), table.precision(group, names))


def _listed(names: Sequence[str]) -> str:
    return "all ten one-decoder methods" if len(names) == len(ONE) else ", ".join(names)


def _e(table: Table, groups: Groups) -> Iterable[Part]:
    yield from _slope(table, groups["gaussian"], "mse", -1, "Gaussian: squared error falls with the exponent")
    yield from _slope(table, groups["gaussian"], "latent", 1, "Gaussian: KL rises with the exponent")
    yield from _slope(table, groups["vq"], "mse", -1, "VQ: squared error falls with the exponent")


def _slope(table: Table, group: Group, column: str, side: int, text: str) -> Iterable[Part]:
    """Slope against the exponent of the mean over both samplings, for ten of it, on the folds of all exponents."""
    lines, sides = {}, []
    for exponent in EXPONENTS:
        names = [f"one-{sampling}-{exponent}" for sampling in ("gaussian", "uniform")]
        if values := table.mean(group, names, column):
            lines[exponent / 10] = values
            sides.append(table.precisions(group, names))
    level = averaged(list(lines.values()))
    found = slopes({at: {fold: values[fold] for fold in level} for at, values in lines.items()})
    if found:
        share = sum(found) / len(found) / (sum(level.values()) / len(level))
        judged = interval(found)
        yield Part(f"{text}, for ten of it", judged, share, verdict(judged, side), compared(sides))


def _f(table: Table, groups: Groups) -> Iterable[Part]:
    gains, trained = {}, []
    for name, group in zip(("Gaussian", "VQ"), groups.values(), strict=True):
        trained.append(table.precisions(group, TWO))
        without, given = table.mean(group, TWO, "mse"), table.mean(group, TWO, "conditioned_mse")
        gains[name] = dict(zip(sorted(set(without) & set(given)), paired(given, without, relative=True), strict=True))
        if differences := paired(given, without):
            found, share = interval(differences), interval(gains[name].values()).mean
            words = f"{name}: squared error with m is less than without, two decoders"
            # Both errors are of the same runs, so that their precisions cannot differ.
            yield Part(words, found, share, verdict(found, -1), compared(trained[-1:]))
    if more := paired(gains["Gaussian"], gains["VQ"]):
        found = interval(more)
        words = "the fall as a share is larger for Gaussian than for VQ"
        yield Part(words, found, None, verdict(found, -1), compared(trained))


def _g(table: Table, groups: Groups) -> Iterable[Part]:
    for name, group, latent in zip(("Gaussian", "VQ"), groups.values(), ("KL", "code loss"), strict=True):
        for column, quantity in (("mse", "squared error"), ("latent", latent)):
            shares = paired(table.mean(group, UNIFORM, column), table.mean(group, GRID, column), relative=True)
            if shares:
                found = interval(shares)
                words = f"{name}: {quantity}, uniform less grid, as a share"
                trained = compared([table.precisions(group, UNIFORM), table.precisions(group, GRID)])
                yield Part(words, found, None, little(found, MARGIN), trained)


FALLS = (-1, "squared error falls")
CLAIMS: dict[str, Callable[[Table, Groups], Iterable[Part]]] = {
    "a": partial(_beside, "gaussian", FIXED, {"mse": FALLS, "latent": (1, "KL rises")}),
    "b": partial(_beside, "vq", ADAPTED, {"mse": FALLS, "latent": (-1, "code loss falls")}),
    "c": partial(_beside, "gaussian", ONE, {"latent": (-1, "KL falls"), "mse": (1, "squared error rises")}),
    "d": partial(_beside, "vq", ONE, {"mse": FALLS, "latent": (-1, "code loss falls")}),
    "e": _e,
    "f": _f,
    "g": _g,
}
