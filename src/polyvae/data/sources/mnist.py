"""MNIST and the two sets in its format: 60,000 + 10,000 grey pictures of 28x28 in ten classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import DataError
from polyvae.data.sources.fetch import mirrored
from polyvae.data.sources.formats import idx, labels
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SPEC = Spec((1, 28, 28), classes=10)
COUNTS = {"train": 60_000, "test": 10_000}


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for part, (images, numbers) in {"train": paths[:2], "test": paths[2:]}.items():
        x, y = idx(images), idx(numbers)
        if x.dtype != np.uint8 or x.ndim != 3:
            raise DataError(images, "pictures uint8 [N, H, W]", f"{x.dtype} {list(x.shape)}")
        if y.shape != x.shape[:1]:
            raise DataError(numbers, f"a label for each of {len(x):,} pictures", f"shape {list(y.shape)}")
        arrays |= {f"{part}.x": x[:, None], f"{part}.y": labels(y, numbers, 10)}
    return arrays


def _source(name: str, about: About, known: Sequence[tuple[str, int]], mirrors: Sequence[str]) -> Source:
    packed = {f"{each}.gz": (f"md5:{md5}", size) for each, (md5, size) in zip(NAMES, known, strict=True)}
    return Source(name, about, SPEC, _read, mirrored(packed, mirrors), ((*packed,), NAMES))


MNIST = _source(
    "mnist",
    About(
        "MNIST: LeCun, Bottou, Bengio and Haffner, Gradient-based learning, 1998",
        "CC BY-SA 3.0",
        COUNTS,
        validation=1 / 6,
    ),
    [
        ("f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
        ("d53e105ee54ea40749a09fcbcd1e9432", 28_881),
        ("9fb629c4189551a2d022fa330f9573f3", 1_648_877),
        ("ec29112dd5afa0611ce80d1b7f02629c", 4_542),
    ],
    ["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"],
)

FASHION_MNIST = _source(
    "fashion_mnist",
    About("Fashion-MNIST: Xiao, Rasul and Vollgraf, 2017", "MIT", COUNTS, validation=1 / 6),
    [
        ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
        ("25c81989df183df01b3e8a0aad5dffbe", 29_515),
        ("bef4ecab320f06d8554ea6380940ec79", 4_422_102),
        ("bb300cfdad3c16e7a12a480ee83cd310", 5_148),
    ],
    [
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
    ],
)

KMNIST = _source(
    "kmnist",
    About(
        "Kuzushiji-MNIST: Clanuwat and others, Deep learning for classical Japanese literature, 2018",
        "CC BY-SA 4.0",
        COUNTS,
        validation=1 / 6,
    ),
    [
        ("bdb82020997e1d708af4cf47b453dcf7", 18_165_135),
        ("e144d726b3acfaa3e44228e80efcd344", 29_497),
        ("5c965bf0a639b31b8f53240b1b52f4d7", 3_041_136),
        ("7320c461ea6c1c855c0b718fb2a4b134", 5_120),
    ],
    ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
)
