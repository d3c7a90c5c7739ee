"""The catalogue on this machine: which data sets are present, where, whether official, and how to get the others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from polyvae.checks.names import near
from polyvae.data.errors import DataError
from polyvae.data.files.hashes import known_hash
from polyvae.data.sources import CATALOGUE, Source
from polyvae.data.sources.fetch import TIMEOUT, Progress, fetch_files, find, roots, target


@dataclass(frozen=True)
class Entry:
    """One line of the listing.

    `where`: the folder that is read, None if absent or generated. `size`: bytes of the files that are read, or of the
    official files if absent (0 if unknown). `state` of the hashes: "official" (every file is the published one),
    "differs" (partial or changed), "absent", "unchecked" (no published hash).
    """

    source: Source
    where: Path | None
    size: int
    state: str

    @property
    def name(self) -> str:
        """What `load` and `fetch` take."""
        return self.source.name

    @property
    def present(self) -> bool:
        """Whether `load` needs no download."""
        return self.where is not None or self.source.generated

    @property
    def licence(self) -> str:
        """Terms of use."""
        return self.source.about.licence

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, without a `size`; () where it is of several modalities, see `shapes`."""
        return self.source.spec.x

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of everything that is observed, by name: of x, or of each modality."""
        return {name: spec.x for name, spec in self.source.spec.values.items()}

    @property
    def counts(self) -> Mapping[str, int]:
        """Official number of examples in each part; "all" if there are no official parts."""
        return self.source.about.counts

    @property
    def fetchable(self) -> bool:
        """Whether `fetch` can download it."""
        return self.source.fetchable

    @property
    def how(self) -> str:
        """How to get it, in a sentence."""
        return self.source.how


def names() -> list[str]:
    """The names that `load` knows."""
    return list(CATALOGUE)


def catalogue(data_dir: str | Path | None = None) -> list[Entry]:
    """Every data set that is known by name; the hashes of files that are present are computed once and remembered."""
    return [_entry(source, data_dir) for source in CATALOGUE.values()]


def _entry(source: Source, data_dir: str | Path | None) -> Entry:
    where = {part.name: find(part.name, part.needs, data_dir) for part in source.parts}
    if absent := [part for part in source.parts if where[part.name] is None]:
        downloads = {file.download for part in absent for file in part.files}
        state = "unchecked" if source.generated else "absent"
        return Entry(source, None, sum(file.size or 0 for file in downloads), state)
    folders = [(part, folder) for part in source.parts if (folder := where[part.name]) is not None]
    size = sum(_size(path) for part, folder in folders for path in part.needs(folder))
    return Entry(source, _common(folder for _, folder in folders), size, _state(folders))


def _common(folders: Iterable[Path]) -> Path:
    """The folder itself, or the one that several have in common."""
    return Path(os.path.commonpath([*folders]))


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    with os.scandir(path) as entries:
        return sum(entry.stat().st_size for entry in entries)


def _state(folders: Iterable[tuple[Source, Path]]) -> str:
    """The worst of the files that are read."""
    states = set().union(*(_states(source, folder) for source, folder in folders))
    return next(state for state in ("differs", "unchecked", "official") if state in states)


def _states(source: Source, folder: Path) -> set[str]:
    official = {folder / file.name: file for file in source.files}
    states = set()
    for path in source.needs(folder):
        file = official.get(path)
        if path.is_dir():
            counts = source.about.counts.values()
            complete = len(os.listdir(path)) in (sum(counts), *counts)
            states.add("unchecked" if complete else "differs")
        elif file is None or file.hash is None:
            states.add("unchecked")
        elif file.size is not None and path.stat().st_size != file.size:
            states.add("differs")
        else:
            algorithm, _, expected = file.hash.partition(":")
            states.add("official" if known_hash(path, algorithm) == expected else "differs")
    return states


def unknown(name: str | Path) -> DataError:
    """The error for a name that is neither a path nor in the catalogue; it suggests the nearest."""
    advice = near(str(name), map(repr, CATALOGUE)).removeprefix("; ") or "a path must lead to a file or folder"
    return DataError(name, f"a path, or one of {', '.join(CATALOGUE)}", "neither", advice)


def fetch(
    name: str, data_dir: str | Path | None = None, progress: Progress | None = None, timeout: float = TIMEOUT
) -> Path:
    """Downloads a data set if it is missing, and returns its folder; `fetch_files` says what is checked.

    It goes to the first of `data_dir`, $POLYVAE_DATA and the user's cache that is writable. If it cannot be downloaded,
    `DataError` says how to get it by hand.
    """
    if name not in CATALOGUE:
        raise unknown(name)
    source = CATALOGUE[name]
    if source.generated:
        raise DataError(name, "a data set of files", "a generated one", "there is nothing to fetch: load it")
    return _common(_fetched(part, data_dir, progress, timeout) for part in source.parts)


def _fetched(source: Source, data_dir: str | Path | None, progress: Progress | None, timeout: float) -> Path:
    if folder := find(source.name, source.needs, data_dir):
        return folder
    if not source.fetchable:
        raise DataError(source.name, "a data set that can be downloaded", "one that cannot", source.how)
    folder = target(source.name, data_dir)
    fetch_files(source.files, folder, timeout, progress)
    return folder


def locate(source: Source, data_dir: str | Path | None, download: bool) -> list[Path]:
    """The paths that `source` reads, downloaded if allowed; empty for a generated set."""
    if source.generated:
        return []
    folder = find(source.name, source.needs, data_dir)
    if folder is None and download and source.fetchable:
        folder = fetch(source.name, data_dir)
    if folder is None:
        searched = ", ".join(str(root / source.name) for root in roots(data_dir))
        raise DataError(source.name, f"its files in {searched}", "none", source.how)
    return source.needs(folder)
