"""PNG files as pixels and the rest: the chunks around the pixels, and the settings of the encoder that packed them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVELS = {0: (1, 0), 1: (5, 4, 3, 2), 2: (6,), 3: (9, 8, 7)}  # by what the second byte of a zlib stream says


def ways(
    data: bytes, pixels: np.ndarray, mode: str, remembered: dict[str, Any]
) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """How a PNG file of these pixels [C, H, W] may have been made, the settings of the last one first.

    Either Pillow packed the pixels, or zlib did behind the filter of each row, which is then kept: a byte a row.
    Whatever else the file holds, its text or its colour profile, is kept as it stands.
    """
    cut = _cut(data)
    if cut is None:
        return
    before, stream, sizes, after = cut
    level, windows = _LEVELS[stream[1] >> 6], (stream[0] >> 4) + 8
    pillow = [{"by": "pillow", "level": n} for n in (-1, None, 9, 1, 2, 3, 4, 5, 7, 8, 0)]  # None: optimised
    zlibs = [{"by": "zlib", "zlib": [n, windows, *more]} for n, *more in product(level, (8, 9), (0, 1, 2, 3))]
    last = remembered.get("png")
    filters = _filters(before, stream, pixels)
    for settings in [*([last] if last else []), *pillow, *(zlibs if filters is not None else [])]:
        how = {"as": "png", "sizes": sizes, "cut": len(before), "after": len(after), **settings}
        remembered["png"] = settings
        if settings["by"] == "pillow":
            yield how, before + after
        elif filters is not None:
            yield how, before + after + filters
    remembered.pop("png", None)  # none served


def made(pixels: np.ndarray, how: Mapping[str, Any], rest: bytes) -> bytes:
    """The bytes of the file."""
    cut, end = how["cut"], how["cut"] + how["after"]
    before, after, filters = rest[:cut], rest[cut:end], rest[end:]
    if how["by"] == "pillow":
        stream = _pillow(pixels, how["mode"], how["level"])
    else:
        level, windows, memory, strategy = how["zlib"]
        packer = zlib.compressobj(level, zlib.DEFLATED, windows, memory, strategy)
        stream = packer.compress(_filtered(pixels, np.frombuffer(filters, np.uint8))) + packer.flush()
    step = how["sizes"] or len(stream) or 1
    pieces = [stream[start : start + step] for start in range(0, len(stream), step)]
    return before + b"".join(map(_chunk, pieces)) + after


def _chunk(piece: bytes) -> bytes:
    return struct.pack(">I", len(piece)) + b"IDAT" + piece + struct.pack(">I", zlib.crc32(b"IDAT" + piece))


def _cut(data: bytes) -> tuple[bytes, bytes, int | None, bytes] | None:
    """What stands before the pixels, their zlib stream, the size of its chunks (None: one), and what stands behind."""
    place, found, end = len(SIGNATURE), list[tuple[int, int]](), 0
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == b"IDAT":
            if found and place != end:
                return None
            found.append((place, size))
            end = place + size + 12
        place += size + 12
    if not found:
        return None
    stream = b"".join(data[start + 8 : start + 8 + size] for start, size in found)
    if len(stream) < 2:
        return None
    return data[: found[0][0]], stream, None if len(found) == 1 else found[0][1], data[end:]


def _pillow(pixels: np.ndarray, mode: str, level: int | None) -> bytes:
    from polyvae.compression.containers import image

    file = io.BytesIO()
    settings: dict[str, Any] = {"optimize": True} if level is None else {"compress_level": level}
    image(pixels, mode).save(file, "PNG", **settings)
    cut = _cut(file.getvalue())
    assert cut is not None
    return cut[1]


def _filters(before: bytes, stream: bytes, pixels: np.ndarray) -> bytes | None:
    """The filter of each row of eight bits a channel; None where rows are bits or interlaced, or where the stream is
    damaged behind its last pixel, which Pillow does not read."""
    if before[24] != 8 or before[28] != 0:
        return None
    width = pixels.shape[0] * pixels.shape[2] + 1
    try:
        rows = np.frombuffer(zlib.decompress(stream), np.uint8)
    except zlib.error:
        return None
    return rows.reshape(-1, width)[:, 0].tobytes() if len(rows) == width * pixels.shape[1] else None


def _filtered(pixels: np.ndarray, filters: np.ndarray) -> bytes:
    """Rows of differences from the pixels to the left and above, each behind the number of its filter.

    Portable Network Graphics Specification, third edition, section 9, 2025.
    """
    channels, height, _ = pixels.shape
    here = pixels.transpose(1, 2, 0).reshape(height, -1).astype(np.int16)
    left = np.pad(here, ((0, 0), (channels, 0)))[:, :-channels]
    above = np.pad(here, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(left, ((1, 0), (0, 0)))[:-1]
    guess = left + above - corner
    gaps = [abs(guess - each) for each in (left, above, corner)]
    nearest = np.where((gaps[0] <= gaps[1]) & (gaps[0] <= gaps[2]), left, np.where(gaps[1] <= gaps[2], above, corner))
    every = np.stack([np.zeros_like(here), left, above, (left + above) >> 1, nearest])
    rows = (here - every[np.minimum(filters, 4), np.arange(height)]).astype(np.uint8)
    return np.concatenate([filters[:, None], rows], 1).tobytes()
