"""Readers of the original formats: arrays come back from written and from real files, and bad files are named."""

import gzip
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from helpers import format_files as files
from helpers.format_files import says
from polyvae.data.errors import DataError, reading
from polyvae.data.sources.binarized_mnist import amat
from polyvae.data.sources.cifar10 import cifar10_binary
from polyvae.data.sources.formats import idx
from polyvae.data.sources.omniglot import omniglot
from polyvae.data.sources.sprites import dsprites
from polyvae.data.sources.svhn import svhn_mat


def test_a_data_error_says_file_expected_found_and_advice_and_survives_pickling():
    error = DataError("a.bin", "10 bytes", "3 bytes", "fetch it again")
    assert str(error) == "a.bin: expected 10 bytes, found 3 bytes; fetch it again"
    assert str(DataError("just this")) == "just this"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.file, again.found) == (str(error), "a.bin", "3 bytes")


def test_reading_leaves_other_errors_alone(tmp_path):
    with pytest.raises(ZeroDivisionError), reading(tmp_path, "x", "y", ValueError):
        raise ZeroDivisionError
    with pytest.raises(DataError, match="no such file"):
        idx(tmp_path / "absent")
    with pytest.raises(DataError, match="directory"):
        idx(tmp_path)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(files.IDX_CODES)), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans())
def test_idx_gives_every_type_and_shape_back(tmp_path_factory, kind, shape, packed):
    array = (np.arange(np.prod(shape)) - (0 if kind == "u1" else 3)).astype(kind).reshape(shape)
    path = tmp_path_factory.mktemp("idx") / "array"
    raw = files.idx_bytes(array)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    found = idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


def _idx(array):
    return files.idx_bytes(np.asarray(array, np.uint8))


BAD_IDX = {
    "empty": (b"", "empty"),
    "magic": (b"\x01\x02\x08\x01" + b"\0" * 8, "magic number"),
    "type": (b"\0\0\x77\x01\0\0\0\x01\0", "magic number"),
    "no dimensions": (b"\0\0\x08\0", "magic number"),
    "short header": (b"\0\0\x08\x03\0\0\0\x01", "truncated"),
    "truncated": (_idx(np.zeros((3, 4)))[:-1], "truncated"),
    "too long": (_idx(np.zeros((3, 4))) + b"\0", "too long"),
    "no examples": (struct.pack(">BBBBII", 0, 0, 8, 2, 0, 28), "empty"),
    "huge": (struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 28), "truncated"),
    "cut gzip": (gzip.compress(_idx(np.arange(200)))[:-20], "EOFError"),
    "broken gzip": (gzip.compress(_idx(np.arange(200)))[:-8] + b"\0" * 8, "BadGzipFile"),
    "nan": (files.idx_bytes(np.array([1.0, np.nan], "f4")), "NaN"),
}


@pytest.mark.parametrize(("content", "word"), BAD_IDX.values(), ids=BAD_IDX)
def test_a_bad_idx_file_is_named(tmp_path, content, word):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        idx(path)
    says(error, path, word)


def test_mnist_files_of_the_original_layout(tmp_path, real_data):
    written = files.mnist(tmp_path)
    np.testing.assert_array_equal(idx(tmp_path / "train-images-idx3-ubyte.gz"), written["train_x"])
    np.testing.assert_array_equal(idx(tmp_path / "t10k-labels-idx1-ubyte.gz"), written["test_y"])
    if real := real_data("mnist"):
        x, y = (idx(real / f"t10k-{part}-ubyte.gz") for part in ("images-idx3", "labels-idx1"))
        assert x.shape == (10000, 28, 28)
        assert np.bincount(y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        assert x.mean() == pytest.approx(33.79, abs=0.01)


def test_cifar10_binary_in_the_order_of_its_files(tmp_path, real_data):
    written = files.cifar10(tmp_path)
    folder = tmp_path / "cifar-10-batches-bin"
    x, y = cifar10_binary([folder / f"data_batch_{number}.bin" for number in range(1, 6)])
    np.testing.assert_array_equal(x, written["train_x"])
    np.testing.assert_array_equal(y, written["train_y"])
    assert (x.dtype, y.dtype, x.flags.c_contiguous) == (np.uint8, np.int64, True)
    if real := real_data("cifar10"):
        x, y = cifar10_binary(real / "cifar-10-batches-bin" / "test_batch.bin")
        assert x.shape == (10000, 3, 32, 32)
        assert np.bincount(y).tolist() == [1000] * 10


def test_a_bad_cifar10_batch_is_named(tmp_path):
    files.cifar10(tmp_path)
    good, bad = (tmp_path / "cifar-10-batches-bin" / f"data_batch_{number}.bin" for number in (1, 2))
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(DataError) as error:
        cifar10_binary([good, bad])
    says(error, bad, "truncated")
    bad.write_bytes(b"\x0b" + b"\0" * 3072)
    with pytest.raises(DataError) as error:
        cifar10_binary([good, bad])
    says(error, bad, "0..9", "11")
    bad.write_bytes((b"\x03" + b"\0" * 3072) * 4)
    with pytest.raises(DataError) as error:
        cifar10_binary(bad)
    says(error, bad, "only the label 3")


def test_svhn_puts_channels_first_and_reads_ten_as_zero(tmp_path, real_data):
    written = files.svhn(tmp_path)
    x, y = svhn_mat(tmp_path / "train_32x32.mat")
    np.testing.assert_array_equal(x, written["train_x"])
    np.testing.assert_array_equal(y, written["train_y"])
    assert (y.dtype, x.flags.c_contiguous) == (np.int64, True)
    if real := real_data("svhn"):
        x, y = svhn_mat(real / "test_32x32.mat")
        assert x.shape[1:] == (3, 32, 32)
        assert set(y.tolist()) == set(range(10))


def test_a_bad_matlab_file_is_named(tmp_path):
    files.svhn(tmp_path)
    path, good = tmp_path / "bad.mat", (tmp_path / "train_32x32.mat").read_bytes()
    for content in (
        good[: len(good) // 2],
        good[:200],
        b"",
        b"MATLAB 7.3 MAT-file" + b" " * 105 + b"\0\2IM" + b"\0" * 40,
    ):
        path.write_bytes(content)
        with pytest.raises(DataError) as error:
            svhn_mat(path)
        says(error, path, "MATLAB 5")
    matrices = {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((4, 1), np.uint8)}
    for change, word in (
        ({"X": np.zeros((32, 32, 3, 5), np.uint8)}, "[32, 32, 3, 5]"),
        ({"X": np.zeros((32, 32, 3, 4))}, "float64"),
        ({"y": np.full((4, 1), 11)}, "11"),
        ({}, "only the label 1"),
    ):
        savemat(path, matrices | change)
        with pytest.raises(DataError) as error:
            svhn_mat(path)
        says(error, path, word)
    savemat(path, {"X": matrices["X"]})
    with pytest.raises(DataError) as error:
        svhn_mat(path)
    says(error, path, "no ['y']")


@pytest.mark.parametrize("rewrite", [str, lambda text: text.replace(" ", "  ").replace("\n", " \r\n"), str.rstrip])
def test_amat_in_any_spacing(tmp_path, rewrite):
    bits = files.binarized_mnist(tmp_path)["train"]
    path = tmp_path / "binarized_mnist_train.amat"
    path.write_text(rewrite(path.read_text()), newline="")
    found = amat(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, bits)


def test_the_real_binarised_mnist(real_data):
    if real := real_data("binarized_mnist"):
        bits = amat(real / "binarized_mnist_valid.amat")
        assert bits.shape == (10000, 784)
        assert set(np.unique(bits)) == {0, 1}


def test_a_bad_amat_file_is_named(tmp_path):
    line = " ".join("01" * 392) + "\n"
    path = tmp_path / "bits.amat"
    cases = {
        line + line[:-40]: "truncated",
        line[:-4] + "\n" + line + "0 1\n": "uneven lines",
        line.replace("1", "2", 1): "'2' in line 1",
        line + line.replace("0", "-", 1): "'-' in line 2",
        line.replace("0 1", "0.5", 1): "longer words",
        "\n": "truncated",
        "": "empty",
    }
    for text, word in cases.items():
        path.write_text(text)
        with pytest.raises(DataError) as error:
            amat(path)
        says(error, path, word)


@pytest.mark.parametrize("kind", ["mat", "npz"])
def test_omniglot_in_both_formats(tmp_path, kind):
    path = tmp_path / f"omniglot.{kind}"
    written = getattr(files, f"omniglot_{kind}")(path)
    found = omniglot(path)
    assert list(found) == ["x", "split", "alphabet", "character"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, written[name], err_msg=name)
        assert array.dtype == (np.uint8 if name == "x" else np.int64)


def test_the_real_omniglot(real_data):
    if real := real_data("omniglot"):
        found = omniglot(real / "omniglot_28_grey.npz")
        assert np.bincount(found["split"]).tolist() == [19280, 13180]
        assert len(np.unique(found["alphabet"])) == 50


def test_a_bad_omniglot_file_is_named(tmp_path):
    path = tmp_path / "bad.npz"
    good = {
        "images": np.zeros((4, 28, 28), np.uint8),
        "split": [0, 0, 1, 1],
        "alphabet": [0, 1, 2, 3],
        "character": [1] * 4,
    }
    for change, word in (
        ({"images": np.zeros((4, 784), np.uint8)}, "[4, 784]"),
        ({"split": [0, 1]}, "(2,)"),
        ({"split": [0, 0, 1, 2]}, "0..1"),
        ({"split": [0] * 4}, "only the label 0"),
        ({"alphabet": [0.5, 1, 2, 3]}, "0.5"),
    ):
        np.savez(path, **(good | change))
        with pytest.raises(DataError) as error:
            omniglot(path)
        says(error, path, word)
    np.savez(path, images=good["images"])
    with pytest.raises(DataError, match="no \\['split', 'alphabet', 'character'\\]"):
        omniglot(path)
    matrices = {f"{part}{name}": array for part in ("", "test") for name, array in
                {"data": np.full((784, 3), 0.5), "target": np.eye(3), "targetchar": [[1.0, 2, 3]]}.items()}  # fmt: skip
    path = path.with_suffix(".mat")
    for change, word in (
        ({"data": np.full((784, 3), 200.0)}, "[0, 1]"),
        ({"testdata": np.zeros((700, 3))}, "700"),
        ({"targetchar": [[1.0, 2]]}, "(1, 2)"),
    ):
        savemat(path, matrices | change)
        with pytest.raises(DataError) as error:
            omniglot(path)
        says(error, path, word)


def test_dsprites_without_opening_its_pickled_metadata(tmp_path):
    written = files.dsprites(tmp_path / "dsprites.npz")
    found = dsprites(tmp_path / "dsprites.npz")
    assert list(found) == ["imgs", "latents_values", "latents_classes"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, written[name])


def test_a_bad_dsprites_file_is_named(tmp_path):
    path = tmp_path / "dsprites.npz"
    good = {
        "imgs": np.ones((2, 64, 64), np.uint8),
        "latents_values": np.zeros((2, 6)),
        "latents_classes": np.zeros((2, 6), int),
    }
    for change, word in (
        ({"imgs": np.full((2, 64, 64), 255, np.uint8)}, "up to 255"),
        ({"imgs": np.ones((2, 64, 64))}, "float64"),
        ({"latents_classes": np.zeros((3, 6), int)}, "[3, 6]"),
    ):
        np.savez(path, **(good | change))
        with pytest.raises(DataError) as error:
            dsprites(path)
        says(error, path, word)
