"""CIFAR-10 in its binary version, which needs no pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.formats import labels, raw_bytes
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

ARCHIVE = FileInfo(
    "cifar-10-binary.tar.gz",
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
    170_052_171,
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
    ),
)
KNOWN = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
FILES = tuple(
    FileInfo(f"cifar-10-batches-bin/{name}", f"md5:{md5}", 30_730_000, archive=ARCHIVE) for name, md5 in KNOWN.items()
)


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    train, test = cifar10_binary(paths[:-1]), cifar10_binary(paths[-1])
    return {"train.x": train[0], "train.y": train[1], "test.x": test[0], "test.y": test[1]}


def cifar10_binary(paths: str | Path | Sequence[str | Path]) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10's binary version, its files in order: x uint8 [N, 3, 32, 32] and y int64 [N].

    A row is a label byte and 3,072 bytes, channels first. Source: Krizhevsky, Learning multiple layers of features from
    tiny images, 2009.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    rows = []
    for path in paths:
        raw = raw_bytes(path, "a CIFAR-10 binary batch")
        if len(raw) % 3073:
            found = f"{len(raw):,} bytes, {len(raw) % 3073} over (truncated)"
            raise DataError(path, "rows of 3,073 bytes", found, AGAIN)
        rows.append(np.frombuffer(raw, np.uint8).reshape(-1, 3073))
        labels(rows[-1][:, 0], path, 10, several=False)
    whole = np.concatenate(rows)
    return np.ascontiguousarray(whole[:, 1:]).reshape(-1, 3, 32, 32), labels(whole[:, 0], paths[0], 10)


CIFAR10 = Source(
    "cifar10",
    About(
        "CIFAR-10: Krizhevsky, Learning multiple layers of features from tiny images, 2009",
        "none stated; cite the report",
        {"train": 50_000, "test": 10_000},
    ),
    Spec((3, 32, 32), classes=10),
    _read,
    FILES,
)
