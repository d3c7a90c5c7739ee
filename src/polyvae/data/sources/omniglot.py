"""OMNIGLOT at 28x28: 32,460 characters of 50 alphabets, which are the labels.

Training and test part are cut as Burda, Grosse and Salakhutdinov did (Importance weighted autoencoders, 2016): 24,345
pictures to train on and the rest to test on, from all alphabets. Their own `chardata.mat` brings their own cut;
pictures read from the original archives are cut by a fixed permutation, near theirs in kind and not the same.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError, reading
from polyvae.data.readers.numpy_files import npz
from polyvae.data.sources.fetch import mirrored
from polyvae.data.sources.formats import labels, matlab
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

TRAIN = 24_345 / 32_460  # share of the pictures to train on
MIRRORS = (
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    "https://github.com/brendenlake/omniglot/raw/master/python/",
)
KNOWN = {
    "images_background.zip": ("sha256:ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640", 9_464_212),
    "images_evaluation.zip": ("sha256:1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee", 6_462_886),
}


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    if paths[0].suffix != ".zip":
        found = omniglot(paths[0])
        x, y = found["x"], found["alphabet"]
        test = found["split"] == 1 if paths[0].suffix == ".mat" else _test(len(x))
    else:
        x, y = _original(paths)
        test = _test(len(x))
    x = x[:, None]
    return {"train.x": x[~test], "train.y": y[~test], "test.x": x[test], "test.y": y[test]}


def _test(count: int) -> np.ndarray:
    from polyvae.data.cuts import permutation  # with torch, which the catalogue does without

    test = np.zeros(count, bool)
    test[permutation(count, 0)[round(TRAIN * count) :].numpy()] = True
    return test


def _original(archives: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of 105x105 in order of archive and name, averaged over the area to 28x28, ink 255."""
    from PIL import Image

    pictures, alphabets = [], []
    for archive in archives:
        for name, body in _pictures(archive):
            with reading(f"{archive}: {name}", "a PNG picture", AGAIN, OSError, SyntaxError, ValueError):
                picture = Image.open(io.BytesIO(body)).convert("L")
            pictures.append(255 - np.asarray(picture.resize((28, 28), Image.Resampling.BOX)))
            alphabets.append(name.split("/")[-3])
    names = {name: number for number, name in enumerate(sorted(set(alphabets)))}
    return np.stack(pictures), np.array([names[name] for name in alphabets], np.int64)


def _pictures(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The pictures ALPHABET/CHARACTER/NAME.png of an archive; nothing is written, so its names cannot lead astray."""
    faults = (OSError, zipfile.BadZipFile, EOFError, zlib.error)
    with reading(archive, "a whole .zip of pictures", AGAIN, *faults), zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".png") and name.count("/") >= 2)
        if not names:
            raise DataError(archive, "pictures ALPHABET/CHARACTER/NAME.png", "none", AGAIN)
        yield from ((name, opened.read(name)) for name in names)


def omniglot(path: str | Path) -> dict[str, np.ndarray]:
    """OMNIGLOT at 28x28: x uint8 [N, 28, 28] with ink 255; split (0 training, 1 test), alphabet, character int64 [N].

    Read from `chardata.mat` (data, testdata [784, N] in [0, 1], target one-hot, targetchar; Burda, Grosse and
    Salakhutdinov, Importance weighted autoencoders, 2016) or from an npz (images, split, alphabet, character, class_id,
    drawer). Source: Lake, Salakhutdinov and Tenenbaum, Human-level concept learning, 2015.
    """
    return _omniglot_mat(path) if Path(path).suffix == ".mat" else _omniglot_npz(path)


def _omniglot_npz(path: str | Path) -> dict[str, np.ndarray]:
    arrays = npz(path, ("images", "split", "alphabet", "character"))
    images = arrays.pop("images")
    shapes = {name: array.shape for name, array in arrays.items()}
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or set(shapes.values()) != {images.shape[:1]}:
        found = f"images {images.dtype} {list(images.shape)}, {shapes}"
        raise DataError(path, "images uint8 [N, 28, 28] and a split, alphabet and character for each", found, AGAIN)
    labels(arrays["split"], path, 2)
    return {"x": images, **{name: labels(array, path, several=False) for name, array in arrays.items()}}


def _omniglot_mat(path: str | Path) -> dict[str, np.ndarray]:
    names = ("data", "testdata", "target", "testtarget", "targetchar", "testtargetchar")
    arrays = matlab(path, names)
    count = {part: arrays[f"{part}data"].shape[-1] for part in ("", "test")}
    for part, n in count.items():
        shapes = [arrays[f"{part}{name}"].shape for name in ("data", "target", "targetchar")]
        if shapes[0] != (784, n) or shapes[1][1:] != (n,) or shapes[2] != (1, n):
            raise DataError(path, "data [784, N], target [A, N] and targetchar [1, N]", f"{shapes}", AGAIN)
    x = np.concatenate([arrays["data"].T, arrays["testdata"].T])
    if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
        raise DataError(path, "pictures in [0, 1]", f"values in [{x.min():g}, {x.max():g}]", AGAIN)
    # MATLAB's pictures run down the columns.
    pictures = np.rint(x * 255).astype(np.uint8).reshape(-1, 28, 28).swapaxes(1, 2)
    alphabet = np.concatenate([arrays["target"].argmax(0), arrays["testtarget"].argmax(0)])
    character = np.concatenate([arrays["targetchar"][0], arrays["testtargetchar"][0]])
    return {
        "x": np.ascontiguousarray(pictures),
        "split": np.repeat(np.arange(2), list(count.values())),
        "alphabet": labels(alphabet, path),
        "character": labels(character, path),
    }


OMNIGLOT = Source(
    "omniglot",
    About(
        "OMNIGLOT: Lake, Salakhutdinov and Tenenbaum, Human-level concept learning, 2015",
        "MIT",
        {"train": 24_345, "test": 8_115},
        "for the cut of published log-likelihoods, download chardata.mat from "
        "https://github.com/yburda/iwae/tree/master/datasets/OMNIGLOT",
    ),
    Spec((1, 28, 28), classes=50),
    _read,
    mirrored(KNOWN, MIRRORS),
    (("chardata.mat",), (*KNOWN,), ("omniglot_28_grey.npz",)),
)
