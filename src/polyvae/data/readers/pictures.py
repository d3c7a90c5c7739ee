"""Folders of picture files as byte arrays, decoded by several threads: any folder of images, and CelebA."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from polyvae.checks.names import shortened
from polyvae.data.errors import DataError, reading

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NAMED = 20  # bad files that are named in one message
MANY = 1000  # pictures, from which on a bar is shown
_SKIP = "skip_bad=True"
_SIZE = "size=64"
_GREY = {"1", "L", "LA"}
_DEEP = ("I", "F")  # modes of more than eight bits, which a conversion would clip
_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, width and height change places
_NOT_A_PICTURE = "delete it, or replace it by a picture that opens"
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning)
_Box = tuple[int, int, int, int]


def listed(path: str | Path) -> tuple[list[Path], np.ndarray | None]:
    """The picture files of a folder, sorted by name, and the name of the class of each (text [N]) or None.

    Two or more subfolders with pictures are classes; with pictures beside the subfolders there are no classes. Raises
    DataError without a picture.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(root, "a folder of pictures", "no such folder", "check the path")
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and not _hidden(file, root))
    if not files:
        raise DataError(root, "a folder of pictures", "none", f"put files in it that end in {', '.join(SUFFIXES)}")
    names = [file.relative_to(root).parts[0] for file in files]
    flat = len(set(names)) < 2 or any(file.parent == root for file in files)
    return files, None if flat else np.array(names)


def read_pictures(
    root: Path, files: Sequence[Path], size: int | None = None, centre: bool = True, skip_bad: bool = False
) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Pictures uint8 [n, C, H, W], the indices (int64 [n]) of their files, and a note on files that were left out.

    C is 1 if every picture is grey, else 3. `size`: resize to size x size, after cutting out the largest square in the
    middle (`centre`) or else by squeezing. Without it, pictures must have one size. `skip_bad` leaves out files that
    are no pictures. Raises one DataError for all files that are no pictures or of another size.
    """
    heads = _attempted(_head, files, "reading headers")
    bad = {place: head for place, head in enumerate(heads) if isinstance(head, DataError)}
    good = [place for place in range(len(files)) if place not in bad]
    if bad and not skip_bad:  # which of the others can be opened but not read?
        checked = _attempted(_load, [files[place] for place in good], "looking at pictures")
        bad |= {place: error for place, error in zip(good, checked, strict=True) if error is not None}
        good = [place for place in good if place not in bad]
        raise _unreadable(root, files, bad, "" if size else _unlike(root, files, heads, good))
    if not good:
        raise DataError(root, "at least one picture", f"{len(files)} files, none of them a picture", _NOT_A_PICTURE)
    mode = "L" if all(heads[place][0] == "L" for place in good) else "RGB"
    first = heads[good[0]][1]
    if size is None and (unlike := _unlike(root, files, heads, good)):
        raise _unreadable(root, files, {}, unlike)

    def box(width: int, height: int) -> _Box | None:
        return centre_box(width, height, min(width, height)) if size and centre else None

    x, failed = _decoded([files[place] for place in good], mode, (size, size) if size else first[::-1], box)
    if failed:
        bad |= {good[place]: error for place, error in failed.items()}
        if not skip_bad or len(failed) == len(good):
            raise _unreadable(root, files, bad)
        kept = [place for place in range(len(good)) if place not in failed]
        x, good = x[kept], [good[place] for place in kept]
    note = f"{root}: {_counted(root, files, bad)}, and left out" if bad else None
    return x, np.array(good, np.int64), note


def _unlike(root: Path, files: Sequence[Path], heads: Sequence[Any], good: Sequence[int]) -> str:
    """The `good` pictures of another size than most, in words; "" if there are none."""
    sizes = {files[place]: "{}x{}".format(*heads[place][1]) for place in good}
    ((most, _),) = Counter(sizes.values()).most_common(1) or [("", 0)]  # the first of those that are as common
    whose = "the first's" if most == next(iter(sizes.values()), "") else "the most common"
    others = [f"{file.relative_to(root)} ({size})" for file, size in sizes.items() if size != most]
    return f"{len(others):,} of another size than {most}, {whose}: {shortened(others, NAMED)}" if others else ""


def _unreadable(root: Path, files: Sequence[Path], bad: Mapping[int, DataError], unlike: str = "") -> DataError:
    """One error for all files that are no pictures, and for those that `_unlike` names."""
    if len(bad) == 1 and not unlike:
        (error,) = bad.values()
        return DataError(error.file, error.expected, error.found, f"{error.advice}, or skip what is bad ({_SKIP})")
    found, advice = [], []
    if bad:
        found.append(_counted(root, files, bad))
        advice.append(f"delete or replace what is broken, or go on without it ({_SKIP})")
    if unlike:
        found.append(unlike)
        advice.append(f"resize them all, to 64x64 for instance ({_SIZE})")
    return DataError(root, "pictures of one size" if unlike else "pictures", "; ".join(found), "; ".join(advice))


def _counted(root: Path, files: Sequence[Path], bad: Mapping[int, DataError]) -> str:
    names = shortened([str(files[place].relative_to(root)) for place in sorted(bad)], NAMED)
    return f"{len(bad):,} of {len(files):,} files cannot be read as pictures: {names}"


def centre_box(width: int, height: int, side: int) -> _Box:
    """The square of `side` pixels in the middle of a picture, as left, top, right, bottom; cropped at its edges."""
    across, down = min(side, width), min(side, height)
    left, top = round((width - across) / 2), round((height - down) / 2)
    return left, top, left + across, top + down


def decode(
    files: Sequence[Path],
    mode: str,
    shape: tuple[int, int],
    box: Callable[[int, int], _Box | None] = lambda width, height: None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Picture files as uint8 [N, C, H, W], in `mode` L or RGB, cropped to `box(width, height)` and resized to `shape`.

    Resizing averages over the area (Pillow's antialiased bilinear filter). `out`: an array for the result, such as a
    memory-mapped one. Raises DataError naming the files that are truncated or not a picture.
    """
    x, failed = _decoded(files, mode, shape, box, out)
    if failed:
        raise _unreadable(files[0].parent, files, failed)
    return x


def _decoded(
    files: Sequence[Path],
    mode: str,
    shape: tuple[int, int],
    box: Callable[[int, int], _Box | None],
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[int, DataError]]:
    """As `decode`, with the errors of bad files by index, for which nothing is written."""
    height, width = shape
    channels = len(mode)
    x = np.empty((len(files), channels, height, width), np.uint8) if out is None else out

    def one(place: int) -> None:
        with reading(files[place], "a picture", _NOT_A_PICTURE, *_BROKEN), Image.open(files[place]) as opened:
            picture = _upright(opened, mode)
            region = box(*picture.size)
            if region is not None:  # cut first: resize(box=) would let pixels beside the box shine in
                picture = picture.crop(region)
            if picture.size != (width, height):
                picture = picture.resize((width, height), Image.Resampling.BILINEAR)
            x[place] = np.asarray(picture).reshape(height, width, channels).transpose(2, 0, 1)

    results = _attempted(one, range(len(files)), "decoding pictures")
    return x, {place: error for place, error in enumerate(results) if error is not None}


def _load(file: Path) -> None:
    with reading(file, "a picture", _NOT_A_PICTURE, *_BROKEN), Image.open(file) as opened:
        opened.load()


def _upright(opened: Image.Image, mode: str) -> Image.Image:
    """The picture as the camera was held (EXIF), in a mode of eight bits, without transparency."""
    if "transparency" in opened.info:
        opened = opened.convert("RGBA")
    return ImageOps.exif_transpose(opened).convert(mode)


def _head(file: Path) -> tuple[str, tuple[int, int]]:
    """Mode and width x height of the upright picture, from its header."""
    with reading(file, "a picture", _NOT_A_PICTURE, *_BROKEN), Image.open(file) as opened:
        if opened.mode.startswith(_DEEP):
            raise DataError(file, "a picture of eight bits a channel", f"mode {opened.mode}", "scale it to 0..255")
        width, height = opened.size
        turned = opened.getexif().get(_ORIENTATION, 1) >= 5
        return "L" if opened.mode in _GREY else "RGB", (height, width) if turned else (width, height)


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _attempted(work: Callable, items: Sequence, what: str) -> list:
    """The result of `work` for every item, or its DataError, on a thread a core (Pillow decodes outside the GIL).

    A terminal shows a bar for many items. Any other error cancels the rest.
    """

    def attempt(item: Any) -> Any:
        try:
            return work(item)
        except DataError as error:
            return error

    from polyvae.data.bars import bar

    shown = len(items) >= MANY and sys.stderr.isatty()
    results: list[Any] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool, bar(what, transient=True, shown=shown) as bars:
        task = bars.add_task("", total=len(items))
        chunks = [items[start : start + 64] for start in range(0, len(items), 64)]
        futures = [pool.submit(lambda chunk: [attempt(item) for item in chunk], chunk) for chunk in chunks]
        try:
            for future in futures:
                results += future.result()
                bars.update(task, completed=len(results))
            return results
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
