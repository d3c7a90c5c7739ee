"""Files as numbers and the rest: what a file holds beside its numbers, and how its very bytes are made again."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from polyvae.compression import png
from polyvae.compression.zipped import npz, npz_bytes
from polyvae.data.readers.numpy_files import BROKEN

_MODES = {"1": np.dtype(bool), "L": np.dtype(np.uint8), "RGB": np.dtype(np.uint8)}
Ways = Iterable[tuple[Mapping[str, Any], bytes]]  # how a file may have been made, and the rest of its bytes
_PNM = re.compile(rb"P([56])(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+255\s")


class Unreadable(ValueError):
    """A file that is none of its kind, or that holds no numbers that a model could code: in words, without its name."""


@dataclass(frozen=True)
class Opened:
    """Numbers of a file, a picture's pixels [C, H, W] or an array, and what makes its bytes of them: `how`, for JSON,
    and the bytes `rest`.

    None for `how` where nothing makes these bytes again: then `rest` is all of them. `picture`: they are one picture.
    """

    values: np.ndarray
    how: Mapping[str, Any] | None = field(default_factory=dict)
    rest: bytes = b""
    picture: bool = False


def opened(data: bytes, suffix: str, remembered: dict[str, Any]) -> Opened:
    """A file by its bytes and suffix. `remembered`: the settings that made the last file of a kind, tried first.

    Raises Unreadable for bytes of another kind and for pictures with a palette, transparency or more than eight bits.
    """
    if suffix == ".npy":
        return _npy(data)
    if suffix == ".npz":
        return _checked(*npz(data), data)
    pixels, mode = picture(data)
    made: Ways
    if suffix == ".png":
        made = png.ways(data, pixels, mode, remembered)
    elif suffix == ".webp":
        made = _webp_ways(data, remembered)
    elif suffix == ".bmp":
        made = _bmp(data, pixels, mode)
    else:
        made = _pnm(data, mode)
    for how, rest in made:
        whole = {**how, "mode": mode}
        if restored(pixels, whole, rest) == data:
            return Opened(pixels, whole, rest, True)
    return Opened(pixels, None, data, True)


def restored(values: np.ndarray, how: Mapping[str, Any], rest: bytes) -> bytes:
    """The bytes of a file of these numbers."""
    make: Callable[[np.ndarray, Mapping[str, Any], bytes], bytes] = _MAKERS[how["as"]]
    return make(values, how, rest)


def picture(data: bytes) -> tuple[np.ndarray, str]:
    """Pixels [C, H, W] of a picture file, bytes or for bits bool, and Pillow's name of their mode."""
    try:
        with Image.open(io.BytesIO(data)) as found:
            if (frames := getattr(found, "n_frames", 1)) > 1:
                raise Unreadable(f"a film of {frames} pictures")
            found.load()
            mode = found.mode
            if mode not in _MODES:
                raise Unreadable(f"a picture of mode {mode}, neither bits, grey levels nor colours of eight bits")
            pixels = np.asarray(found).reshape(found.height, found.width, -1)
    except Unreadable:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise Unreadable(f"no picture ({error})") from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), mode


def image(pixels: np.ndarray, mode: str) -> Image.Image:
    """The picture of pixels [C, H, W]."""
    if mode == "1":
        return Image.fromarray((pixels[0] > 0).astype(np.uint8) * 255).convert("1")
    return Image.fromarray(pixels[0] if mode == "L" else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _checked(values: np.ndarray, how: Mapping[str, Any], rest: bytes, data: bytes) -> Opened:
    if restored(values, how, rest) == data:
        return Opened(values, how, rest)
    return Opened(values, None, data)


def _npy(data: bytes) -> Opened:
    file = io.BytesIO(data)
    try:
        array = np.load(file, allow_pickle=False)
    except BROKEN as error:
        raise Unreadable("no .npy array of numbers") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise Unreadable("no .npy array of examples")
    head = data[: len(data) - array.nbytes]
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    how = {"as": "raw", "order": order, "type": array.dtype.str}
    return _checked(array.astype(array.dtype.newbyteorder("=")), how, head, data)


def _raw(values: np.ndarray, how: Mapping[str, Any], rest: bytes) -> bytes:
    return rest + values.astype(np.dtype(how["type"])).tobytes(how["order"])


def _pnm(data: bytes, mode: str) -> Ways:
    if (head := _PNM.match(data)) is not None:
        yield {"as": "rows"}, data[: head.end()]


def _rows(values: np.ndarray, how: Mapping[str, Any], rest: bytes) -> bytes:
    return rest + np.ascontiguousarray(values.transpose(1, 2, 0)).tobytes()


def _bmp(data: bytes, pixels: np.ndarray, mode: str) -> Ways:
    if mode != "1":
        start, height = int.from_bytes(data[10:14], "little"), int.from_bytes(data[22:26], "little", signed=True)
        size = -(-pixels.shape[0] * pixels.shape[2] // 4) * 4 * pixels.shape[1]
        yield {"as": "bmp", "up": height > 0, "end": len(data) - start - size}, data[:start] + data[start + size :]


def _bmp_bytes(values: np.ndarray, how: Mapping[str, Any], rest: bytes) -> bytes:
    rows = values.transpose(1, 2, 0)[:: -1 if how["up"] else 1, :, ::-1].reshape(values.shape[1], -1)
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).astype(np.uint8).tobytes()
    cut = len(rest) - how["end"]
    return rest[:cut] + padded + rest[cut:]


def _webp_ways(data: bytes, remembered: dict[str, Any]) -> Ways:
    if b"VP8L" not in data[:64]:
        raise Unreadable("a WebP file that loses what it holds; keep pictures as PNG or lossless WebP")
    every = [{"quality": quality, "method": method} for method in (4, 6, 0, 1, 2, 3, 5) for quality in (80, 100, 75, 0)]
    last = remembered.get("webp")
    for settings in [last, *every] if last else every:
        remembered["webp"] = settings
        yield {"as": "webp", **settings}, b""
    remembered.pop("webp", None)  # none served


def _webp_bytes(values: np.ndarray, how: Mapping[str, Any], rest: bytes) -> bytes:
    file = io.BytesIO()
    image(values, how["mode"]).save(file, "WEBP", lossless=True, quality=how["quality"], method=how["method"])
    return file.getvalue()


_MAKERS: dict[str, Callable[[np.ndarray, Mapping[str, Any], bytes], bytes]] = {
    "raw": _raw,
    "rows": _rows,
    "bmp": _bmp_bytes,
    "webp": _webp_bytes,
    "png": lambda values, how, rest: png.made(values, how, rest),
    "npz": npz_bytes,
}
SUFFIXES = (".png", ".webp", ".bmp", ".pgm", ".ppm", ".npy", ".npz")
