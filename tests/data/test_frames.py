"""Data frames, sparse matrices and annotated matrices go where arrays go; what they hold that is no number is named."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from polyvae import data
from polyvae.data import DataError, wrap
from polyvae.data.columns.table import Feature
from polyvae.data.readers.arrays import table_of, tensors_of

COUNTS = np.random.default_rng(0).poisson(1.0, (40, 6))
KINDS = np.array(["b", "t", "nk", "t"] * 10)


def frame(rows=4):
    return pd.DataFrame(
        {
            "age": [31, 45, 27, 31] * (rows // 4),
            "height": [1.5, 1.75, 2.0, 1.25] * (rows // 4),
            "smokes": [True, False, False, True] * (rows // 4),
            "town": ["Ulm", "Bonn", "Ulm", "Jena"] * (rows // 4),
        }
    )


def annotated(x):
    """What AnnData has: X, obs and var_names."""
    return SimpleNamespace(
        X=x, obs=pd.DataFrame({"cell": KINDS[: x.shape[0]], "batch": 1}), var_names=[f"g{place}" for place in range(6)]
    )


def test_a_frame_is_a_table_with_named_columns():
    found = table_of(frame(), "train")
    assert found.features == (
        Feature("age", "int"),
        Feature("height", "float"),
        Feature("smokes", "bool"),
        Feature("town", "text", ("Bonn", "Jena", "Ulm")),
    )
    x = tensors_of(frame(), "train")["x"]
    assert x.dtype == torch.float32
    assert x.tolist() == [[31, 1.5, 1, 2], [45, 1.75, 0, 0], [27, 2, 0, 2], [31, 1.25, 1, 1]]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2, 3, 4], dtype="Int64"),
        pd.Series([1, 2, 3, 4], dtype="object"),
        pd.Series(pd.Categorical([1, 2, 3, 4])),
        pd.Series([1, 2, 3, 4], dtype="Sparse[int]"),
    ],
    ids=["nullable", "objects", "categorical", "sparse"],
)
def test_numbers_in_any_of_pandas_types_are_numbers(column):
    found = table_of(pd.DataFrame({"a": column}), "train")
    assert found.features == (Feature("a", "int"),)
    assert found.arrays["x"].tolist() == [[1], [2], [3], [4]]


def test_the_label_of_a_frame_is_a_column_by_name():
    loaded = wrap(frame(40).assign(label=["x", "y"] * 20), validation=4)
    assert (loaded.spec.x, loaded.spec.classes) == ((4,), 2)
    towns = wrap(frame(40), label="town")
    assert (towns.spec.x, towns.spec.classes) == ((3,), 3)
    assert wrap(frame(40).assign(label=1.5), label="").spec.x == (5,)
    with pytest.raises(DataError, match=r"train: expected a column of labels 'city', found the columns \['age'"):
        wrap(frame(40), label="city")


def test_a_frame_is_loaded_and_cut_like_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVAE_CACHE", str(tmp_path))
    table = frame(40)
    table.to_csv(tmp_path / "t.csv", index=False)
    ours, file = data.load(table, label="town", seed=3), data.load(tmp_path / "t.csv", label="town", seed=3)
    assert file.call == {"name": str(tmp_path / "t.csv"), "label": "town", "seed": 3}
    assert ours.call == {}
    for part in ("train", "validation", "test"):
        for name in ("x", "y"):
            assert torch.equal(getattr(ours, part).tensors[name], getattr(file, part).tensors[name])


def test_an_index_that_pandas_wrote_is_noted_by_load(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYVAE_CACHE", str(tmp_path / "cache"))
    frame(40).to_csv(tmp_path / "t.csv")
    for _ in range(2):  # from the cache too
        with pytest.warns(UserWarning, match=r"t\.csv: the column '' without a name of its own is taken for an index"):
            assert data.load(tmp_path / "t.csv").spec.x == (4,)
    with pytest.warns(UserWarning, match="the column 'Unnamed: 0'"):
        assert wrap(pd.read_csv(tmp_path / "t.csv")).spec.x == (4,)


def test_parts_given_apart_share_their_categories_and_classes():
    train, held = frame(8), frame(4).assign(town=["Jena", "Kiel", "Jena", "Ulm"])
    loaded = wrap(train, validation=held)
    assert loaded.train.tensors["x"][:4, 3].tolist() == [3, 0, 3, 1]  # Bonn, Jena, Kiel, Ulm
    assert loaded.validation.tensors["x"][:, 3].tolist() == [1, 2, 1, 3]
    labelled = wrap(train, validation=held, label="town")
    assert labelled.spec.classes == 4
    assert labelled.validation.tensors["y"].tolist() == [1, 2, 1, 3]
    with pytest.raises(DataError, match=r"validation: expected the columns .*'town'.* as in train"):
        wrap(train, validation=held.drop(columns="town"))


BAD = {
    "missing": (frame().assign(age=[1, None, 3, None], town=None), "2 missing in column 'age', 4 missing in column"),
    "missing nullable": (pd.DataFrame({"a": pd.Series([1, None], dtype="Int64")}), "1 missing in column 'a'"),
    "missing text": (pd.DataFrame({"a": ["u", None]}), "1 missing in column 'a'"),
    "infinite": (pd.DataFrame({"a": [1.0, np.inf]}), "inf in row 2, column 'a'"),
    "dates": (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), "column 'a': expected a column of numbers or text"),
    "objects": (pd.DataFrame({"a": [[1], [2]]}), "column 'a': expected a column of numbers or text, found objects"),
    "mixed": (pd.DataFrame({"a": [1, "red"]}), "column 'a': expected numbers throughout, or text throughout"),
    "same names": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "a name of its own for every column"),
    "no rows": (frame().iloc[:0], "at least one example"),
    "missing label": ((COUNTS[:2], pd.Series(["a", None])), "train['y']: expected a value in every cell, found 1"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "words"), BAD.values(), ids=BAD)
def test_what_a_frame_holds_that_cannot_be_used_is_named(given, words):
    with pytest.raises(DataError) as error:
        tensors_of(given, "train")
    assert "train" in str(error.value)
    assert words in str(error.value)


def test_frames_and_series_stand_for_x_and_y():
    found = tensors_of((frame(), pd.Series(["u", "v", "u", "u"])), "train")
    assert found["x"].shape == (4, 4)
    assert found["y"].tolist() == [0, 1, 0, 0]
    assert tensors_of({"x": frame(), "y": frame()[["age", "height"]]}, "train")["y"].shape == (4, 2)
    assert tensors_of({"x": frame(), "y": frame()[["town"]]}, "train")["y"].tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix])
def test_a_sparse_matrix_is_the_dense_one(kind):
    found = tensors_of((kind(COUNTS), KINDS), "train")
    np.testing.assert_array_equal(found["x"].numpy(), COUNTS)
    assert tensors_of(kind(COUNTS), "train")["x"].dtype == torch.float32
    assert table_of(kind(COUNTS), "train").features[0].dtype == "int"


def test_numbers_that_are_text_in_a_frame_are_noted():
    frame = pd.DataFrame({"a": np.resize(np.arange(30) / 10, 200).astype(str), "b": np.cos(np.arange(200.0) ** 2)})
    with pytest.warns(UserWarning, match=r"column 'a' is text, read as 30 categories that are numbers; pandas.to_num"):
        wrap(frame)


def test_a_sparse_matrix_that_takes_much_memory_is_noted(monkeypatch):
    monkeypatch.setattr("polyvae.data.readers.frames.NOTED", 100)
    with pytest.warns(UserWarning, match=r"train\['x'\]: the sparse matrix \(.*% not zero\) is held dense, in 0 MiB"):
        wrap(sparse.csr_matrix(COUNTS))


@pytest.mark.parametrize("matrix", [COUNTS, sparse.csr_matrix(COUNTS)], ids=["dense", "sparse"])
def test_annotated_data_give_their_matrix_and_a_column_of_obs(matrix):
    found = table_of(annotated(matrix), "train", label="cell")
    assert [feature.name for feature in found.features] == ["g0", "g1", "g2", "g3", "g4", "g5"]
    assert {feature.dtype for feature in found.features} == {"int"}
    np.testing.assert_array_equal(found.arrays["x"], COUNTS)
    assert found.labels == ("b", "nk", "t")
    assert [found.labels[label] for label in found.arrays["y"]] == KINDS.tolist()
    assert wrap(annotated(matrix)).spec.classes is None
    with pytest.raises(DataError, match=r"labels 'kind' in obs, found the columns \['cell', 'batch'\]"):
        wrap(annotated(matrix), label="kind")


def test_fit_and_load_cut_the_same_frame_into_the_same_parts() -> None:
    whole = pd.DataFrame({"a": np.random.default_rng(0).normal(size=97), "n": np.arange(97) % 7})
    for given in ({}, {"validation": 0.25}, {"validation": 20, "seed": 3}):
        loaded, wrapped = data.load(whole, **given), data.wrap(whole, **given)
        assert loaded.cut == wrapped.cut == "cut at random"
        for part in ("train", "validation", "test"):
            mine, other = (getattr(each, part).tensors["x"] for each in (loaded, wrapped))
            assert torch.equal(mine, other), part
        assert loaded.spec == wrapped.spec
