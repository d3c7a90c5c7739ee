"""MNIST as Larochelle binarised it once and for all: the set of published log-likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.readers.formats import amat
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.source import About, Options, Source, every
from polyvae.model.spec import Spec

ADDRESS = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
KNOWN = {
    "train": ("db28b1a6ae0fe70cbd3da91acf46e477", 78_400_000),
    "valid": ("bf37822a04e94123630de6a7dfd9c9ef", 15_680_000),
    "test": ("14e41ae11040adba6ab8cb291eda0dd8", 15_680_000),
}
FILES = tuple(
    FileInfo(name := f"binarized_mnist_{part}.amat", f"md5:{md5}", size, (ADDRESS + name,))
    for part, (md5, size) in KNOWN.items()
)


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    parts = zip(("train", "validation", "test"), paths, strict=True)
    return {f"{part}.x": amat(path).reshape(-1, 1, 28, 28) * np.uint8(255) for part, path in parts}


BINARIZED_MNIST = Source(
    "binarized_mnist",
    About(
        "Binarised MNIST, fixed: Larochelle and Murray, The neural autoregressive distribution estimator, 2011",
        "CC BY-SA 3.0",
        {"train": 50_000, "validation": 10_000, "test": 10_000},
    ),
    Spec((1, 28, 28), levels=2),
    _read,
    FILES,
    every(FILES),
)
