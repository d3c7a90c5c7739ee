"""What a run is given and gives back is in the user's units: bytes, categories, labels, totals, values not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import polyvae as pv
from polyvae.data import DataNote, Split, load, wrap

COLUMNS = (
    pv.Column("real", "size"),
    pv.Column("category", "town", ("Bonn", "Jena", "Ulm")),
    pv.Column("category", "grade", ("2", "5")),
)


def untrained(recipe: str = "vae", columns: tuple[pv.Column, ...] = COLUMNS, **options: object) -> pv.Run:
    spec = pv.Spec((len(columns),), levels=None, columns=columns)
    given = {"network": "mlp", "widths": [8], "latent": 2, **options}
    return pv.Run(getattr(pv.recipes, recipe)(spec, seed=0, **given))


def test_bytes_of_a_table_are_completed_as_the_numbers_that_they_are() -> None:
    run = untrained("arbitrary_conditioning", tuple(pv.Column("counts", centre=3.0) for _ in range(4)))
    x = np.random.default_rng(0).integers(0, 256, size=(6, 4))
    mask = np.array([[1, 1, 1, 0]])
    expected = run.complete(x.astype(np.float32), mask, draws=5).mean
    for given in (x.astype(np.uint8), x):
        np.testing.assert_array_equal(run.complete(given, mask, draws=5).mean, expected)
    found = pv.complete(run, torch.from_numpy(x.astype(np.uint8)), mask, draws=5).mean
    np.testing.assert_array_equal(found, expected)


def test_columns_and_categories_of_other_data_go_by_name() -> None:
    run = untrained()
    town = np.array(["Ulm", "Jena"] * 10)
    frame = pd.DataFrame({"grade": [5, 2] * 10, "more": [0.5, 1.5] * 10, "town": town, "size": np.arange(20) / 8})
    data = wrap(frame.drop(columns="more"), validation=19, test=0, kind={"grade": "category"})
    assert data.spec.columns[1].labels == ("Jena", "Ulm")
    numbers = wrap(frame.drop(columns="more"), validation=19, test=0, kind={"grade": "counts"})
    index = [int(size * 8) for size in data.validation.tensors["x"][:, 2]]
    expected = run.score(frame.iloc[index])
    for other in (data, numbers):
        np.testing.assert_array_equal(run.score(other), expected)
    assert pv.evaluate(run, data, samples=3) == pv.evaluate(run, frame.iloc[index], samples=3)
    wrong = wrap(frame.drop(columns="more").replace("Ulm", "Rom"), validation=19, test=0)
    with pytest.raises(ValueError, match=r"column 'town' holds Bonn, Jena, Ulm in the data of this run; got \['Rom'\]"):
        run.score(wrong)
    with pytest.raises(ValueError, match="the data lack the column 'size'; add it as NaN"):
        run.score(wrap(frame[["grade", "town", "more"]]))


def test_labels_of_other_data_go_by_name() -> None:
    spec = pv.Spec((2,), classes=3, levels=None, labels=("a", "b", "c"))
    run = pv.Run(pv.recipes.cvae(spec, seed=0, network="mlp", widths=[8], latent=2))
    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    y = np.array(["b", "c"] * 10)
    data = wrap((x, y), validation=19, test=0)
    index = [int((x[:, 0] == float(value)).argmax()) for value in data.validation.tensors["x"][:, 0]]
    np.testing.assert_array_equal(run.score(data), run.score(x[index], y[index]))
    with pytest.raises(ValueError, match="labels of the data of this run are a, b, c; got d"):
        run.score(wrap((x, np.array(["b", "d"] * 10)), validation=19, test=0))


def test_categories_are_completed_from_what_the_data_call_them() -> None:
    run = untrained("arbitrary_conditioning")
    frame = pd.DataFrame(
        {
            "grade": [5, np.nan, 2, 2],
            "more": [0, 0, 0, 0],
            "town": ["Ulm", None, "Jena", "Rom"],
            "size": [np.nan, 1, 2, 0.5],
        },
        index=list("abcd"),
    )
    codes = np.array([[np.nan, 2, 1], [1, np.nan, np.nan], [2, 1, 0], [0.5, np.nan, 0]], dtype=np.float32)
    expected = pv.complete(run, torch.from_numpy(codes), draws=9).mean.numpy()
    mask = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 1, 1], [1, 0, 0, 1]])  # of the frame's own columns
    found = run.complete(frame, mask, draws=9).mean
    assert list(found.columns) == ["size", "town", "grade"]
    assert list(found.index) == list("abcd")
    assert set(found["town"]) <= {"Bonn", "Jena", "Ulm"}
    hidden = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 1]])  # of the data's
    by_code = pv.complete(run, torch.from_numpy(codes), hidden, draws=9).mean.numpy()
    np.testing.assert_array_equal(found["size"], by_code[:, 0])
    np.testing.assert_array_equal(run.complete(frame, hidden, draws=9).mean["size"], by_code[:, 0])
    shown = run.complete(frame.replace("Rom", None), draws=9)
    np.testing.assert_array_equal(shown.mean["size"], expected[:, 0])
    raw = codes.copy()
    raw[:, 2] = [5, np.nan, 2, 2]
    expected[:, 2] = np.where(expected[:, 2] == 1, 5, 2)  # numbers come back for numbers, codes for text
    np.testing.assert_array_equal(run.complete(raw, draws=9).mean, expected)
    np.testing.assert_array_equal(run.complete(torch.from_numpy(raw), draws=9).mean, expected)
    with pytest.raises(ValueError, match=r"column 'town' holds Bonn, Jena, Ulm in the data of this run; got \['Rom'\]"):
        run.complete(frame)
    with pytest.raises(ValueError, match=r"column 'grade' holds 2, 5 in the data of this run; got \['0'\]"):
        run.complete(np.zeros((2, 3)))


def test_a_category_is_completed_by_its_most_probable_label_and_has_no_spread() -> None:
    run = untrained(columns=COLUMNS[:2])
    layers = [module for module in run.model.heads["x"].modules() if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():  # Bonn where z_0 is large, Ulm where it is small and a little beyond, never Jena
        for layer in layers:
            layer.weight.zero_()
            layer.bias.zero_()
        layers[0].weight[:2, 0] = torch.tensor([9.0, -9.0])
        layers[0].bias[1] = 3
        layers[1].weight[1, 0] = layers[1].weight[3, 1] = 1
        layers[1].bias[2] = -9
    x = np.full((30, 2), np.nan, dtype=np.float32)
    found = run.complete(x, weigh="seen", draws=200)
    assert np.unique(found.mean[:, 1]).tolist() == [2]
    assert np.isnan(found.std[:, 1]).all()
    assert np.isnan(found.quantiles[:, :, 1]).all()
    for values in (found.mean[:, 0], found.std[:, 0], found.quantiles[:, :, 0], found.samples):
        assert np.isfinite(values).all()
    frame = run.complete(pd.DataFrame(x, columns=["size", "town"]), weigh="seen", draws=200)
    assert set(frame.mean["town"]) == {"Ulm"}
    assert frame.std["town"].isna().all()


def test_a_run_on_a_frame_gives_frames_of_labels_and_whole_counts(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": stream.normal(size=60),
            "visits": stream.poisson(3, 60),
            "town": stream.choice(["Ulm", "Bonn"], 60),
            "grade": stream.choice([3, 7, 9], 60),
        }
    )
    data = wrap(frame, kind={"grade": "category"})
    made = pv.recipes.vae(data.spec, network="mlp", widths=[8], latent=2, seed=0)
    run = pv.fit(made, data, tmp_path / "run", epochs=1, device="cpu", progress=False)
    found = pv.Run.load(tmp_path / "run", made).sample(50, seed=1)
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == list(frame.columns)
    assert [found[name].dtype.kind for name in ("size", "visits", "grade")] == ["f", "i", "i"]
    assert found["visits"].min() >= 0
    assert (set(found["town"]), set(found["grade"])) == ({"Ulm", "Bonn"}, {3, 7, 9})
    expected = run.sample(50, seed=1, expected=True)
    assert expected["visits"].dtype.kind == "f"  # a mean of counts is no count
    assert list(run.sample(2).index) == [0, 1]
    for mean in (run.reconstruct(frame), run.complete(frame.assign(grade=np.nan), weigh="seen", draws=5).mean):
        assert list(mean.index) == list(frame.index)
        assert set(mean["town"]) <= {"Ulm", "Bonn"}
        assert set(mean["grade"]) <= {3, 7, 9}
    assert isinstance(run.reconstruct(frame[["size", "visits", "town", "grade"]].iloc[:2]), pd.DataFrame)


def test_categories_that_an_array_has_as_numbers_come_back_as_these() -> None:
    run = untrained(columns=(pv.Column("category", None, ("3", "7", "9")), pv.Column("category", None, ("0.5", "2"))))
    x = np.array([[3, 0.5], [9, 2.0], [7, 0.5]], dtype=np.float32)
    hidden = np.array([[1, 0]])
    values = [run.sample(40), run.sample(4, expected=True), run.reconstruct(x), run.decode(np.ones((3, 2), np.float32))]
    values += [run.reconstruct(torch.from_numpy(x)).numpy()]
    completed = run.complete(x, hidden, weigh="seen", draws=6)
    for found in (*values, completed.mean, completed.samples.reshape(-1, 2)):
        assert set(found[:, 0].tolist()) <= {3, 7, 9}
        assert set(found[:, 1].tolist()) <= {0.5, 2}
    assert set(run.sample(40)[:, 0].tolist()) == {3, 7, 9}
    codes = Split({"x": torch.tensor([[0.0, 1.0], [2.0, 0.0]])})
    assert set(run.reconstruct(codes)[:, 0].tolist()) <= {0, 1, 2}


def counts(**options: object) -> tuple[pv.Run, np.ndarray]:
    run = untrained("count_vae", tuple(pv.Column("counts", centre=1.0) for _ in range(4)), **options)
    return run, np.random.default_rng(0).poisson(3, size=(6, 4)).astype(np.float32)


def test_a_total_that_is_given_is_scored_with() -> None:
    run, x = counts(likelihood="poisson")
    totals = x.sum(1)
    own = run.score(x)
    np.testing.assert_array_equal(run.score(x, given={"library": totals}), own)
    np.testing.assert_array_equal(run.score(x, given={"library": totals[:, None].astype(np.int64)}), own)
    assert (run.score(x, given={"library": 100 * totals}) < own - 100).all()


def test_what_is_not_seen_has_no_part_in_an_observed_total() -> None:
    run, x = counts(likelihood="poisson")
    mask, totals = np.array([[1, 1, 0, 0]]), x.sum(1)
    for given in (x, np.where(mask == 1, x, np.nan)):
        with pytest.raises(ValueError, match=r"'library', the total of all values .* 12 of them are not seen: give it"):
            run.complete(given, mask, weigh="seen")
    few, more = (
        run.complete(np.where(mask == 1, x, hidden), mask, given={"library": totals}, weigh="seen", draws=9).mean
        for hidden in (np.nan, 1e4)
    )
    np.testing.assert_array_equal(few, more)
    np.testing.assert_allclose(few.sum(1), totals, rtol=1e-4)  # the means are shares of the total
    double = run.complete(x, mask, given={"library": 2 * totals}, draws=9, weigh="seen").mean
    np.testing.assert_allclose(double.sum(1), 2 * totals, rtol=1e-4)
    np.testing.assert_allclose(run.complete(x, draws=9, weigh="seen").mean.sum(1), totals, rtol=1e-4)


def test_labels_are_given_to_a_completion_as_the_data_call_them() -> None:
    spec = pv.Spec((2,), classes=3, levels=None, labels=("a", "b", "c"))
    run = pv.Run(pv.recipes.cvae(spec, seed=0, network="mlp", widths=[8], latent=2))
    x = np.array([[1, np.nan], [1, np.nan]], dtype=np.float32)
    found = run.complete(x, y=["c", "a"], weigh="seen", draws=9).mean
    by_code = pv.complete(run, x, given={"y": torch.tensor([2, 0])}, weigh="seen", draws=9).mean
    np.testing.assert_array_equal(found, by_code)
    assert found[0, 1] != found[1, 1]


@pytest.mark.parametrize("hidden", [99.0, -1.0, np.inf, np.nan])
def test_a_category_that_is_not_seen_may_hold_anything(hidden: float) -> None:
    run = untrained()
    x, mask = np.array([[0.5, 0, 2], [1.5, 1, 5]], dtype=np.float32), np.array([[1, 0, 1]])
    expected = run.complete(x, mask, weigh="seen", draws=9).mean
    x[:, 1] = hidden
    np.testing.assert_array_equal(run.complete(x, mask, weigh="seen", draws=9).mean, expected)
    codes = torch.from_numpy(np.where(x == 2, 0, np.where(x == 5, 1, x)))
    codes[:, 1] = hidden
    found = pv.complete(run, codes, mask, weigh="seen", draws=9).mean.numpy()
    found[:, 2] = np.where(found[:, 2] == 1, 5, 2)
    np.testing.assert_array_equal(found, expected)


OUTSIDE = {
    "positive": (pv.Column("positive"), 1.5, (0.0, -1.0)),
    "counts": (pv.Column("counts", centre=1.0), 2.0, (-1.0, 0.5)),
    "bits": (pv.Column("bits"), 1.0, (2.0, -1.0)),
    "category": (pv.Column("category", labels=("a", "b")), 1.0, (99.0, -1.0)),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_outside_the_support_the_score_is_minus_infinity(kind: str) -> None:
    column, inside, outside = OUTSIDE[kind]
    for columns in ((column,), (pv.Column("real"), column)):
        run = untrained(columns=columns)
        x = np.full((3, len(columns)), inside, dtype=np.float32)
        expected = run.score(x), run.score(x, samples=5)
        x[:2, -1] = outside
        for found, usual in zip((run.score(x), run.score(x, samples=5)), expected, strict=True):
            assert found[:2].tolist() == [-np.inf, -np.inf]
            assert found[2] == usual[2]


def test_a_run_on_the_complete_rows_of_a_frame_fills_the_gaps_of_others() -> None:
    stream = np.random.default_rng(0)
    z = stream.normal(size=80)
    frame = pd.DataFrame({"a": z, "n": stream.poisson(np.exp(z)) * 1.0, "town": np.where(z > 0, "Ulm", "Bonn")})
    frame.loc[::5, "a"] = np.nan
    frame.loc[1::5, "n"] = np.nan
    frame.loc[2::5, "town"] = None
    with pytest.raises(ValueError, match=r"16 missing in column 'a', 16 .* 16 .*skip_bad=True.*arbitrary_conditioning"):
        pv.fit("arbitrary_conditioning", frame)
    with pytest.warns(DataNote, match="48 of 80 rows lack a value"):
        data = load(frame, skip_bad=True)
    made = pv.recipes.arbitrary_conditioning(data.spec, network="mlp", widths=[8], latent=2, seed=0)
    run = pv.fit(made, data, epochs=1, device="cpu", progress=False)
    found = run.complete(frame, draws=5).mean
    assert not found.isna().any(axis=None)
    assert set(found["town"]) <= {"Ulm", "Bonn"}
