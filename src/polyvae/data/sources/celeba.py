"""CelebA, aligned: faces with forty attributes as the condition y, decoded once at the size that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import DataError
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.source import About, Options, Source
from polyvae.data.sources.unpack import unpack
from polyvae.model.spec import Spec

SIZE = 64
PARTS = ("train", "validation", "test")
LISTS = ("list_attr_celeba.txt", "list_eval_partition.txt")
# No addresses: the authors give the files out under an agreement, from drives that answer with a page.
FILES = (
    FileInfo("img_align_celeba.zip", "md5:00d2c5bc6d35e252742224ab0c1e8fcb"),
    FileInfo("list_attr_celeba.txt", "md5:75e246fa4810816ffd6ee81facbd244c", 26_721_026),
    FileInfo("list_eval_partition.txt", "md5:d32c9cbf5e040fd4025c592c306e6668", 2_836_386),
)


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    from polyvae.data.readers.pictures import celeba

    root = paths[0].parent
    if paths[0].suffix == ".zip":
        unpack(paths[0], root)
    found = celeba(root, options.size or SIZE, options.centre)
    x, y, partition = found["x"], found["attributes"], found["partition"]
    counts = np.bincount(partition, minlength=3)
    if (counts == 0).any():  # a selection of the pictures without an official test part
        return {"all.x": x, "all.y": y}
    if (np.diff(partition.astype(np.int8)) < 0).any():
        raise DataError(paths[-1], "training, validation and test part one after the other", "a mixed order")
    starts = np.cumsum(counts)[:2]
    # Views: a copy of the pictures would take gigabytes.
    xs, ys = np.split(x, starts), np.split(y, starts)
    return {f"{part}.{name}": own[k] for k, part in enumerate(PARTS) for name, own in (("x", xs), ("y", ys))}


CELEBA = Source(
    "celeba",
    About(
        "CelebA: Liu, Luo, Wang and Tang, Deep learning face attributes in the wild, 2015",
        "non-commercial research only",
        {"train": 162_770, "validation": 19_867, "test": 19_962},
        "agree to the terms at https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and download img_align_celeba.zip, "
        "list_attr_celeba.txt and list_eval_partition.txt",
    ),
    Spec((3, SIZE, SIZE), y=40),
    _read,
    FILES,
    (("img_align_celeba", *LISTS), ("img_align_celeba.zip", *LISTS)),
    ("size", "centre"),
)
