"""The wake of a cylinder at Re = 100: velocity and pressure on a grid, 150 times of a vortex street."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError
from polyvae.data.readers.numpy_files import npz
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec

FILES = (FileInfo("cylinder_re100_grid.npz"),)
CHANNELS = ("u", "v", "cp")  # along the stream, across it, pressure coefficient; all without unit
SHAPE = (150, 64, 128)


def _read(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    """x float32 [150, 3, 64, 128], zero inside the cylinder, and t float32 [150, 1]."""
    from polyvae.data.readers.fields import stacked  # with torch, which the catalogue does without

    path = paths[0]
    found = npz(path, (*CHANNELS, "fluid", "t"))
    shapes = {name: array.shape for name, array in found.items()}
    if shapes != {**dict.fromkeys(CHANNELS, SHAPE), "fluid": SHAPE[1:], "t": SHAPE[:1]}:
        raise DataError(path, f"u, v and cp {list(SHAPE)}, fluid {list(SHAPE[1:])} and t", f"{shapes}", AGAIN)
    x = stacked(path, [found[name] for name in CHANNELS], SHAPE)
    return {"all.x": x * found["fluid"].astype(bool), "all.t": found["t"].astype(np.float32).reshape(-1, 1)}


CYLINDER_FLOW = Source(
    "cylinder_flow",
    About(
        "Flow past a cylinder at Re = 100: u, v and pressure on x in [-1, 7], y in [-2, 2], about 2.3 periods",
        "none stated",
        {"all": SHAPE[0]},
        "interpolate a simulation to u, v, cp [150, 64, 128], fluid [64, 128], t [150] in cylinder_re100_grid.npz",
        validation=0.2,
        test=0.2,
        blocks=30,
    ),
    Spec((len(CHANNELS), *SHAPE[1:]), levels=None),
    _read,
    FILES,
    channels=CHANNELS,
)
