"""Whole numbers of few values are labels, and counts stay counts: found together for all parts, asked for otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import polyvae as pv
from polyvae.data import load, wrap
from polyvae.data.columns import categories
from polyvae.data.columns.table import Feature, Table

STREAM = np.random.default_rng(2)
FRAME = pd.DataFrame(
    {
        "sex": STREAM.integers(1, 3, 200),
        "answer": STREAM.choice([1, 2, 3, 4, 5, 6], 200, p=[0.3, 0.05, 0.15, 0.05, 0.15, 0.3]),
        "seen": STREAM.integers(0, 2, 200),
        "visits": STREAM.poisson(1.5, 200),
        "age": STREAM.integers(20, 80, 200),
        "code": STREAM.choice([-1, 7, 40], 200),
        "year": np.full(200, 2000),
        "size": STREAM.choice([0.5, 1.5], 200),
    }
)
KINDS = {
    "sex": "category",
    "answer": "category",
    "seen": "bits",
    "visits": "counts",
    "age": "counts",
    "code": "category",
    "year": "category",
    "size": "positive",
}


def kinds(x: Any, **options: Any) -> dict[str | None, str]:
    return {column.name: column.kind for column in wrap(x, **options).spec.columns}


def test_whole_numbers_of_few_values_are_labels(tmp_path: Path) -> None:
    found = wrap(FRAME).spec
    assert kinds(FRAME) == KINDS
    assert {column.name: column.labels for column in found.columns}["code"] == ("-1", "7", "40")
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    assert load(tmp_path / "a.csv").spec == found
    assert kinds(FRAME.astype({"sex": float})) == KINDS
    assert kinds(FRAME, kind="sex=counts,year=real")["sex"] == "counts"
    assert set(kinds(FRAME[["visits", "sex"]], kind="counts").values()) == {"counts"}
    assert kinds(FRAME[:40])["answer"] == "counts"  # too few rows to tell
    assert kinds(FRAME.to_numpy()) == {None: "real"}  # columns of an array are of one kind


@given(st.floats(0.1, 8), st.integers(50, 2000), st.integers(0, 2**32 - 1))
def test_counts_by_chance_of_few_values_stay_counts(rate: float, rows: int, seed: int) -> None:
    x = np.random.default_rng(seed).poisson(rate, (rows, 12))
    table = Table({"x": x.astype(np.float32)}, tuple(Feature(f"g{n}", "int") for n in range(12)))
    even = [bool(column.var() < 0.5 * column.mean()) for column in x.T]
    assert not [name for name in categories.labelled([table]) if not even[int(name[1:])]]


def test_frequencies_are_compared_with_the_law_of_counts_of_their_moments() -> None:
    column = FRAME["answer"].to_numpy()
    values, counts = np.unique(column, return_counts=True)
    mean, variance = column.mean(), column.var()
    law = stats.nbinom(mean**2 / (variance - mean), mean / variance)
    expected = (counts * (np.log(counts / 200) - law.logpmf(values))).sum() / 200 - (6 - 3) * np.log(200) / 400 - 0.05
    assert categories._gain(column) == pytest.approx(expected, abs=1e-6)
    poisson = np.repeat([0, 1, 2, 3], [60, 80, 40, 20])  # variance 0.86 of the mean 1.1
    shares = np.array([60, 80, 40, 20]) / 200
    expected = (shares * (np.log(shares) - stats.poisson(1.1).logpmf(np.arange(4)))).sum() - np.log(200) / 400 - 0.05
    assert categories._gain(poisson) == pytest.approx(expected, abs=1e-6)


def test_a_table_of_counts_keeps_one_that_is_odd() -> None:
    x = pd.DataFrame(STREAM.poisson(1.5, (400, 20)), columns=[f"g{n}" for n in range(20)])
    x["g3"] = STREAM.choice([0, 5], 400)
    assert set(kinds(x).values()) == {"counts"}
    assert kinds(x.assign(weight=STREAM.normal(size=400)))["g3"] == "category"  # no table of counts


def test_the_parts_of_a_data_set_are_judged_together(tmp_path: Path) -> None:
    few, more = FRAME[["sex", "size"]], FRAME[["sex", "size"]].assign(sex=np.arange(200) % 30)
    assert kinds(few, validation=few.assign(sex=3))["sex"] == "category"
    assert wrap(few, validation=few.assign(sex=3)).spec.columns[0].labels == ("1", "2", "3")
    assert kinds(few, validation=more)["sex"] == "real"


def test_labels_that_are_numbers_are_trained_drawn_and_read_again() -> None:
    data = wrap(FRAME)
    run = pv.fit(pv.recipes.vae(data.spec, latent=2, network="mlp", widths=[8]), data, epochs=2, progress=False)
    drawn = run.sample(5)
    assert drawn["sex"].isin([1, 2]).all()
    assert (drawn["year"] == 2000).all()
    assert list(drawn.columns) == list(FRAME.columns)
    assert np.isfinite(run.score(FRAME)).all()
    with pytest.raises(ValueError, match=r"'code'.*41"):
        run.score(FRAME.assign(code=41))


@pytest.mark.parametrize("values", [[1e16, 1e17, 1e18], [1e15, 1e16, 1e17], [6.02e23, 1e20, 3e10], [2**60, 2**61]])
def test_few_numbers_however_large_are_read(values: list[float]) -> None:
    frame = pd.DataFrame({"doping": STREAM.choice(values, 200), "x": STREAM.normal(size=200)})
    assert kinds(frame, kind="doping=positive")["doping"] == "positive"
    assert kinds(frame)["doping"] in ("category", "counts")
