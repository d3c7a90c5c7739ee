"""PolyMNIST: five pictures of one digit in a row, each on patches of a background of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Modality, Spec

NAMES = tuple(f"m{number}" for number in range(5))
SHAPE = (3, 28, 28)


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for folder in paths:
        part, name = folder.parent.name, folder.name
        arrays[f"{part}.{name}"], y = pictures(folder)
        if not np.array_equal(arrays.setdefault(f"{part}.y", y), y):
            raise DataError(folder, f"pictures of the numbers and labels of {NAMES[0]}", "others", AGAIN)
    return arrays


def pictures(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [N, 3, 28, 28] called NUMBER.LABEL.png, in the order of their numbers, and labels int64 [N].

    Source: Sutter, Daunhawer and Vogt, Generalized multimodal ELBO, 2021.
    """
    from polyvae.data.readers.pictures import listed, read_pictures

    files, _ = listed(folder)
    told = [file.stem.split(".") for file in files]
    if wrong := [
        file for file, each in zip(files, told, strict=True) if len(each) != 2 or not "".join(each).isdecimal()
    ]:
        raise DataError(folder, "pictures called NUMBER.LABEL.png", wrong[0].name, AGAIN)
    numbers = np.array([[int(text) for text in each] for each in told])
    if [*numbers[order := numbers[:, 0].argsort(), 0]] != [*range(len(files))] or numbers[:, 1].max() > 9:
        raise DataError(folder, f"numbers from 0 to {len(files) - 1:,} and labels from 0 to 9", "others", AGAIN)
    x, _, _ = read_pictures(folder, [files[place] for place in order])
    if x.shape[1:] != SHAPE:
        raise DataError(folder, f"pictures of shape {list(SHAPE)}", f"{list(x.shape[1:])}", AGAIN)
    return x, numbers[order, 1].astype(np.int64)


POLYMNIST = Source(
    "polymnist",
    About(
        "PolyMNIST: Sutter, Daunhawer and Vogt, Generalized multimodal ELBO, 2021",
        "none stated",
        {"train": 60_000, "test": 10_000},
        "get the archive of the paper's authors, unpack its folders train and test with m0 to m4 in each",
    ),
    Spec(classes=10, levels=None, modalities=tuple(Modality(name, Spec(SHAPE)) for name in NAMES)),
    _read,
    tuple(FileInfo(f"{part}/{name}") for part in ("train", "test") for name in NAMES),
)
