"""Hashes of files, kept by size and time of change so that hundreds of megabytes are read once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from polyvae.data.files.cache import cache_dir


def file_hash(path: Path, algorithm: str) -> str:
    """Hexadecimal hash of a file by `algorithm` ("md5", "sha256"), read in pieces."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def known_hash(path: Path, algorithm: str) -> str:
    """The hash of a file, from the cache while its size and time of change stay the same."""
    stat = path.stat()
    key, state = f"{algorithm}:{path.resolve()}", [stat.st_size, stat.st_mtime_ns]
    store = cache_dir() / "hashes.json"
    known = _load(store)
    entry = known.get(key)
    if isinstance(entry, list) and entry[:2] == state:
        return str(entry[2])
    value = file_hash(path, algorithm)
    with suppress(OSError):  # a cache that cannot be written costs time, nothing else
        _save(store, {**_load(store), key: [*state, value]})
    return value


def _load(store: Path) -> dict:
    try:
        known = json.loads(store.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _save(store: Path, known: dict) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=".hashes.", dir=store.parent)
    with os.fdopen(handle, "w") as file:
        json.dump(known, file)
    os.replace(part, store)
