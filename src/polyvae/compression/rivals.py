"""How small other coders make the same examples."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from polyvae.compression.containers import image

_BLOCKS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda block: gzip.compress(block, 9, mtime=0),
    "bz2": lambda block: bz2.compress(block, 9),
    "lzma": lambda block: lzma.compress(block, preset=9 | lzma.PRESET_EXTREME),
}
_WEBP_ROWS = 16383  # of one picture, and as many columns


def rivals(symbols: np.ndarray, levels: int | None) -> dict[str, int]:
    """Bytes of examples [N, *shape] by other coders: pictures each as PNG and lossless WebP, all in one WebP, as one
    block.

    PNG is Pillow's optimised one, of bits with one bit a pixel, WebP of the most effort; "webp_strip" is all pictures
    one below the other, with one head, where each helps to write the next. A block holds a byte a value, or two or
    four where counts are larger; of bits a bit a value too, whichever of the two becomes smaller.
    """
    found: dict[str, int] = {}
    if levels is not None and symbols.ndim == 4 and symbols.shape[1] in (1, 3) and levels <= 256:
        pixels = np.rint(symbols * (255 / (levels - 1))).astype(np.uint8)
        mode = "RGB" if symbols.shape[1] == 3 else "1" if levels == 2 else "L"
        effort: dict[str, Any] = {"lossless": True, "quality": 100, "method": 6}
        drawn = [image(each, mode) for each in pixels]
        found["png"] = sum(_saved(each, "PNG", optimize=True) for each in drawn)
        found["webp"] = sum(_saved(each, "WEBP", **effort) for each in drawn)
        found["webp_strip"] = sum(_saved(image(each, mode), "WEBP", **effort) for each in _strips(pixels))
    blocks = [symbols.astype(np.min_scalar_type(int(symbols.max(initial=0)))).tobytes()]
    blocks += [np.packbits(symbols.astype(bool)).tobytes()] if levels == 2 else []
    return found | {name: min(len(pack(block)) for block in blocks) for name, pack in _BLOCKS.items()}


def _strips(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Pictures [N, C, H, W] one below the other as [C, n H, W], as many in one as WebP has rows for."""
    most = max(1, _WEBP_ROWS // pixels.shape[2])
    for start in range(0, len(pixels), most):
        yield np.concatenate(list(pixels[start : start + most]), 1)


def _saved(picture, kind: str, **settings) -> int:
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.tell()
