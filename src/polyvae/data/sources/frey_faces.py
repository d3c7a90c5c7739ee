"""The Frey faces: 1,965 pictures of one face, 28x20."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyvae.data.errors import AGAIN, DataError, reading
from polyvae.data.readers.numpy_files import npz
from polyvae.data.sources.fetch import FileInfo
from polyvae.data.sources.formats import matlab
from polyvae.data.sources.source import About, Options, Source
from polyvae.model.spec import Spec


def _frey(paths: Sequence[Path], options: Options) -> Mapping[str, np.ndarray]:
    path = paths[0]
    if path.suffix == ".mat":
        with reading(path, "a MATLAB 5 file with the matrix ff [560, N]", AGAIN, ValueError):
            images = np.ascontiguousarray(matlab(path, ["ff"])["ff"].T).reshape(-1, 28, 20)
    else:
        images = npz(path, ("images",))["images"]
    if images.dtype != np.uint8 or images.shape[1:] != (28, 20):
        raise DataError(path, "pictures uint8 [N, 28, 20]", f"{images.dtype} {list(images.shape)}", AGAIN)
    return {"all.x": images[:, None]}


FREY_FACES = Source(
    "frey_faces",
    About(
        "Frey faces: Roweis, Saul and Hinton, Global coordination of local linear models, 2002",
        "none stated",
        {"all": 1_965},
        "download frey_rawface.mat from https://cs.nyu.edu/~roweis/data.html",
    ),
    Spec((1, 28, 20)),
    _frey,
    (FileInfo("frey_rawface.mat"),),
    (("frey_rawface.mat",), ("frey_faces_u8.npz",)),
)
