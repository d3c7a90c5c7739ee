"""What float32 does not hold: columns far from zero are noted by name, categories of large numbers are exact."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import polyvae as pv
from polyvae.data import DataNote, load, wrap
from polyvae.data import memory_maps as mapped
from polyvae.data.columns.rounding import steps
from polyvae.data.exchange.codes import valued
from polyvae.data.exchange.given import taken
from polyvae.data.exchange.partial import pictured

STREAM = np.random.default_rng(3)
IDS = 20_000_000 + np.resize([3, 0, 2, 1], 200)
FRAME = pd.DataFrame(
    {
        "time": 1.7e9 + STREAM.uniform(0, 100, 200),
        "id": IDS,
        "pressure": STREAM.normal(101_325, 2, 200),
        "same": np.full(200, 1e9 + 0.1),
        "near": 0.1 + np.resize([0, 2e-17], 200),
    }
)


def notes(read):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = read()
    assert all(issubclass(each.category, DataNote) for each in said)
    return [str(each.message) for each in said if "single precision" in str(each.message)], made


def saved(tmp_path, ending):
    path, columns = tmp_path / f"a{ending}", ["time", "pressure"]
    match ending:
        case ".csv":
            FRAME[columns].to_csv(path, index=False)
        case ".parquet":
            FRAME[columns].to_parquet(path)
        case ".npy":
            np.save(path, FRAME[columns].to_numpy())
        case ".npz":
            np.savez(path, x=FRAME[columns].to_numpy())
    return path


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npy", ".npz"])
def test_a_file_with_a_column_that_loses_its_digits_is_noted_each_time(tmp_path, ending):
    path = saved(tmp_path, ending)
    name = "time" if ending in (".csv", ".parquet") else "0"
    for limit in (None, None, 150):
        (said,), _ = notes(lambda limit=limit: load(path, limit=limit))
        assert f"too coarse for '{name}' (steps of 128, standard deviation 2" in said
        assert "subtract a constant" in said
        assert "pressure" not in said
        assert str(path) in said


@pytest.mark.parametrize("power", [40, 50])
def test_whole_numbers_of_a_frame_that_are_large_are_noted(power):
    frame = pd.DataFrame({"id": 2**power + np.resize(np.arange(40), 200), "x": STREAM.normal(size=200)})
    (said,), _ = notes(lambda: wrap(frame))
    assert "too coarse for 'id'" in said


def test_whole_numbers_beyond_double_precision_beside_others_are_noted(tmp_path):
    ids = 2**62 + np.resize([0, 1, 4096], 200)
    frame = pd.DataFrame({"id": ids, "x": STREAM.normal(size=200)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    for source in (frame, tmp_path / "a.csv"):
        with pytest.warns(DataNote, match=r"'id' holds whole numbers beyond 2\^53, .* to 16 digits only"):
            load(source, kind="id=category")
    frame[["id"]].to_csv(tmp_path / "a.csv", index=False)
    for source in (frame[["id"]], tmp_path / "a.csv"):
        assert len(load(source, kind="category").spec.columns[0].labels) == 3


def test_only_columns_that_lose_their_digits_are_named():
    (said,), _ = notes(lambda: wrap(FRAME, kind={"id": "real"}))
    assert "'time' (steps of 128, " in said
    assert "'id' (steps of 2, " in said
    assert not any(f"'{name}'" in said for name in ("pressure", "same", "near"))
    assert notes(lambda: wrap(FRAME.drop(columns=["time", "id"])))[0] == []
    assert notes(lambda: wrap(FRAME[["time"]] - 1.7e9))[0] == []
    (said,), _ = notes(lambda: wrap(sparse.csr_matrix(FRAME[["time", "pressure"]].to_numpy())))
    assert "'0' (steps of 128, " in said
    (said,), _ = notes(lambda: wrap((FRAME[["pressure"]].to_numpy(), FRAME[["time"]].to_numpy())))
    assert "'y[0]'" in said


@pytest.mark.parametrize(
    ("x", "coarse"),
    [
        (FRAME.to_numpy(), [0, 1]),
        (FRAME.to_numpy().astype(">f8"), [0, 1]),
        (FRAME["time"].to_numpy(), [0]),
        (2**60 + STREAM.integers(0, 5, (50, 2)), [0, 1]),
        (STREAM.integers(0, 2**60, (50, 2)), []),
        (STREAM.normal(1, 1e-9, (9, 2, 4, 5)) * [[[1]], [[0]]], [0]),
        (STREAM.normal(1, 1e-9, (9, 4, 5)), [0]),
        (STREAM.normal(1, 1e-9, (9, 6, 5, 2)) * [0, 1], [1]),
        (FRAME.to_numpy().astype(np.float32), []),
        (STREAM.integers(0, 255, (9, 3), dtype=np.uint8), []),
        (np.array([[1.0], [np.nan], [np.inf], [1e60]]), []),
    ],
)
def test_columns_that_lose_their_digits_are_found_by_place(x, coarse, monkeypatch):
    assert list(steps(x)) == coarse
    monkeypatch.setattr(mapped, "LARGE", 100)
    assert list(steps(x)) == coarse


@pytest.mark.parametrize(
    "values", [(20_000_000, 20_000_001, 20_000_003), (2**24, 2**24 + 1, 2**24 + 2), (5, 2**53 - 1)]
)
@pytest.mark.parametrize("large", [False, True])
def test_categories_of_large_numbers_are_those_of_the_source(values, large, tmp_path, monkeypatch):
    if large:
        monkeypatch.setattr(mapped, "LARGE", 500)
    cells = np.resize(values, 120)
    frame = pd.DataFrame({"id": cells, "r": STREAM.normal(0, 1, 120)})
    array = frame.to_numpy()
    before = array.copy()
    frame.to_csv(tmp_path / "a.csv", index=False)
    np.save(tmp_path / "a.npy", array)
    reads = [
        lambda: wrap(frame, kind={"id": "category"}),
        lambda: load(tmp_path / "a.csv", kind="id=category"),
        lambda: wrap(array, kind={"0": "category", "1": "real"}),
        lambda: load(tmp_path / "a.npy", kind="0=category,1=real"),
        lambda: load(tmp_path / "a.npy", kind="0=category,1=real", limit=60),
    ]
    expected = np.unique(cells, return_inverse=True)[1].tolist()
    for read in reads:
        said, data = notes(read)
        assert said == []
        assert data.spec.columns[0].labels == tuple(map(str, values))
        assert data.train.tensors["x"][:, 0].unique().tolist() == [0, 1, 2][: len(values)]
        for again in (frame, array):
            assert taken(again, data.spec).tensors["x"][:, 0].tolist() == expected
    assert (array == before).all()


def test_a_run_takes_and_gives_large_numbers_as_they_are():
    columns = (pv.Column("category", labels=tuple(map(str, np.unique(IDS)))), pv.Column("real"))
    x = np.stack([IDS[:4], np.ones(4)], 1)
    codes = torch.tensor([[3.0, 1], [0, 1], [2, 1], [1, 1]])
    assert valued(codes, columns).tolist() == x.tolist()
    spec = pv.Spec((2,), levels=None, columns=columns)
    for given in (x, x.astype(np.int64), torch.from_numpy(x)):
        assert torch.equal(pictured(given, spec)[0].float(), codes)
        assert torch.equal(taken(given, spec).tensors["x"], codes)
    hidden = pictured(x, spec, np.array([[0, 1]]))[0]
    assert hidden.dtype is torch.float32
    assert bool(hidden[:, 0].isnan().all())
