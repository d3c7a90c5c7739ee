"""Street View House Numbers, the cropped digits of 32x32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError
from polyvae.data.sources.fetch import mirrored
from polyvae.data.sources.formats import labels, matlab
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

MIRRORS = ("http://ufldl.stanford.edu/housenumbers/", "https://cseweb.ucsd.edu/~weijian/static/datasets/svhn/")
KNOWN = {
    "train_32x32.mat": ("md5:e26dedcc434d2e4c54c9b2d4a06d8373", 182_040_794),
    "test_32x32.mat": ("md5:eb5a983be6a315427106f1b164d9cef3", 64_275_384),
}


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    train, test = map(svhn_mat, paths)
    return {"train.x": train[0], "train.y": train[1], "test.x": test[0], "test.y": test[1]}


def svhn_mat(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """SVHN's cropped digits in MATLAB 5 format: x uint8 [N, 3, 32, 32] and y int64 [N], its label 10 read as 0.

    Source: Netzer and others, Reading digits in natural images with unsupervised feature learning, 2011.
    """
    found = matlab(path, ("X", "y"))
    x, y = found["X"], found["y"].reshape(-1)
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3) or x.shape[3] != len(y) or not len(y):
        shapes = f"X {x.dtype} {list(x.shape)}, y {list(found['y'].shape)}"
        raise DataError(path, "X uint8 [32, 32, 3, N] and y [N, 1]", shapes, AGAIN)
    # MATLAB stores columns first: the transpose [N, 3, W, H] is contiguous, the copy then runs through memory in order.
    return np.ascontiguousarray(x.T.swapaxes(2, 3)), labels(np.where(y == 10, 0, y), path, 10)


SVHN = Source(
    "svhn",
    About(
        "SVHN: Netzer and others, Reading digits in natural images with unsupervised feature learning, 2011",
        "non-commercial use only",
        {"train": 73_257, "test": 26_032},
    ),
    Spec((3, 32, 32), classes=10),
    _read,
    mirrored(KNOWN, MIRRORS),
)
