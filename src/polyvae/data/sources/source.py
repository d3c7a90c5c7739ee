"""What the catalogue knows of a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyvae.data.options import Options
from polyvae.data.sources.fetch import FileInfo
from polyvae.model.spec import Spec


@dataclass(frozen=True)
class About:
    """What a listing says: title and source, licence, official number of examples in each part, how to get it by hand.

    `validation`: the share of training examples to hold out if there is no official validation part; `test` likewise.
    `stand_in`: the generated set that replaces this one if it cannot be had. `blocks`: for a series in time, the number
    of blocks of consecutive examples that it is cut in.
    """

    title: str
    licence: str
    counts: Mapping[str, int]
    how: str = ""
    validation: float = 0.1
    stand_in: str | None = None
    test: float = 0.1
    blocks: int | None = None


# Paths as chosen, options -> arrays by "part.name": parts train, validation, test, or all where none are official;
# names x (uint8 pictures [N, C, H, W] or float32), y (labels [N] or conditions [N, d]) and others.
Read = Callable[[Sequence[Path], Options], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Source:
    """One data set of the catalogue.

    `files`: the official distribution, none for a generated set. `choices`: alternative sets of names below DIR/<name>,
    of which the first complete one is read; by default all official files. `read`: turns those paths into arrays.
    `options`: names of the `Options` that `read` takes; a `size` that it does not take is applied to its pictures
    afterwards. `channels`: the names of the channels of fields, by which they can be told apart as modalities.
    """

    name: str
    about: About
    spec: Spec
    read: Read
    files: tuple[FileInfo, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    options: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sets whose files are read: itself, but where it is made of others."""
        return (self,)

    @property
    def generated(self) -> bool:
        """Whether it needs no files."""
        return not self.files

    @property
    def fetchable(self) -> bool:
        """Whether every official file can be downloaded and checked."""
        return bool(self.files) and all(file.fetchable for file in self.files)

    @property
    def how(self) -> str:
        """How to get it, in a sentence."""
        if self.fetchable:
            return f"run `polyvae datasets fetch {self.name}`" + (f"; {self.about.how}" if self.about.how else "")
        return self.about.how if self.generated else f"{self.about.how}, and put what you get into DIR/{self.name}"

    def needs(self, folder: Path) -> list[Path]:
        """The paths that are read from `folder`, empty if no choice is complete there."""
        for choice in self.choices or (tuple(file.name for file in self.files),):
            paths = [folder / name for name in choice]
            if paths and all(path.exists() for path in paths):
                return paths
        return []
