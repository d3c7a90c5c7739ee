"""A user's own files through `load`: paths, parts and names, and what is said of bad files and arguments."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import format_files
from helpers.splits import everything, keys, lengths
from polyvae import data
from polyvae.data import DataError
from polyvae.data.readers import pictures
from polyvae.model.spec import Spec


def test_a_path_leads_to_a_users_own_file(tmp_path, monkeypatch):
    x, y = format_files.pictures(40, 1, 6, 6), np.arange(40) % 4
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "xy.npz", x=x, y=y)
    np.savez(tmp_path / "one.npz", pictures=x)
    np.savez(tmp_path / "keras.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    np.savez(tmp_path / "parts.npz", train_x=x[:20], valid_x=x[20:30], test_x=x[30:])
    np.savez(tmp_path / "no_test.npz", x_train=x[:30], x_val=x[30:])
    assert lengths(data.load(tmp_path / "x.npy")) == (32, 4, 4)
    assert data.load(tmp_path / "x.npy").spec == Spec((1, 6, 6))
    assert data.load(str(tmp_path / "xy.npz")).spec == Spec((1, 6, 6), classes=4)
    assert data.load(tmp_path / "one.npz", size=8).spec == Spec((1, 8, 8))
    keras = data.load(tmp_path / "keras.npz")
    assert lengths(keras) == (27, 3, 10)
    np.testing.assert_array_equal(keras.test.tensors["x"], x[30:])
    assert lengths(data.load(tmp_path / "parts.npz")) == (20, 10, 10)
    assert lengths(data.load(tmp_path / "no_test.npz")) == (32, 4, 4)
    monkeypatch.chdir(tmp_path)
    relative = data.load("xy.npz", binarise="threshold")
    assert relative.call == {"name": str(tmp_path / "xy.npz"), "binarise": "threshold"}
    assert relative.name == "xy.npz"


def test_tables_and_folders_of_pictures_load_by_path_and_are_kept(tmp_path, monkeypatch):
    table = format_files.csv_table(tmp_path / "table.csv", rows=30)
    loaded = data.load(tmp_path / "table.csv")
    assert replace(loaded.spec, columns=()) == Spec((3,), classes=3, levels=None, labels=("a", "b", "c"), label="label")
    assert [(column.name, column.kind) for column in loaded.spec.columns] == [
        ("height", "real"), ("width", "real"), ("depth", "real")
    ]  # fmt: skip
    assert sorted(everything(loaded.train)[:, 0].tolist()) == sorted(
        set(table["x"][:, 0].tolist())
        - {*everything(loaded.test)[:, 0].tolist(), *everything(loaded.validation)[:, 0].tolist()}
    )
    format_files.image_folder(tmp_path / "pets", each=10)
    first = data.load(tmp_path / "pets", size=8)
    assert first.spec == Spec((3, 8, 8), classes=2, labels=("cat", "dog"))
    monkeypatch.setattr("polyvae.data.readers.pictures.read_pictures", lambda *options: pytest.fail("decoded again"))
    assert keys(data.load(tmp_path / "pets", size=8).train) == keys(first.train)


def test_a_folder_with_broken_files_is_loaded_without_them_and_says_so(tmp_path):
    format_files.image_folder(tmp_path / "pets", each=20)
    expected = everything(data.load(tmp_path / "pets").train)
    for number in range(3):
        (tmp_path / "pets" / "cat" / f"z{number}.png").write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"pets: expected pictures, found 3 of 43 .* cat/z0\.png, cat/z1\.png, cat/z2\.png"
    ):
        data.load(tmp_path / "pets")
    for _ in range(2):  # from the cache too
        with pytest.warns(UserWarning, match="3 of 43 files cannot be read as pictures: .* and left out"):
            loaded = data.load(tmp_path / "pets", skip_bad=True)
        assert lengths(loaded) == (32, 4, 4)
        assert loaded.call["skip_bad"] is True
        assert loaded.spec.labels == ("cat", "dog")
    assert expected.shape[1:] == everything(loaded.train).shape[1:]
    np.save(tmp_path / "a.npy", np.zeros((20, 3)))
    with pytest.raises(DataError, match="expected a folder of pictures or a table, of which some are skipped"):
        data.load(tmp_path / "a.npy", skip_bad=True)
    with pytest.raises(ValueError, match="got digits"):
        data.load("digits", skip_bad=True)


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"fold": 1, "folds": 4}, {"validation": 9}, {"blocks": 5}])
def test_a_limit_keeps_the_same_examples_and_reads_no_others(tmp_path, monkeypatch, options):
    format_files.image_folder(tmp_path / "pets", each=30)
    x = np.random.default_rng(0).random((60, 7), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)  # is read as a whole
    read = []
    decode = pictures._decoded
    monkeypatch.setattr(pictures, "_decoded", lambda files, *rest: read.append(len(files)) or decode(files, *rest))
    whole = data.load(tmp_path / "pets", **options)
    few = data.load(tmp_path / "pets", limit=8, **options)
    assert read == [60, sum(lengths(few))]
    assert (len(few.train), few.spec) == (8, whole.spec)
    for part in ("train", "validation", "test"):
        assert set(keys(getattr(few, part))) <= set(keys(getattr(whole, part)))
        mine, theirs = (getattr(data.load(tmp_path / name, limit=8, **options), part) for name in ("x.npy", "x.npz"))
        assert torch.equal(everything(mine), everything(theirs))


def test_a_limit_looks_at_no_more_of_an_array_than_it_keeps(tmp_path):
    x = np.arange(2000.0).reshape(1000, 2)
    np.save(tmp_path / "x.npy", x)
    kept = torch.cat([part.tensors["x"] for part in _parts(data.load(tmp_path / "x.npy", limit=5))])
    assert len(kept) == 7
    x[~np.isin(x[:, 0], kept[:, 0])] = np.nan
    np.save(tmp_path / "x.npy", x)
    assert torch.equal(everything(data.load(tmp_path / "x.npy", limit=5).train), kept[:5])
    with pytest.raises(DataError, match="NaN or infinity"):
        data.load(tmp_path / "x.npy", limit=6)


def _parts(loaded):
    return loaded.train, loaded.validation, loaded.test


BAD = {
    "unknown name": (
        lambda folder: data.load("mnits"),
        "mnits: expected a path, or one of mnist.*did you mean 'mnist'",
    ),
    "unknown ending": (lambda folder: data.load(folder / "a.doc"), r"a\.doc: expected .*found \.doc"),
    "mixed names": (lambda folder: data.load(folder / "mixed.npz"), r"mixed\.npz: expected x and y, or x_train"),
    "parts differ": (lambda folder: data.load(folder / "differ.npz"), r"differ\.npz, part test: expected examples as"),
    "two examples": (lambda folder: data.load(folder / "two.npy"), r"two\.npy: expected enough examples to cut"),
    "table resized": (lambda folder: data.load(folder / "table.npy", size=8), r"table\.npy: expected pictures, to be"),
    "table binary": (lambda folder: data.load(folder / "table.npy", binarise="fixed"), r"table\.npy: .*binarised"),
    "table noise": (lambda folder: data.load(folder / "table.npy", dequantise=True), r"table\.npy: .*dequantised"),
    "not finite": (lambda folder: data.load(folder / "nan.npy"), r"nan\.npy.*NaN"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_paths_and_files_are_named(tmp_path, case):
    x = format_files.pictures(20, 1, 6, 6)
    (tmp_path / "a.doc").write_text("")
    np.savez(tmp_path / "mixed.npz", x=x, x_test=x)
    np.savez(tmp_path / "differ.npz", x_train=x, x_test=x[..., :5])
    np.save(tmp_path / "two.npy", x[:2])
    np.save(tmp_path / "table.npy", np.random.default_rng(0).standard_normal((20, 3)))
    np.save(tmp_path / "nan.npy", np.array([[1.0, np.nan]] * 20))
    call, message = BAD[case]
    with pytest.raises(DataError, match=message):
        call(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit is a whole number of at least 1"),
        ({"binarise": "often"}, "binarise is"),
        ({"binarise": "fixed", "dequantise": True}, "exclude each other"),
        ({"size": 0}, "size is"),
        ({"fold": 1}, "belong together"),
        ({"folds": 5}, "belong together"),
        ({"fold": 5, "folds": 5}, r"fold lies in 0\.\.4"),
        ({"validation": 1.5}, "a share"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_meant(options, message):
    with pytest.raises(ValueError, match=message):
        data.load("digits", **options)
