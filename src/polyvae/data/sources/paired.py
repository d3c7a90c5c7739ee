"""Sets of several modalities, made of others: pictures of two sets or more that show the same class stand in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyvae.data.sources.mnist import MNIST
from polyvae.data.sources.source import About, Options, Source
from polyvae.data.sources.svhn import SVHN
from polyvae.model.spec import Modality, Spec

SHARE = 0.1  # of the pictures of each set, which is held out for validation


@dataclass(frozen=True)
class View:
    """One modality: the pictures of a set, or what is made of them.

    `make`: of pictures uint8 [N, C, H, W] the values [N, ...]. `spec`: of the values, where it is not that of the set.
    """

    name: str
    source: Source
    make: Callable[[np.ndarray], np.ndarray] | None = None
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
        return tuple({view.source.name: view.source for view in self.views}.values())

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


def _paired(name: str, title: str, licence: str, counts: Mapping[str, int], views: Sequence[View]) -> Paired:
    modalities = tuple(Modality(view.name, view.spec or Spec(view.source.spec.x)) for view in views)
    spec = Spec(classes=views[0].source.spec.classes, modalities=modalities, levels=None)
    about = About(title, licence, counts, validation=SHARE)
    return Paired(name=name, about=about, spec=spec, views=tuple(views))


MNIST_SVHN = _paired(
    "mnist-svhn",
    "MNIST and SVHN in pairs of one digit: Shi, Siddharth, Paige and Torr, Variational mixture-of-experts, 2019",
    "CC BY-SA 3.0 and non-commercial use only",
    {"train": 56_068, "test": 10_000},  # with one pairing
    [View("mnist", MNIST), View("svhn", SVHN)],
)

PAIRED = (MNIST_SVHN,)
