"""A cache of decoded arrays: computed from files once, kept as .npy files, and read back in a fraction of the time.

An entry is a folder `NAME-DIGEST` with one .npy file for each array and an `index.json`. The digest covers the name,
the options and the identity (path, size, modification time) of every file read, so an entry is never used for changed
files. An entry is written beside and renamed: it is complete or absent, also if several processes write it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from polyvae.data.memory_maps import opened

Arrays = dict[str, np.ndarray]

LAYOUT = 1  # raised when entries written by an older version must not be read
LARGE = 512 * 2**20  # bytes; larger arrays are memory-mapped, not read


def cache_dir() -> Path:
    """The folder of what can be computed or downloaded again: $POLYVAE_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("POLYVAE_CACHE"):
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("polyvae"))


def cached(
    name: str,
    options: Mapping[str, object],
    sources: Iterable[Path],
    compute: Callable[[], Mapping[str, np.ndarray]],
) -> Arrays:
    """What `compute()` returns, from the cache if the same name, options and files were seen before.

    `sources` are files or folders; a folder stands for every file in it. A damaged entry is computed again. If the
    cache cannot be written (read-only, full disk), the arrays are returned all the same, with a warning.
    """
    root = cache_dir() / "arrays"
    entry = root / f"{name}-{_digest(name, options, sources)}"
    arrays = _read(entry)
    if arrays is not None:
        return arrays
    computed = {key: np.ascontiguousarray(array) for key, array in compute().items()}
    try:
        _write(root, entry, computed)
    except OSError as error:
        warnings.warn(
            f"the decoded data could not be kept in {root} ({error}); they will be decoded again next time. "
            "Set POLYVAE_CACHE to a folder that can be written.",
            stacklevel=2,
        )
        return computed
    # Read back, so that a large array is mapped from the disk and leaves the memory.
    return _read(entry) or computed


def _digest(name: str, options: Mapping[str, object], sources: Iterable[Path]) -> str:
    digest = hashlib.sha256(json.dumps([LAYOUT, name, dict(options)], sort_keys=True).encode())
    for source in sources:
        for path, stat in _files(Path(source)):
            digest.update(f"\0{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:20]


def _files(source: Path) -> Iterable[tuple[str, os.stat_result]]:
    source = source.resolve()
    if not source.is_dir():
        return [(str(source), source.stat())]
    found: list[tuple[str, os.stat_result]] = []
    folders = [str(source)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    found.append((entry.path, entry.stat()))
    return sorted(found, key=lambda pair: pair[0])


def _read(entry: Path) -> Arrays | None:
    """The arrays of an entry; None if it is absent or does not match its index."""
    try:
        index = json.loads((entry / "index.json").read_text())
        arrays = {}
        for key, about in index.items():
            path = entry / f"{key}.npy"
            size = path.stat().st_size
            if size != about["bytes"]:
                return None
            array = opened(path) if size > LARGE else np.load(path, allow_pickle=False)
            if list(array.shape) != about["shape"] or str(array.dtype) != about["dtype"]:
                return None
            arrays[key] = array
        return arrays
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


def _write(root: Path, entry: Path, arrays: Arrays) -> None:
    root.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=root))
    try:
        index = {}
        for key, array in arrays.items():
            path = part / f"{key}.npy"
            with path.open("wb") as file:
                np.save(file, array, allow_pickle=False)
                _settle(file)
            index[key] = {"shape": list(array.shape), "dtype": str(array.dtype), "bytes": path.stat().st_size}
        with (part / "index.json").open("w") as file:
            json.dump(index, file)
            _settle(file)
        _put(part, entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put(part: Path, entry: Path) -> None:
    """Renames an entry into place; a complete one that another process put there stays, a damaged one is replaced."""
    for _ in range(3):  # another process may repair the same entry at the same moment
        try:
            os.rename(part, entry)
            return
        except OSError:
            if not entry.exists():
                raise
        if _read(entry) is not None:
            return
        with tempfile.TemporaryDirectory(prefix=".damaged.", dir=entry.parent) as aside, suppress(FileNotFoundError):
            os.rename(entry, Path(aside) / entry.name)
    raise OSError(f"the damaged entry {entry} could not be replaced")


def _settle(file) -> None:
    """Flushes files to the disk before the rename: a power failure could otherwise leave a name without contents."""
    file.flush()
    os.fsync(file.fileno())
