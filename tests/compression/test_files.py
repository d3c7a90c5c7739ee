"""Files come back to the last bit, whoever wrote them, and the bytes that hold them tell when they are not whole."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from polyvae.compression.archive import Archive, read_archive
from polyvae.compression.containers import Unreadable, opened, restored
from polyvae.compression.files import bytes_of, check_names, listed, source_of
from polyvae.compression.levels import numbers_of, same, symbols_of
from polyvae.compression.png import SIGNATURE, _filtered
from polyvae.data.errors import DataError


def smooth(channels: int, height: int = 11, width: int = 14) -> np.ndarray:
    """A picture [H, W, C] of bytes that has something to compress."""
    waves = np.random.default_rng(0).normal(size=(height, width, channels)).cumsum(0).cumsum(1)
    return (255 * (waves - waves.min()) / np.ptp(waves)).astype(np.uint8)


def picture(channels: int) -> Image.Image:
    pixels = smooth(channels)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels)


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def by_another(level: int, memory: int, strategy: int, chunk: int = 100) -> bytes:
    """A PNG file as an encoder on zlib writes it, with a filter of each kind and its pixels in several chunks."""

    def packed(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = smooth(3).transpose(2, 0, 1)
    packer = zlib.compressobj(level, zlib.DEFLATED, 15, memory, strategy)
    stream = packer.compress(_filtered(pixels, np.arange(11, dtype=np.uint8) % 5)) + packer.flush()
    head = packed(b"IHDR", struct.pack(">IIBBBBB", 14, 11, 8, 2, 0, 0, 0)) + packed(b"tEXt", b"Software\0another")
    pieces = [stream[start : start + chunk] for start in range(0, len(stream), chunk)]
    return SIGNATURE + head + b"".join(packed(b"IDAT", each) for each in pieces) + packed(b"IEND", b"")


def array(values: np.ndarray, **others: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=values, **others) if others else np.save(file, values)
    return file.getvalue()


def locked(archive: bytes) -> bytes:
    """The archive as if its members had a password: a bit of their heads."""
    return re.sub(rb"(?s)(PK\x01\x02.{4})\x00", b"\\1\1", archive)


def titled() -> PngInfo:
    info = PngInfo()
    info.add_text("Title", "a hill")
    return info


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "png": (".png", lambda: saved(picture(1), "PNG")),
    "png of colours, optimised": (".png", lambda: saved(picture(3), "PNG", optimize=True)),
    "png with text": (".png", lambda: saved(picture(3), "PNG", pnginfo=titled(), dpi=(72, 72))),
    "png of bits": (".png", lambda: saved(picture(1).convert("1"), "PNG")),
    "png by another": (".png", lambda: by_another(6, 8, 1)),
    "png by another, fast": (".png", lambda: by_another(1, 8, 3)),
    "webp": (".webp", lambda: saved(picture(3), "WEBP", lossless=True)),
    "webp with effort": (".webp", lambda: saved(picture(3), "WEBP", lossless=True, quality=100, method=6)),
    "bmp": (".bmp", lambda: saved(picture(3), "BMP")),
    "bmp of grey": (".bmp", lambda: saved(picture(1), "BMP")),
    "pgm": (".pgm", lambda: b"P5\n# a hill\n14 11\n255\n" + smooth(1).tobytes()),
    "ppm": (".ppm", lambda: saved(picture(3), "PPM")),
    "npy": (".npy", lambda: array(smooth(3))),
    "npy in columns": (".npy", lambda: array(np.asfortranarray(smooth(1)[..., 0].astype(">i4")))),
    "npz": (".npz", lambda: array(smooth(3)[None], y=np.arange(1))),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_made_again_of_its_numbers_and_little_else(name: str) -> None:
    suffix, make = FILES[name]
    data, remembered = make(), dict[str, Any]()
    file = opened(data, suffix, remembered)
    assert file.how is not None
    assert restored(file.values, file.how, file.rest) == data
    again = opened(data, suffix, remembered)  # by the settings of the last
    assert (again.how, again.rest) == (file.how, file.rest)
    assert len(file.rest) < (1100 if name == "bmp of grey" else 220)  # which has a palette


def test_a_file_that_nothing_makes_again_is_kept_whole() -> None:
    data = saved(picture(1), "PNG")
    spoilt = data + b"behind the end"  # is kept as it stands; a stream that no encoder here writes is not made again
    assert opened(spoilt, ".png", {}).how is not None
    pixels = np.concatenate([np.zeros((11, 1), np.uint8), smooth(1)[..., 0]], 1).tobytes()
    packer = zlib.compressobj(6)
    stream = (
        packer.compress(pixels[:50]) + packer.flush(zlib.Z_FULL_FLUSH) + packer.compress(pixels[50:]) + packer.flush()
    )
    chunk = struct.pack(">I", len(stream)) + b"IDAT" + stream + struct.pack(">I", zlib.crc32(b"IDAT" + stream))
    file = opened(data[:33] + chunk + data[-12:], ".png", {})
    assert file.how is None
    assert file.rest == data[:33] + chunk + data[-12:]


@pytest.mark.parametrize("left", [-1, -2, -4])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_without_the_end_of_its_stream_is_kept_whole(channels: int, left: int) -> None:
    """All pixels are there, and part of the checksum behind them is not: Pillow opens it, zlib refuses it."""
    data = saved(picture(channels), "PNG")
    stream = data[41:-16][:left]
    chunk = struct.pack(">I", len(stream)) + b"IDAT" + stream + struct.pack(">I", zlib.crc32(b"IDAT" + stream))
    whole = data[:33] + chunk + data[-12:]
    file = opened(whole, ".png", {})
    assert (file.how, file.rest) == (None, whole)
    np.testing.assert_array_equal(file.values, smooth(channels).transpose(2, 0, 1))


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_any_byte_damaged_is_made_again_kept_whole_or_told(name: str) -> None:
    suffix, make = FILES[name]
    data, random = make(), np.random.default_rng(0)
    for place in random.choice(len(data), min(len(data), 60), replace=False):
        spoilt = bytearray(data)
        spoilt[place] ^= int(random.integers(1, 256))
        try:
            file = opened(bytes(spoilt), suffix, {})
        except Unreadable:
            continue
        assert (file.rest if file.how is None else restored(file.values, file.how, file.rest)) == spoilt


@pytest.mark.parametrize(
    ("data", "suffix", "said"),
    [
        (b"nothing", ".png", "no picture"),
        (saved(picture(1), "PNG")[:60], ".png", "no picture"),
        (saved(picture(3), "WEBP", quality=50), ".webp", "a WebP file that loses what it holds"),
        (saved(picture(3).convert("P"), "PNG"), ".png", "a picture of mode P"),
        (saved(picture(3).convert("RGBA"), "PNG"), ".png", "a picture of mode RGBA"),
        (b"nothing", ".npy", "no .npy array"),
        (array(np.zeros(3))[:-4], ".npy", "no .npy array"),
        (array(np.zeros(3)).replace(b"}", b" "), ".npy", "no .npy array"),
        (locked(array(np.zeros(3), y=np.ones(1))), ".npz", "no .npz archive"),
        (array(np.zeros((2, 3)), z=np.zeros(2))[:-40], ".npz", "no .npz archive"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(data: bytes, suffix: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        opened(data, suffix, {})


@given(
    st.sampled_from([2, 5, 16, 256]),
    st.sampled_from(["uint8", "int64", "float32", "float64", "bool"]),
    st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_levels_are_told_from_numbers_of_any_type_and_back(levels: int, dtype: str, seed: int) -> None:
    symbols = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else levels, (3, 4))
    if dtype == "bool":
        symbols = symbols * (levels - 1)
    for top in {"f": (1.0,), "b": (1.0,)}.get(np.dtype(dtype).kind, (255.0, levels - 1.0)):
        values = numbers_of(symbols, levels, top, np.dtype(dtype))
        found = symbols_of(values, levels)
        assert found is not None
        assert same(numbers_of(found[0], levels, found[1], values.dtype), values)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (np.array([0, 7], np.uint8), 2),
        (np.array([0.1234], np.float32), 256),
        (np.array([np.nan, 0.0]), 256),
        (np.array([-1]), None),
        (np.array([1.5]), None),
        (np.array([np.inf]), None),
        (np.array([-0.0]), 256),
        (np.array(["a"]), 2),
    ],
)
def test_numbers_that_are_no_levels_are_told(values: np.ndarray, levels: int | None) -> None:
    assert symbols_of(values, levels) is None


@pytest.mark.parametrize("shape", [(1, 11, 14), (3, 11, 14)])
@pytest.mark.parametrize("name", [name for name in FILES if name != "png of bits"])
def test_grey_and_coloured_files_fit_both_kinds_of_runs(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    suffix, make = FILES[name]
    data = make()
    if suffix == ".webp" and shape[0] == 1:  # which is always of colours
        data = saved(picture(1), "WEBP", lossless=True)
    path = tmp_path / f"file{suffix}"
    path.write_bytes(data)
    array_of_another = suffix in (".npy", ".npz") and (shape[0] == 1) != (name == "npy in columns")
    coloured = shape[0] == 1 and suffix != ".webp" and opened(data, suffix, {}).values.shape[0] == 3
    if array_of_another or coloured:
        with pytest.raises(DataError, match=r"expected examples of shape"):
            source_of("a", path, shape, 256, {})
        return
    source = source_of("a", path, shape, 256, {})
    assert source.symbols.shape == (1, *shape)
    assert source.how is not None
    assert bytes_of(source.symbols, 256, source.how, source.rest) == data


def test_names_are_kept_from_a_folder_on_and_never_lead_outside(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b/2.npy", "a/notes.txt", "c/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found, left = listed([tmp_path / "a", tmp_path / "c" / "1.png"])
    assert list(found) == ["a/1.png", "a/b/2.npy", "1.png"]
    assert left == [tmp_path / "a" / "notes.txt"]
    with pytest.raises(DataError, match="one file of each name"):
        listed([tmp_path / "a" / "1.png", tmp_path / "c" / "1.png"])
    for names in (["/etc/passwd"], ["../a.png"], ["a/../../b"], [""], ["a", "a/b"], ["a", "a"], ["a\0b"]):
        with pytest.raises(DataError, match="not by polyvae compress"):
            check_names(names, Path("file"))
    check_names(["a/1.png", "a/b/2.npy", "x..y.png", "a:b.png"], Path("file"))


def test_any_damage_to_a_compressed_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    archive = Archive({"run": {"weights": "0"}}, [b"rest", b""], np.arange(20, dtype=np.uint32))
    size = archive.write(path)
    found = read_archive(path)
    assert (found.head, found.rests, found.words.tolist()) == (archive.head, archive.rests, list(range(20)))
    whole = path.read_bytes()
    assert len(whole) == size
    for place in range(size):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"another kind of file|another version|cut short or damaged"):
            read_archive(path)
        path.write_bytes(whole[:place])
        with pytest.raises(DataError, match=r"another kind of file|another version|cut short or damaged"):
            read_archive(path)
