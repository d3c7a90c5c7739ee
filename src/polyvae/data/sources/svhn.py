"""Street View House Numbers, the cropped digits of 32x32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.readers.formats import svhn_mat
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.source import About, Options, Source, every
from polyvae.model.spec import Spec

MIRRORS = ("http://ufldl.stanford.edu/housenumbers/", "https://cseweb.ucsd.edu/~weijian/static/datasets/svhn/")
KNOWN = {
    "train_32x32.mat": ("e26dedcc434d2e4c54c9b2d4a06d8373", 182_040_794),
    "test_32x32.mat": ("eb5a983be6a315427106f1b164d9cef3", 64_275_384),
}
FILES = tuple(
    FileInfo(name, f"md5:{md5}", size, tuple(mirror + name for mirror in MIRRORS))
    for name, (md5, size) in KNOWN.items()
)


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    train, test = map(svhn_mat, paths)
    return {"train.x": train[0], "train.y": train[1], "test.x": test[0], "test.y": test[1]}


SVHN = Source(
    "svhn",
    About(
        "SVHN: Netzer and others, Reading digits in natural images with unsupervised feature learning, 2011",
        "non-commercial use only",
        {"train": 73_257, "test": 26_032},
    ),
    Spec((3, 32, 32), classes=10),
    _read,
    FILES,
    every(FILES),
)
