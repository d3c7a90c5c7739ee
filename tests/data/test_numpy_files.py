"""NumPy's own files: arrays come back, and bad files are named."""

import io
import pickle
import re
import zipfile

import numpy as np
import pytest

from helpers import format_files as files
from helpers.format_files import says
from polyvae.data.errors import DataError
from polyvae.data.readers.numpy_files import npy, npz


def test_npy_and_npz_give_arrays_back(tmp_path, real_data):
    array = np.random.default_rng(0).random((3, 4), np.float32)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", x=array, names=np.array(["p", "q"]))
    np.testing.assert_array_equal(npy(tmp_path / "a.npy"), array)
    assert list(npz(tmp_path / "a.npz")) == ["x", "names"]
    written = files.frey_faces(tmp_path / "frey.npz")
    np.testing.assert_array_equal(npz(tmp_path / "frey.npz")["images"], written["images"])
    if real := real_data("frey_faces"):
        assert npz(real / "frey_faces_u8.npz")["images"].shape == (1965, 28, 20)
    if real := real_data("cylinder_flow"):
        assert npz(real / "cylinder_re100_grid.npz", ("u", "v"))["u"].shape == (150, 64, 128)


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _zip(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


BAD_NUMPY = {
    "empty file": ("npy", b"", "EOFError"),
    "no array": ("npy", b"text", "or pickled objects"),
    "truncated": ("npy", _npy(np.arange(100))[:-8], "ValueError"),
    "pickle": ("npy", _npy(np.array([{}, []], dtype=object)), "Python objects"),
    "claims 400 TB": (
        "npy",
        _npy(np.zeros((10, 10))).replace(b"10), }" + b" " * 12, b"5000000000000), }" + b" "),
        "ValueError",
    ),
    "damaged head": ("npy", _npy(np.zeros(9)).replace(b"}", b" "), "TokenError"),
    "bare pickle": ("npy", pickle.dumps([1, 2]), "or pickled objects"),
    "archive": ("npy", _npz(x=np.ones(2)), "npz"),
    "nan": ("npy", _npy(np.array([[0, 1], [np.inf, 2]])), "[1, 0]"),
    "empty array": ("npy", _npy(np.zeros((0, 3))), "empty array"),
    "complex": ("npy", _npy(np.ones(2, complex)), "complex"),
    "cut archive": ("npz", _npz(x=np.ones(500))[:-300], "BadZipFile"),
    "password": ("npz", re.sub(rb"(?s)(PK\x01\x02.{4})\x00", b"\\1\1", _npz(x=np.ones(500))), "encrypted"),
    "no array inside": ("npz", _zip("x.txt", "hello"), "dtype"),
    "broken array inside": ("npz", _zip("x.npy", _npy(np.ones(9))[:-3]), "ValueError"),
    "pickle inside": (
        "npz",
        _npz(x=np.array([{}], dtype=object)),
        "something else, or pickled objects, which are never read",
    ),
    "empty archive": ("npz", _npz(), "empty archive"),
    "single array": ("npz", _npy(np.ones(3)), "single array"),
    "nan inside": ("npz", _npz(x=np.array([np.nan])), "'x'"),
}


@pytest.mark.parametrize(("kind", "content", "word"), BAD_NUMPY.values(), ids=BAD_NUMPY)
def test_a_bad_numpy_file_is_named(tmp_path, kind, content, word):
    path = tmp_path / f"array.{kind}"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        {"npy": npy, "npz": npz}[kind](path)
    says(error, path, word)
