"""dSprites, and our own sprites of the same factors and format for where the original cannot be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.readers import formats
from polyvae.data.sources import shapes
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.source import About, Options, Source, every
from polyvae.model.spec import Spec

NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
FILES = (
    FileInfo(
        NAME,
        "md5:7da33b31b13a06f4b04a70402ce90c2e",
        None,
        (
            f"https://raw.githubusercontent.com/google-deepmind/dsprites-dataset/master/{NAME}",
            f"https://github.com/deepmind/dsprites-dataset/raw/fa310c66517cfc1939d77fe17c725154efc97127/{NAME}",
        ),
    ),
)
SPEC = Spec((1, 64, 64), classes=3, levels=2)
COUNTS = {"all": 737_280}


def _arrays(found: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """x, the shape as label y, and all six factors by number (colour, shape, scale, orientation, x, y)."""
    images, factors = found["imgs"], found["latents_classes"].astype(np.int64)
    np.multiply(images, 255, out=images)  # three gigabytes: in place
    return {"all.x": images[:, None], "all.y": np.ascontiguousarray(factors[:, 1]), "all.factors": factors}


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    return _arrays(formats.dsprites(paths[0]))


def _generate(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    return _arrays(shapes.dsprites())


DSPRITES = Source(
    "dsprites",
    About(
        "dSprites: Matthey, Higgins, Hassabis and Lerchner, 2017",
        "Apache-2.0",
        COUNTS,
        "without it, sprites of the same factors are generated",
        stand_in="sprites",
    ),
    SPEC,
    _read,
    FILES,
    every(FILES),
)

SPRITES = Source(
    "sprites",
    About("Sprites of dSprites' factors, generated", "generated", COUNTS, "it is generated"),
    SPEC,
    _generate,
)
