"""Sets of several modalities, made of others: pictures of two sets or more that show the same class stand in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyvae.data.sources.mnist import COUNTS, FASHION_MNIST, MNIST
from polyvae.data.sources.source import About, Options, Source
from polyvae.data.sources.svhn import SVHN
from polyvae.model.spec import Column, Modality, Spec

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LENGTH = max(map(len, DIGITS))
LETTERS = "_abcdefghijklmnopqrstuvwxyz"  # the first stands where a name is shorter
SHARE = 0.1  # of the pictures of each set, which is held out for validation


@dataclass(frozen=True)
class View:
    """One modality: the pictures of a set, what is made of them, or a value for each class.

    `make`: of pictures uint8 [N, C, H, W] the values [N, ...]. `values`: without a source, one for each class
    [K, ...], float32. `spec`: of the values, where it is not that of the set.
    """

    name: str
    source: Source | None = None
    make: Callable[[np.ndarray], np.ndarray] | None = None
    values: Callable[[], np.ndarray] | None = None
    spec: Spec | None = None


def _unread(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    raise NotImplementedError("a set that is made of others is read as these are")


@dataclass(frozen=True, kw_only=True)
class Paired(Source):
    """A data set whose rows hold one value for each of its `views`, all of one class; see `data.pairing`."""

    views: tuple[View, ...]
    read: Callable[[Sequence[Path], Options], Mapping[str, np.ndarray]] = field(default=_unread)

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sets whose files are read."""
        return tuple({view.source.name: view.source for view in self.views if view.source}.values())

    @property
    def generated(self) -> bool:
        """Whether it needs no files."""
        return all(part.generated for part in self.parts)

    @property
    def fetchable(self) -> bool:
        """Whether every official file can be downloaded and checked."""
        return all(part.fetchable or part.generated for part in self.parts)

    @property
    def how(self) -> str:
        """How to get it, in a sentence."""
        return "it is made of others: " + "; ".join(dict.fromkeys(part.how for part in self.parts))


def turned(x: np.ndarray) -> np.ndarray:
    """Pictures [N, C, H, W] turned by 90 degrees against the clock, [N, C, W, H]."""
    return np.ascontiguousarray(np.rot90(x, axes=(2, 3)))


def letters() -> np.ndarray:
    """The English names of the ten digits as numbers of `LETTERS`, float32 [10, 5], filled up behind."""
    return np.array(
        [[LETTERS.index(letter) for letter in name.ljust(LENGTH, LETTERS[0])] for name in DIGITS], np.float32
    )


def _spec(view: View) -> Spec:
    return view.spec or Spec(view.source.spec.x if view.source else ())


def _paired(name: str, title: str, licence: str, counts: Mapping[str, int], views: Sequence[View]) -> Paired:
    modalities = tuple(Modality(view.name, _spec(view)) for view in views)
    about = About(title, licence, counts, validation=SHARE)
    return Paired(name=name, about=about, spec=Spec(classes=10, modalities=modalities, levels=None), views=tuple(views))


TEXT = Spec(
    (LENGTH,), levels=None, columns=tuple(Column("category", f"letter{n + 1}", tuple(LETTERS)) for n in range(LENGTH))
)
PAIRS = {"train": 56_068, "test": 10_000}  # of MNIST and SVHN, with one pairing
ONE = "Shi, Siddharth, Paige and Torr, Variational mixture-of-experts autoencoders, 2019"
TERMS = "CC BY-SA 3.0 and non-commercial use only"

PAIRED = (
    _paired(
        "mnist-svhn",
        f"MNIST and SVHN in pairs of one digit: {ONE}",
        TERMS,
        PAIRS,
        [View("mnist", MNIST), View("svhn", SVHN)],
    ),
    _paired(
        "mnist-svhn-text",
        "MNIST, SVHN and the digit's English name: Sutter, Daunhawer and Vogt, Generalized multimodal ELBO, 2021",
        TERMS,
        PAIRS,
        [View("mnist", MNIST), View("svhn", SVHN), View("text", values=letters, spec=TEXT)],
    ),
    _paired(
        "mnist-rotated",
        "MNIST and another picture of the same digit, turned by 90 degrees",
        MNIST.about.licence,
        COUNTS,
        [View("mnist", MNIST), View("rotated", MNIST, turned)],
    ),
    _paired(
        "mnist-fashion-rotated",
        "MNIST, Fashion-MNIST of the class with the digit's number, and another picture of the digit, turned",
        f"{MNIST.about.licence} and {FASHION_MNIST.about.licence}",
        {"train": 58_862, "test": 9_786},
        [View("mnist", MNIST), View("fashion", FASHION_MNIST), View("rotated", MNIST, turned)],
    ),
)
