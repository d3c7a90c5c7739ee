"""The cells of the study: data set x family x configuration x method, and the recipe that each of them is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from polyvae.checks.names import find
from polyvae.model.spec import Spec
from polyvae.study.sources import dataset_name

FOLDS = 5
DECODERS = {"flat": "flat", "multiscale": "map"}  # how all decoders of a study are made: of z and m, of a map z alone
EXPONENTS = (20, 30, 40, 50, 60)
SHARE = 0.05  # of the pixels that the uniform masks of two decoders see
# What the study calls its configurations. Both families read the networks of every method from here alone.
GAUSSIAN_WIDTHS = (32, 64, 128, 256)
CONFIGURATIONS: dict[str, dict[int, dict[str, Any]]] = {
    "gaussian": {1: {"latent": 16}, 2: {"latent": 64}},
    "vq": {
        1: {"widths": (32, 64), "blocks": 0, "codes": 128, "dim": 16},
        2: {"widths": (128, 256), "blocks": 2, "codes": 128, "dim": 32},
        3: {"widths": (128, 256), "blocks": 4, "codes": 256, "dim": 64},
    },
}
NAMES = {"gaussian": ("vae", "multitask"), "vq": ("vq_vae", "vq_multitask")}  # of the recipes: without m, with it


@dataclass(frozen=True)
class Method:
    """A way to train: "baseline", "two" decoders or "one", its masks, its balance and the exponent of its counts."""

    kind: str = "baseline"
    sampling: str = ""
    softadapt: bool = False
    exponent: int | None = None

    @property
    def name(self) -> str:
        """For example baseline, two-grid, two-uniform-softadapt, one-gaussian-40."""
        parts = [self.kind, self.sampling, "softadapt" if self.softadapt else "", self.exponent or ""]
        return "-".join(str(part) for part in parts if part)


@dataclass(frozen=True)
class Cell:
    """One line of the study's table: what is trained once for each fold."""

    dataset: str
    family: str
    config: int
    method: Method = Method()

    @property
    def name(self) -> str:
        """For example mnist-vq-1-two-grid-softadapt."""
        return f"{self.dataset}-{self.family}-{self.config}-{self.method.name}"

    def recipe(
        self, spec: Spec, widths: Sequence[int] | None = None, decoder: str = "flat"
    ) -> tuple[str, dict[str, Any]]:
        """The recipe's name and options; `widths` in the place of the configuration's make a smaller study.

        `decoder`, one of `DECODERS`, is that of all methods, so that nothing but the method is compared.
        """
        options: dict[str, Any] = {"likelihood": "normal", **CONFIGURATIONS[self.family][self.config]}
        if self.family == "gaussian":
            options |= {"network": "conv", "widths": GAUSSIAN_WIDTHS}
        if widths is not None:
            options["widths"] = tuple(widths)
        if self.method.kind != "baseline":
            options["decoder"] = decoder
        elif self.family == "vq":
            options["decoder"] = find(DECODERS, decoder, "decoder")
        name = NAMES[self.family][self.method.kind != "baseline"]
        return name, options | OPTIONS[self.method.kind](self.method, spec)


def _two(method: Method, spec: Spec) -> dict[str, Any]:
    count = grid_points(spec) if method.sampling == "grid" else SHARE
    return {"decoders": 2, "mask": method.sampling, "count": count, "softadapt": method.softadapt}


OPTIONS = {
    "baseline": lambda method, spec: {},
    "two": _two,
    "one": lambda method, spec: {"decoders": 1, "mask": method.sampling, "exponent": float(method.exponent)},
}


def grid_points(spec: Spec) -> int:
    """Points of the sparse grid: 4 x 4 on sides up to 32, 10 x 10 above."""
    return 16 if min(spec.x[1:]) <= 32 else 100


def methods() -> list[Method]:
    """The fifteen ways to train, the baseline first."""
    two = [Method("two", sampling, soft) for sampling in ("grid", "uniform") for soft in (False, True)]
    one = [Method("one", sampling, exponent=a) for sampling in ("gaussian", "uniform") for a in EXPONENTS]
    return [Method(), *two, *one]


def cells(
    datasets: Iterable[str], families: Iterable[str] | None = None, configs: Iterable[int] | None = None
) -> list[Cell]:
    """All cells of these data sets, families and configurations, by default of both families and all of theirs.

    Raises ValueError for a family or a configuration that does not exist.
    """
    chosen = list(CONFIGURATIONS if families is None else families)
    wanted = None if configs is None else set(configs)
    known = {config for family in chosen for config in find(CONFIGURATIONS, family, "family")}
    if wanted is not None and (unknown := sorted(wanted - known)):
        listed = ", ".join(map(str, sorted(known)))
        raise ValueError(f"config is of {' and '.join(chosen)} one of {listed}; got {unknown[0]}")
    groups = [
        (dataset_name(dataset), family, config)
        for dataset in datasets
        for family in chosen
        for config in CONFIGURATIONS[family]
        if wanted is None or config in wanted
    ]
    return [Cell(*group, method) for group in groups for method in methods()]


def select(chosen: Sequence[Cell], only: str | None) -> list[Cell]:
    """The cells whose names match one of the comma-separated patterns.

    A pattern is a shell pattern (*two*), or a regular expression found anywhere in the name where it stands between
    slashes (/one-(gaussian|uniform)-[26]0/). Raises ValueError where nothing matches.
    """
    if only is None:
        return list(chosen)
    patterns = [part.strip() for part in only.split(",") if part.strip()]
    tests = [_test(pattern) for pattern in patterns]
    found = [cell for cell in chosen if any(test(cell.name) for test in tests)]
    if not found:
        examples = ", ".join(cell.name for cell in chosen[:3])
        raise ValueError(f"only: no cell matches {only!r}; the {len(chosen)} names are like {examples}")
    return found


def _test(pattern: str) -> Any:
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        try:
            found = re.compile(pattern[1:-1])
        except re.error as error:
            raise ValueError(f"only: {pattern} is no regular expression: {error}") from None
        return lambda name: found.search(name) is not None
    return lambda name: fnmatchcase(name, pattern)


def chosen_folds(text: str | int | Sequence[int]) -> tuple[int, ...]:
    """Which of the five folds: a number of them ("3": 0, 1 and 2) or a list ("0,2" or "4,"); ValueError else."""
    try:
        if isinstance(text, str):
            parts = [part for part in text.split(",") if part.strip()]
            numbers = [int(part) for part in parts] if "," in text else range(_count(int(text)))
        else:
            numbers = range(_count(text)) if isinstance(text, int) else text
    except ValueError as error:
        message = str(error) if "folds" in str(error) else f"got {text!r}"
        raise ValueError(f"folds is a number of them, like 3, or a list, like 0,1,2; {message}") from None
    numbers = tuple(dict.fromkeys(numbers))
    if not numbers or any(not 0 <= number < FOLDS for number in numbers):
        raise ValueError(f"folds lie in 0..{FOLDS - 1}; got {text!r}")
    return numbers


def _count(number: int) -> int:
    if not 1 <= number <= FOLDS:
        raise ValueError(f"there are 1..{FOLDS} folds to take, got {number}; a single fold K is written K,")
    return number
