"""Labels from every source: numbers far apart are two classes, names are kept, all parts number them alike."""

import numpy as np
import pandas as pd
import pytest
import torch

import polyvae as pv
from polyvae import data
from polyvae.data import DataError, wrap
from polyvae.data.columns.table import Table, alike, recoded
from polyvae.data.readers.arrays import table_of, tensors_of

X = np.random.default_rng(0).random((12, 3), np.float32)
FAR = np.array([0, 1000000, 0] * 4)


SOURCES = {
    "arrays": (X, FAR),
    "tensors": (torch.from_numpy(X), torch.from_numpy(FAR)),
    "unsigned": (X, FAR.astype(np.uint32)),
    "mapping": {"x": X, "y": FAR},
    "data set": torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(FAR)),
    "list": (X, FAR.tolist()),
}


@pytest.mark.parametrize("given", SOURCES.values(), ids=SOURCES)
def test_two_labels_far_apart_are_two_classes(given):
    assert (wrap(given).spec.classes, wrap(given).spec.labels) == (2, ("0", "1000000"))
    assert tensors_of(given, "train")["y"].tolist() == [0, 1, 0] * 4
    assert table_of(given, "train").labels == ("0", "1000000")


def test_names_are_labels_and_numbers_from_zero_need_none():
    names = np.array(["dog", "cat", "dog"] * 4)
    assert table_of((X, names), "train").labels == ("cat", "dog")
    assert tensors_of((X, names), "train")["y"].tolist() == [1, 0, 1] * 4
    assert table_of((X, FAR // 1000000), "train").labels is None
    assert table_of((X, FAR > 0), "train").labels == ("False", "True")


def test_an_array_of_an_npz_is_the_label_by_its_name(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=X, y=FAR // 1000000, species=np.array(["b", "a", "c"] * 4))
    loaded = data.load(path, label="species")
    assert loaded.spec.labels == ("a", "b", "c")
    assert loaded.call["label"] == "species"
    assert set(loaded.train.tensors) == {"x", "y"}
    np.savez(path, x=X, y=FAR)
    assert data.load(path, label="").spec.classes is None
    with pytest.raises(DataError, match=r"a\.npz: expected labels under the name 'kind', found \['x', 'y'\]"):
        data.load(path, label="kind")
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(DataError, match=r"a\.npy: expected labels under the name 'kind', found no names"):
        data.load(tmp_path / "a.npy", label="kind")
    with pytest.raises(ValueError, match="digits has its labels already"):
        data.load("digits", label="kind")


def test_parts_of_a_file_number_their_labels_together(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=FAR, x_test=X[:3], y_test=np.array([7, 1000000, 7]))
    loaded = data.load(tmp_path / "a.npz")
    assert (loaded.spec.classes, loaded.spec.labels) == (3, ("0", "7", "1000000"))
    assert loaded.test.tensors["y"].tolist() == [1, 2, 1]
    assert set(loaded.train.tensors["y"].tolist()) <= {0, 2}


def test_new_data_are_numbered_as_the_old_ones_were_and_what_is_unknown_is_named():
    old = table_of((X, np.array(["b", "a", "c"] * 4)), "train")
    new = table_of((X[:2], np.array(["c", "a"])), "new")
    assert recoded(new, old.features, old.labels).arrays["y"].tolist() == [2, 0]
    with pytest.raises(DataError, match=r"new, labels: expected one of \['b', 'c'\], found \['a'\]"):
        recoded(new, old.features, ("b", "c"), "new")


def test_numbers_that_are_whole_together_keep_their_numbers():
    parts = alike(
        {"train": table_of((X, FAR // 1000000), "train"), "test": table_of((X[:2], np.array([3, 2])), "test")}
    )
    assert parts["test"].arrays["y"].tolist() == [3, 2]
    assert {part.labels for part in parts.values()} == {None}
    assert isinstance(parts["train"], Table)


def test_a_later_part_may_show_one_class_only(tmp_path):
    train = pd.DataFrame({"a": np.arange(20) / 8, "y": ["u", "v"] * 10})
    later = pd.DataFrame({"a": np.arange(6) / 4, "y": ["v"] * 6})
    whole = wrap(train, validation=later, test=later.assign(y="u"))
    assert whole.spec.labels == ("u", "v")
    assert whole.validation.tensors["y"].tolist() == [1] * 6
    assert whole.test.tensors["y"].tolist() == [0] * 6
    numbers = wrap(train.assign(y=[0, 1] * 10), test=later.assign(y=1))
    assert numbers.test.tensors["y"].tolist() == [1] * 6
    run = pv.Run(pv.recipes.cvae(whole.spec, seed=0, network="mlp", widths=[4], latent=1))
    expected = run.score(whole.validation)
    np.testing.assert_array_equal(run.score(later), expected.numpy() if hasattr(expected, "numpy") else expected)
    later.to_csv(tmp_path / "later.csv", index=False)
    with pytest.warns(data.DataNote, match=r"later\.csv: all labels in the column 'y' are 'v'"):
        alone = data.load(tmp_path / "later.csv", validation=3)
    assert alone.spec.labels == ("v",)
    assert len(alone.test) == 1
    np.testing.assert_array_equal(run.score(alone.test.tensors["x"], ["v"]), run.score(alone))
    assert pv.evaluate(run, later, samples=2)["examples"] == 6
    with pytest.raises(ValueError, match="labels of the data of this run are u, v; got w"):
        run.score(later.assign(y="w"))


def test_labels_held_as_objects_are_text():
    x, names = np.arange(40.0).reshape(20, 2), np.array(["u", "v"] * 10)
    for labels in (names.astype(object), names, list(names)):
        assert data.load((x, labels)).spec.labels == ("u", "v")
    with pytest.raises(data.DataError, match="both, of int, str"):
        data.load((x, np.array(["u", 1] * 10, dtype=object)))
