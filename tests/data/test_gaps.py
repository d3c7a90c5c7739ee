"""Values that are missing: kept with a mask of what is seen, told, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import polyvae as pv
from polyvae.data import load, wrap
from polyvae.data.errors import DataError, DataNote

pytestmark = pytest.mark.filterwarnings("ignore::polyvae.data.errors.DataNote")


def frame(count: int = 120, share: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "real": rng.normal(5, 2, count),
            "count": rng.poisson(30, count).astype(float),
            "bit": rng.integers(0, 2, count).astype(float),
            "kind": rng.choice(["a", "b", "c"], count).astype(object),
            "positive": np.exp(rng.normal(0, 1, count)),
        }
    )
    for name in made:
        made.loc[rng.random(count) < share, name] = np.nan
    return made


def test_a_table_keeps_its_kinds_and_moments_beside_a_mask() -> None:
    held = frame()
    data = wrap(held, gaps=True)
    assert [column.kind for column in data.spec.columns] == ["real", "counts", "bits", "category", "positive"]
    assert data.spec.columns[3].labels == ("a", "b", "c")
    assert data.train.tensors["seen"].dtype is torch.bool
    shares = [1 - float(part.tensors["seen"].float().mean()) for part in data.parts.values()]
    sizes = [len(part) for part in data.parts.values()]
    assert np.average(shares, weights=sizes) == pytest.approx(held.isna().to_numpy().mean())
    assert data.missing == pytest.approx(held.isna().to_numpy().mean())
    assert f"; {data.missing:.1%} of x missing" in repr(data)
    x, seen = data.train.tensors["x"], data.train.tensors["seen"]
    observed = x[:, 0][seen[:, 0]].double()
    assert data.spec.columns[0].centre == pytest.approx(float(observed.mean()), rel=1e-5)
    assert data.spec.columns[0].scale == pytest.approx(float(observed.std(correction=0)), rel=1e-5)


def test_what_is_missing_is_told() -> None:
    with pytest.warns(DataNote, match=r"of 600 cells \(.*%\) lack a value and are kept as gaps: \d+ in column 'real'"):
        wrap(frame(), gaps=True)
    held = frame()
    held.iloc[:3] = np.nan
    with pytest.warns(DataNote, match="4 rows have no value at all"):
        wrap(held, gaps=True)


@pytest.mark.parametrize("kind", ["csv", "npy", "npz", "pair", "frame pair", "integers"])
def test_gaps_are_read_from_every_source(tmp_path: Any, kind: str) -> None:
    held = frame().drop(columns="kind")
    x = held.to_numpy()
    if kind == "csv":
        held.to_csv(tmp_path / "x.csv", index=False)
        data = load(tmp_path / "x.csv", gaps=True)
        assert data.call["gaps"] is True
    elif kind == "npy":
        np.save(tmp_path / "x.npy", x)
        data = load(tmp_path / "x.npy", gaps=True)
    elif kind == "npz":
        np.savez(tmp_path / "x.npz", x=np.nan_to_num(x), seen=~np.isnan(x))
        data = load(tmp_path / "x.npz")
    elif kind == "integers":
        data = wrap(held.convert_dtypes(), gaps=True)
        assert [column.kind for column in data.spec.columns] == ["real", "counts", "bits", "positive"]
    else:
        data = wrap((held if kind == "frame pair" else x, np.arange(120) % 3), gaps=True)
        assert data.spec.classes == 3
    assert data.missing == pytest.approx(np.isnan(x).mean())


def test_pictures_with_a_mask_stay_bytes_and_one_channel_says_what_is_seen() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 3, 8, 8)).astype(np.uint8)
    seen = rng.random((40, 1, 8, 8)) < 0.5
    data = wrap({"x": x, "seen": seen})
    assert data.train.tensors["x"].dtype is torch.uint8
    assert data.train.tensors["seen"].shape == (32, 1, 8, 8)
    floats = np.where(seen, x / 255, np.nan)
    again = wrap(floats, gaps=True)
    assert again.train.tensors["seen"].equal(data.train.tensors["seen"])
    assert again.spec.levels == data.spec.levels == 256
    made = pv.recipes.incomplete(data.spec, latent=2, network="mlp", widths=(8,), samples=2, seed=0)
    batches = [made.observe(part.train.batch(torch.arange(5))) for part in (data, again)]
    assert torch.allclose(batches[0]["x"], batches[1]["x"])
    assert batches[0]["seen"].shape == (5, 3, 8, 8)


def test_without_gaps_nothing_changes() -> None:
    whole = frame(share=0.0)
    one, two = wrap(whole), wrap(whole, gaps=True)
    assert one.spec == two.spec
    assert list(two.train.tensors) == ["x"]
    assert "gaps" not in load(whole, gaps=True).call
    with pytest.raises(DataError, match=r"missing in column 'real'.*The recipe incomplete trains on gaps"):
        wrap(frame())


def test_what_cannot_be_kept_is_refused() -> None:
    held = frame()
    with pytest.raises(DataError, match="at least one value in every column, found none in column 'real'"):
        wrap(held.assign(real=np.nan), gaps=True)
    with pytest.raises(DataError, match="at least one value in every column, found none in column 1"):
        wrap(np.where(np.arange(3) == 1, np.nan, np.ones((20, 3))), gaps=True)
    labelled = held.assign(label=np.where(np.arange(120) % 7 == 0, None, "u"))
    with pytest.raises(DataError, match=r"found 18 missing in column 'label'"):
        wrap(frame(share=0.0).assign(label=labelled["label"]))
    assert int((~wrap(labelled, gaps=True, validation=0.0, test=0.0).train.tensors["y_known"]).sum()) == 18
    assert wrap(labelled, gaps=True, label="").spec.x == (6,)
    with pytest.raises(DataError, match=r"a label in every row|missing labels"):
        wrap((np.ones((20, 2)), np.where(np.arange(20) == 3, np.nan, 1.0)))
    x = np.ones((20, 2))
    with pytest.raises(DataError, match=r"a mask of the shape \[20, 2\] of x, found shape \[20, 3\]"):
        wrap({"x": x, "seen": np.ones((20, 3))})
    with pytest.raises(DataError, match="True or 1 where a value of x is there"):
        wrap({"x": x, "seen": x / 2})
    with pytest.raises(DataError, match="infinity"):
        wrap(np.where(np.arange(20)[:, None] == 3, np.inf, x), gaps=True)
    with pytest.raises(ValueError, match="gaps and skip_bad exclude each other"):
        load(held, gaps=True, skip_bad=True)


def test_a_recipe_that_reads_all_of_x_refuses_gaps() -> None:
    held = frame()
    with pytest.raises(ValueError, match=r"missing in column 'real'.* incomplete trains on gaps"):
        pv.fit("vae", held, epochs=1, progress=False)
    run = pv.fit("vae", frame(share=0.0), epochs=1, progress=False, device="cpu")
    with pytest.raises(DataError, match="missing in column 'real'"):
        run.score(held)
    with pytest.raises(ValueError, match="and this model reads all of x"):
        pv.evaluation.evaluate(run, wrap(held, gaps=True), samples=2)


def test_a_run_on_gaps_scores_evaluates_and_resumes(tmp_path: Any) -> None:
    held = frame()
    held.iloc[0] = np.nan
    run = pv.fit("incomplete", held, tmp_path / "run", epochs=2, progress=False, device="cpu")
    again = pv.Run.load(tmp_path / "run")
    assert np.array_equal(run.score(held, samples=5), again.score(held, samples=5))
    assert run.reconstruct(held).shape == run.sample(120).shape == (120, 5)
    report = pv.evaluation.evaluate(run, wrap(held, gaps=True), samples=5)
    assert report["importance_bound"] >= report["bound"]
    assert 0 < report["dimensions"] < 5
    assert report["unexplained"] > 0
    assert [row["name"] for row in report["columns"]] == list(held)


def masked() -> np.ma.MaskedArray:
    """An array with -999 where it is masked."""
    stream = np.random.default_rng(0)
    x = stream.normal(size=(60, 3)).astype(np.float32)
    hide = stream.random(x.shape) < 0.3
    return np.ma.array(np.where(hide, np.float32(-999), x), mask=hide)


def test_what_is_masked_is_missing_and_what_lies_under_the_mask_is_read_by_nobody() -> None:
    x = masked()
    data = wrap(x, gaps=True)
    assert data.missing == pytest.approx(x.mask.mean())
    assert min(float(part.tensors["x"].min()) for part in data.parts.values()) > -10
    run = pv.fit("incomplete", x, epochs=1, progress=False, device="cpu")
    for given in (x[:4], {"x": x.data[:4], "seen": ~x.mask[:4]}):
        filled = run.impute(given, samples=5, draws=1)
        for found in (filled.expected, *filled.draws):
            assert not np.ma.isMaskedArray(found)
            assert found.min() > -10
            assert (found[~x.mask[:4]] == x.data[:4][~x.mask[:4]]).all()
    levels = np.ma.array(np.full((20, 8, 8), 200, np.uint8), mask=np.random.default_rng(1).random((20, 8, 8)) < 0.3)
    assert wrap(levels).train.tensors["x"].dtype is torch.uint8
    assert wrap(levels).missing == pytest.approx(levels.mask.mean())


def test_what_reads_all_of_x_refuses_a_masked_array() -> None:
    x = masked()
    with pytest.raises(DataError, match=r"missing in column '0'.*The recipe incomplete trains on gaps"):
        pv.fit("vae", x, epochs=1, progress=False)
    with pytest.raises(DataError, match="NaN or infinity"):
        wrap(x)
    levels = np.ma.array(np.full((20, 8, 8), 200, np.uint8), mask=np.tile(np.eye(8) > 0, (20, 1, 1)))
    with pytest.raises(ValueError, match=r"values of x are missing, and this model reads all of x"):
        pv.fit("vae", levels, epochs=1, progress=False)
    with pytest.raises(DataError, match="missing labels"):
        wrap((x.data, np.ma.array(np.arange(60) % 3, mask=np.arange(60) % 5 == 0)))


def test_a_mask_under_a_name_that_nothing_reads_is_refused() -> None:
    x = masked()
    run = pv.fit("incomplete", x, epochs=1, progress=False, device="cpu")
    for call in (lambda held: pv.fit("incomplete", held, epochs=1, progress=False), run.impute):
        with pytest.raises(ValueError, match="'mask' is read by nothing; a mask of what is there is called 'seen'"):
            call({"x": x.data, "mask": ~x.mask})
