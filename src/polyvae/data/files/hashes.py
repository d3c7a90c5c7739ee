"""Hashes of files, remembered by size and modification time, so that hundreds of megabytes are read once."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from polyvae.data.files.cache import cache_dir
from polyvae.data.files.writing import write_text


def file_hash(path: Path, algorithm: str) -> str:
    """Hexadecimal hash of a file by `algorithm` ("md5", "sha256"), read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def known_hash(path: Path, algorithm: str) -> str:
    """The hash of a file, from the cache if its size and modification time are unchanged."""
    stat = path.stat()
    key, state = f"{algorithm}:{path.resolve()}", [stat.st_size, stat.st_mtime_ns]
    store = cache_dir() / "hashes.json"
    known = _load(store)
    entry = known.get(key)
    if isinstance(entry, list) and entry[:2] == state:
        return str(entry[2])
    value = file_hash(path, algorithm)
    with suppress(OSError):  # a cache that cannot be written costs time, nothing else
        write_text(store, json.dumps({**_load(store), key: [*state, value]}))
    return value


def _load(store: Path) -> dict:
    try:
        known = json.loads(store.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
