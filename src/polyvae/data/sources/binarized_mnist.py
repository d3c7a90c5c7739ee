"""MNIST as Larochelle binarised it once and for all: the set of published log-likelihoods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError
from polyvae.data.sources.fetch import mirrored
from polyvae.data.sources.formats import raw_bytes
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

ADDRESS = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
KNOWN = {
    "binarized_mnist_train.amat": ("md5:db28b1a6ae0fe70cbd3da91acf46e477", 78_400_000),
    "binarized_mnist_valid.amat": ("md5:bf37822a04e94123630de6a7dfd9c9ef", 15_680_000),
    "binarized_mnist_test.amat": ("md5:14e41ae11040adba6ab8cb291eda0dd8", 15_680_000),
}


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    parts = zip(("train", "validation", "test"), paths, strict=True)
    return {f"{part}.x": amat(path).reshape(-1, 1, 28, 28) * np.uint8(255) for part, path in parts}


def amat(path: str | Path, width: int = 784) -> np.ndarray:
    """A text file of zeros and ones, `width` to a line (Larochelle's binarised MNIST): uint8 0 or 1 [N, width]."""
    text = np.frombuffer(raw_bytes(path, f"lines of {width} zeros and ones"), np.uint8)
    step = 2 * width
    if len(text) % step == 0 and (text[step - 1 :: step] == ord("\n")).all() and (text[1::2] <= ord(" ")).all():
        values, breaks = text[::2], None  # the regular layout: a digit, a separator, a line end after `width` of them
    else:
        is_value = text > ord(" ")
        if (is_value[1:] & is_value[:-1]).any():
            raise DataError(path, "single digits 0 or 1 between spaces", "longer words", AGAIN)
        values = text[is_value]
        breaks = np.cumsum(is_value)[text == ord("\n")]
    if not len(values) or len(values) % width or (breaks is not None and (breaks % width).any()):
        raise DataError(path, f"{width} values to a line", f"{len(values):,} values in uneven lines (truncated)", AGAIN)
    bits = values - ord("0")
    if bits.max() > 1:  # what lies below "0" wraps round
        row = int(np.argmax(bits > 1)) // width
        raise DataError(path, "zeros and ones", f"{chr(values[bits > 1][0])!r} in line {row + 1}", AGAIN)
    return bits.reshape(-1, width)


BINARIZED_MNIST = Source(
    "binarized_mnist",
    About(
        "Binarised MNIST, fixed: Larochelle and Murray, The neural autoregressive distribution estimator, 2011",
        "CC BY-SA 3.0",
        {"train": 50_000, "validation": 10_000, "test": 10_000},
    ),
    Spec((1, 28, 28), levels=2),
    _read,
    mirrored(KNOWN, [ADDRESS]),
)
