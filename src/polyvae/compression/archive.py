"""The file that compressed files are in: what it holds of them in words and bytes, then the stack, then a digest."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyvae.data.errors import DataError
from polyvae.data.files.writing import replacing

MAGIC = b"polyvae\x01"  # the last byte is the version of the format
_DIGEST = 16  # bytes
_WORD = np.dtype("<u4")
_AGAIN = "copy it again, or compress the files again"


@dataclass(frozen=True)
class Archive:
    """`head`: what JSON tells of the files, their model and the examples; `rests`: bytes of files that no example
    holds; `words`: the stack, uint32."""

    head: Mapping[str, Any]
    rests: Sequence[bytes]
    words: np.ndarray

    def to_bytes(self) -> bytes:
        """The whole file."""
        packed = packed_head(self.head, self.rests)
        body = MAGIC + len(packed).to_bytes(4, "little") + packed + self.words.astype(_WORD).tobytes()
        return body + digest(body)

    def write(self, path: Path) -> int:
        """Writes the file, which is renamed into place, and returns its size."""
        data = self.to_bytes()
        with replacing(path) as part:
            part.write_bytes(data)
        return len(data)


def read_archive(path: Path) -> Archive:
    """The file at a path. Raises DataError for one that is missing, of another kind, cut short or damaged."""
    if not path.is_file():
        raise DataError(path, "a file of polyvae compress", "a folder" if path.is_dir() else "no such file", "check it")
    data = path.read_bytes()
    if data[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise DataError(path, "a file of polyvae compress", "another kind of file", "check the path")
    if (version := data[len(MAGIC) - 1 : len(MAGIC)]) != MAGIC[-1:]:
        raise DataError(path, "format version 1", f"another version, {version.hex()}", "take a newer polyvae")
    body, told = data[:-_DIGEST], data[-_DIGEST:]
    if digest(body) != told:
        raise DataError(path, "the bytes that were written", "others: it is cut short or damaged", _AGAIN)
    try:
        start = len(MAGIC) + 4
        end = start + int.from_bytes(data[len(MAGIC) : start], "little")
        head, rests = _unpacked(body[start:end])
        return Archive(head, rests, np.frombuffer(body[end:], _WORD).astype(np.uint32))
    except (ValueError, KeyError, TypeError, EOFError, lzma.LZMAError) as error:
        raise DataError(path, "a file of polyvae compress", f"something else ({error})", _AGAIN) from error


def packed_head(head: Mapping[str, Any], rests: Sequence[bytes]) -> bytes:
    """What stands before the stack, packed."""
    text = json.dumps({**head, "rests": [len(rest) for rest in rests]}, separators=(",", ":")).encode()
    whole = len(text).to_bytes(4, "little") + text + b"".join(rests)
    return lzma.compress(whole, lzma.FORMAT_ALONE, preset=9 | lzma.PRESET_EXTREME)


def _unpacked(packed: bytes) -> tuple[dict[str, Any], list[bytes]]:
    whole = lzma.decompress(packed, lzma.FORMAT_ALONE)
    place = 4 + int.from_bytes(whole[:4], "little")
    head, rests = json.loads(whole[4:place]), []
    for size in head.pop("rests"):
        rests.append(whole[place : place + size])
        place += size
    return head, rests


def digest(*pieces: bytes) -> bytes:
    """16 bytes that tell these from any others."""
    found = hashlib.blake2b(digest_size=_DIGEST)
    for piece in pieces:
        found.update(len(piece).to_bytes(8, "little"))
        found.update(piece)
    return found.digest()
