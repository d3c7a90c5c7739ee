"""Archives of arrays as NumPy writes them: the examples in one array, all others kept."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from polyvae.data.readers.numpy_files import BROKEN, SYNONYMS, part_of


def npz(data: bytes) -> tuple[np.ndarray, dict[str, Any], bytes]:
    """The examples of an archive, its only array or the one that is called x; how it was made, and its other arrays.

    Raises Unreadable where there is none, or one of each part.
    """
    from polyvae.compression.containers import Unreadable

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            packed = any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist())
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except BROKEN as error:
        raise Unreadable("no .npz archive of arrays of numbers") from error
    chosen = [name for name in held if len(held) == 1 or _means(name) == "x"]
    if len(chosen) != 1:
        raise Unreadable(f"an archive of {sorted(held)}; one array of examples is called x")
    others = {name: _packed(array) for name, array in held.items() if name != chosen[0]}
    values = held[chosen[0]]
    how = {
        "as": "npz",
        "x": chosen[0],
        "names": list(held),
        "sizes": [len(each) for each in others.values()],
        "packed": packed,
        "type": values.dtype.str,
    }
    return values, how, b"".join(others.values())


def npz_bytes(values: np.ndarray, how: Mapping[str, Any], rest: bytes) -> bytes:
    """The bytes of the archive."""
    held: dict[str, np.ndarray] = {}
    sizes = iter(how["sizes"])
    for name in how["names"]:
        if name == how["x"]:
            held[name] = values.astype(np.dtype(how["type"]))
            continue
        size = next(sizes)
        held[name], rest = np.load(io.BytesIO(rest[:size]), allow_pickle=False), rest[size:]
    file = io.BytesIO()
    save: Any = np.savez_compressed if how["packed"] else np.savez
    save(file, **held)
    return file.getvalue()


def _means(name: str) -> str:
    return SYNONYMS.get(part_of(name)[1], part_of(name)[1])


def _packed(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
