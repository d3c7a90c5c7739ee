"""CelebA, aligned: faces with forty attributes as the condition y, decoded once at the requested size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import DataError, reading
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


def celeba(path: str | Path, size: int = 64, centre: bool = True) -> dict[str, np.ndarray]:
    """CelebA's aligned pictures: x uint8 [N, 3, size, size], attributes uint8 [N, 40], partition uint8 [N], names [40].

    `path` holds img_align_celeba/, list_attr_celeba.txt and list_eval_partition.txt (0 training, 1 validation, 2 test).
    `centre` crops the usual 148x148 of 178x218 in the middle, scaled if the pictures are smaller; without it, the whole
    picture is squeezed. All pictures in the folder are used; each must be in both lists. Source: Liu, Luo, Wang and
    Tang, Deep learning face attributes in the wild, 2015.
    """
    from polyvae.data.readers.pictures import centre_box, decode  # Pillow, for those who have pictures

    root = Path(path)
    pictures = root / "img_align_celeba"
    files = sorted(pictures.glob("*.jpg"))
    if not files:
        raise DataError(pictures, "CelebA's aligned pictures, 000001.jpg and on", "none", "unpack img_align_celeba.zip")
    names, attributes = _list(root / "list_attr_celeba.txt", files, head=2)
    _, partition = _list(root / "list_eval_partition.txt", files, head=0)
    if len(names) != attributes.shape[1] or not np.isin(attributes, (-1, 1)).all():
        found = f"{len(names)} names and {attributes.shape[1]} columns from {attributes.min()} to {attributes.max()}"
        raise DataError(root / "list_attr_celeba.txt", "a column of -1 and 1 for each attribute", found)
    if partition.shape[1] != 1 or not np.isin(partition, (0, 1, 2)).all():
        raise DataError(root / "list_eval_partition.txt", "0, 1 or 2 for each picture", "other values")

    def box(width: int, height: int) -> tuple[int, int, int, int] | None:
        return centre_box(width, height, round(148 * width / 178)) if centre else None

    return {
        "x": decode(files, "RGB", (size, size), box),
        "attributes": (attributes > 0).astype(np.uint8),
        "partition": partition[:, 0].astype(np.uint8),
        "names": np.array(names),
    }


def _list(path: Path, files: Sequence[Path], head: int) -> tuple[list[str], np.ndarray]:
    """Names of the columns (second line, if `head`) and the rows of the files [N, columns]."""
    faults = (OSError, ValueError, OverflowError, IndexError)
    with reading(path, "CelebA's list, a file name and numbers to a line", "fetch it again", *faults):
        lines = path.read_text(encoding="utf-8").split("\n")
        names = lines[1].split() if head else []
        rows = {name: rest for name, _, rest in (line.partition(" ") for line in lines[head:])}
        for file in files:
            if file.name not in rows:
                raise DataError(path, f"a line for {file.name}", "none", f"fetch the list again, or remove {file}")
        return names, np.array([rows[file.name].split() for file in files], np.int8)


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
