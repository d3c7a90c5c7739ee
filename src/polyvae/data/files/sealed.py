"""Safetensors and JSON files that hold a digest of all their bytes, so that damage is found when they are read.

The digest is part of the file, which is renamed into place: a kill cannot separate the two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from polyvae.data.files.writing import replacing, write_text

# One entry alone, since safetensors writes several in any order; the digest first, so that its place is found.
ENTRY, DIGEST, VALUES = "sealed", "sha256", "values"
BLANK = "0" * 64  # what stands in the digest's place while the digest is made
_MARK = f'\\"{DIGEST}\\": \\"'.encode()  # JSON within JSON
_UNSEALED = "json"  # the entry of files that were written before they were sealed


def write_sealed(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Writes tensors, JSON-able metadata and the sha256 of the whole as one safetensors file, renamed into place."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as part:
        save_file(plain, part, {ENTRY: json.dumps({DIGEST: BLANK, VALUES: metadata})})
        with part.open("rb+") as file:
            place, _, digest = _digest(file)
            file.seek(place)
            file.write(digest.encode())


def read_sealed(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a sealed file. Raises ValueError, SafetensorError or OSError if it is damaged.

    A file without a digest, written by something else or by an earlier version, is read as it is.
    """
    with safe_open(path, framework="pt") as file:
        metadata = _values(file.metadata() or {})
        if not intact(path):
            raise ValueError("its bytes are no longer those that were written: its sha256 differs")
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118


def read_values(path: Path) -> dict[str, Any]:
    """The metadata alone, unchecked: fast, however large the tensors are."""
    with safe_open(path, framework="pt") as file:
        return _values(file.metadata() or {})


def intact(path: Path) -> bool:
    """Whether the bytes of a sealed safetensors file are those that were written; True for one without a digest."""
    with path.open("rb") as file:
        place, recorded, digest = _digest(file)
    return place < 0 or recorded == digest


def write_sealed_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON object whose last entry, `sealed`, is the sha256 of the text with a blank digest."""
    text = json.dumps({**values, ENTRY: {DIGEST: BLANK}}, indent=2) + "\n"
    place = text.rindex(BLANK)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_text(path, text[:place] + digest + text[place + len(BLANK) :])


def read_sealed_json(path: Path, settings: str) -> dict[str, Any]:
    """The object without its digest; one without any is read as it is. `settings`: the entry that holds them.

    Raises ValueError where it is damaged or holds no settings.
    """
    text = path.read_bytes().decode("utf-8")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    place = text.rfind(mark := f'"{DIGEST}": "') + len(mark)
    # Of the two names that lead to the digest one flipped byte can change only one.
    if ENTRY in found or place >= len(mark):
        blank = text[:place] + BLANK + text[place + len(BLANK) :]
        digest = hashlib.sha256(blank.encode()).hexdigest()
        if found.pop(ENTRY, None) != {DIGEST: digest}:
            raise ValueError(f"it is not as it was written: who changed it on purpose removes its entry {ENTRY!r}")
    if not isinstance(found.get(settings), dict):
        raise ValueError("it holds no settings")
    return found


def _values(found: Mapping[str, str]) -> dict[str, Any]:
    if set(found) == {ENTRY}:
        held = json.loads(found[ENTRY])
        if not isinstance(held, dict) or set(held) != {DIGEST, VALUES}:
            raise ValueError("its metadata hold no digest")
        values = held[VALUES]
    elif set(found) <= {_UNSEALED}:
        values = json.loads(found.get(_UNSEALED, "{}"))
    else:
        raise ValueError(f"its metadata are {sorted(found)}")
    if not isinstance(values, dict):
        raise ValueError("its metadata are no mapping")
    return values


def _digest(file: BinaryIO) -> tuple[int, str, str]:
    """Where the digest is (-1: nowhere), what it says, and the digest of the file with that place blank."""
    size = file.read(8)
    header = size + file.read(min(int.from_bytes(size, "little"), 2**27))  # safetensors admits 100 MB
    place = header.find(_MARK)
    if place < 0:
        return -1, "", ""
    place += len(_MARK)
    recorded = header[place : place + len(BLANK)]
    found = hashlib.sha256(header[:place] + BLANK.encode() + header[place + len(BLANK) :])
    while piece := file.read(2**20):
        found.update(piece)
    return place, recorded.decode("ascii", "replace"), found.hexdigest()
