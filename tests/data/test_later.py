"""Later data are read as the data of a run were: columns, categories and labels by name, in whatever they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils import Bunch
from torch.utils.data import DataLoader, TensorDataset

import polyvae as pv
from polyvae.cli.runs import opened
from polyvae.data import DataNote, load, wrap
from polyvae.data.exchange.codes import valued
from polyvae.data.exchange.given import taken
from polyvae.data.exchange.partial import pictured

STREAM = np.random.default_rng(0)
TOWNS = ("Bonn", "Jena", "Ulm")
FRAME = pd.DataFrame(
    {
        "size": STREAM.normal(size=60),
        "town": np.array(TOWNS)[STREAM.integers(0, 3, 60)],
        "visits": STREAM.poisson(4, 60) * 1.0,
    }
)
LABELS = np.array(["no", "yes"])[STREAM.integers(0, 2, 60)]
SPEC = wrap((FRAME, LABELS)).spec
LATER = FRAME[FRAME["town"] != "Bonn"]
YES = LABELS[LATER.index]
CODES = np.stack([LATER["size"], LATER["town"].map(list(TOWNS).index), LATER["visits"]], 1).astype(np.float32)
PERMUTED = LATER[["visits", "town", "size"]].assign(more="?")


def annotated(frame: pd.DataFrame) -> Any:
    obs = pd.DataFrame(index=frame.index)
    return SimpleNamespace(X=frame.to_numpy(np.float32), obs=obs, var_names=frame.columns, shape=frame.shape)


def untrained(spec: pv.Spec, recipe: str = "vae") -> pv.Run:
    return pv.Run(getattr(pv.recipes, recipe)(spec, seed=0, network="mlp", widths=[8], latent=2))


BY_NAME: dict[str, Callable[[pd.DataFrame], Any]] = {
    "frame": lambda x: x,
    "pair": lambda x: (x, YES),
    "one": lambda x: (x,),
    "mapping": lambda x: {"x": x, "y": YES},
    "bunch": lambda x: Bunch(data=x, target=YES),
}


@pytest.mark.parametrize("form", BY_NAME)
def test_columns_and_categories_of_frames_go_by_name_in_whatever_they_come(form: str) -> None:
    given = BY_NAME[form]
    for frame in (LATER, PERMUTED):
        split = taken(given(frame), SPEC)
        np.testing.assert_array_equal(split.tensors["x"], CODES)
        if form in ("pair", "mapping", "bunch"):
            assert split.tensors["y"].tolist() == (YES == "yes").tolist()
        np.testing.assert_array_equal(pictured(given(frame), SPEC)[0], CODES)
    for wrong, message in (
        (LATER.drop(columns="town"), "the data lack the column 'town'"),
        (LATER.replace("Ulm", "Rom"), r"column 'town' holds Bonn, Jena, Ulm in the data of this run; got \['Rom'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            taken(given(wrong), SPEC)


def test_every_answer_of_a_run_reads_a_pair_as_it_reads_a_frame() -> None:
    run = untrained(SPEC, "cvae")
    for ask in (run.score, run.encode, run.reconstruct):
        np.testing.assert_array_equal(ask((PERMUTED, YES)), ask(LATER, y=YES))
    assert pv.evaluate(run, (PERMUTED, YES), samples=3) == pv.evaluate(run, {"x": LATER, "y": YES}, samples=3)
    one, other = (run.complete(x, weigh="seen", draws=5, y=y).mean for x, y in (((PERMUTED, YES), None), (LATER, YES)))
    pd.testing.assert_frame_equal(one, other)


def test_genes_of_annotated_data_go_by_name() -> None:
    frame = pd.DataFrame(STREAM.poisson([1, 20, 300], (40, 3)), columns=["ga", "gb", "gc"])
    spec = wrap(annotated(frame)).spec
    other = frame[["gc", "ga", "gb"]]
    for given in (annotated(other), (annotated(other), LABELS[:40]), other, (other,)):
        np.testing.assert_array_equal(taken(given, spec).tensors["x"], frame)
        np.testing.assert_array_equal(pictured(given, spec)[0], frame)
    with pytest.raises(ValueError, match="the data lack the column 'gb'"):
        taken(annotated(frame[["ga", "gc"]]), spec)


def test_categories_of_columns_without_names_are_the_datas_too() -> None:
    plain = FRAME.set_axis(range(3), axis=1)
    spec = wrap(plain).spec
    later = plain.loc[LATER.index]
    gap = later.copy()
    gap.iloc[0, 1] = None
    for given in (later, (later, YES), later[[2, 0, 1]], later.assign(label=YES)):
        np.testing.assert_array_equal(taken(given, spec).tensors["x"], CODES)
        np.testing.assert_array_equal(pictured(given, spec)[0], CODES)
    found = pictured(gap, spec)[0].numpy()
    assert np.isnan(found[0, 1])
    np.testing.assert_array_equal(found[1:], CODES[1:])
    mask = np.array([[1, 0, 1]])  # in the order of the frame
    hidden = pictured(later[[2, 1, 0]].assign(label=YES), spec, np.array([[0, 1, 1, 1]]))[1]
    assert hidden is not None
    assert hidden.tolist() == [[1, 1, 0]]
    run = untrained(spec, "arbitrary_conditioning")
    assert set(run.complete(later, mask, draws=3).mean[1]) <= set(TOWNS)
    for wrong, message in (
        (later.replace("Ulm", "Rom"), r"column 1 holds Bonn, Jena, Ulm .* got \['Rom'\]"),
        (later.assign(**{"3": 1.0}), "4 columns and not 3"),
    ):
        for read in (taken, pictured):
            with pytest.raises(ValueError, match=message):
                read(wrong, spec)


def test_labels_beside_columns_without_names_are_the_datas() -> None:
    frame = pd.DataFrame({0: FRAME["size"], 1: FRAME["visits"], "label": LABELS})
    spec = wrap(frame).spec
    assert [column.name for column in spec.columns] == [None, None]
    assert set(taken(frame[frame["label"] == "yes"], spec).tensors["y"].tolist()) == {1}


def test_labels_of_a_data_set_or_a_loader_go_by_name() -> None:
    x, y = torch.randn(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    spec = wrap((x, y)).spec
    x, y = x[1:3], y[1:3]
    later = TensorDataset(x, y)
    for given in (later, DataLoader(later, batch_size=2), {"x": x, "y": y}, Bunch(data=x, target=y)):
        assert taken(given, spec).tensors["y"].tolist() == [1, 2]  # numbered afresh they would be 0 and 1


def test_a_frame_of_labels_and_labels_given_by_name_are_read_as_y_is() -> None:
    run = untrained(SPEC, "cvae")
    expected = run.score(LATER, y=YES)
    np.testing.assert_array_equal(run.score(LATER, y=pd.DataFrame({"answer": YES})), expected)
    np.testing.assert_array_equal(run.score(LATER, given={"y": YES}), expected)
    assert taken((LATER[YES == "yes"], pd.DataFrame({"answer": YES[YES == "yes"]})), SPEC).tensors["y"].min() == 1


def test_a_text_that_later_rows_hold_many_of_stays_a_category() -> None:
    names = [f"town {number:02}" for number in range(40)]
    frame = pd.DataFrame({"town": names * 5, "size": np.arange(200.0)})
    spec = load(frame, blocks=0).spec
    few = frame.iloc[:30]  # fewer than five rows to a text, which no category would be found by
    for given in (few, (few,)):
        assert taken(given, spec).tensors["x"][:, 0].tolist() == list(range(30))


def test_a_frame_is_completed_by_name_without_a_run_too() -> None:
    frame = FRAME.assign(grade=np.array([10, 20, 70])[STREAM.integers(0, 3, 60)])
    spec = wrap(frame, kind="grade=category").spec
    run = untrained(spec, "arbitrary_conditioning")
    mask = np.array([[0, 1, 1, 1]])  # of the columns of the frame
    permuted = frame[["visits", "grade", "town", "size"]].iloc[:8]
    expected = run.complete(permuted, mask, draws=5)
    for source in (run, run.recipe):
        found = pv.complete(source, permuted, mask, draws=5)
        np.testing.assert_array_equal(found.mean[:, [0, 2]], expected.mean[["size", "visits"]])
        np.testing.assert_array_equal(found.mean[:, 3], expected.mean["grade"].map([10, 20, 70].index))
        with pytest.raises(ValueError, match=r"column 'town' holds Bonn, Jena, Ulm .* got \['Rom'\]"):
            pv.complete(source, frame.assign(town="Rom"))
    with pytest.raises(ValueError, match=r"column 'grade' holds the codes 0 to 2 of 10, 20, 70 .* row 0 has 70"):
        pv.complete(run, np.array([[0.5, 1, 3, 70]]), draws=2)
    pv.complete(run, np.array([[0.5, 1, 3, 70]]), np.array([[1, 1, 1, 0]]), draws=2)


TRUE, TEXTS = [False, True], ["01", "02"]
NAMED: dict[str, tuple[list[Any], tuple[str, ...] | None]] = {
    "truth": (TRUE, ("False", "True")),
    "texts": (TEXTS, ("01", "02")),
    "points": (["1.0", "10.0", "2.0"], ("1.0", "2.0", "10.0")),
    "twins": (["01", "1"], ("01", "1")),
    "signs": ([-1, 1], ("-1", "1")),
    "whole": ([0.0, 1.0], None),
    "large": ([2**53, 2**53 + 1], (str(2**53), str(2**53 + 1))),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_conditional_run_reads_and_gives_back_the_labels_of_its_own_frame(name: str) -> None:
    labels, names = NAMED[name]
    frame = pd.DataFrame({"size": np.arange(12.0), "label": (labels * 6)[:12]})
    data = wrap(frame)
    assert data.spec.labels == names
    order = data.spec.labels or ("0", "1")
    codes = [list(order).index(f"{value:g}" if names is None else str(value)) for value in frame["label"]]
    run = untrained(data.spec, "cvae")
    run.description["data"] = {"frame": "pandas"}
    for given, y in ((frame, None), (frame[["size"]], frame["label"]), ((frame[["size"]], frame["label"]), None)):
        assert taken(given, data.spec, y).tensors["y"].tolist() == codes
    found = run.sample(1, y=labels)["label"]
    assert found.tolist() == labels
    assert found.dtype.kind == np.array(labels).dtype.kind or names is None or isinstance(labels[0], str)
    assert run.sample(1, y=labels[-1])["label"].tolist() == labels[-1:]


def test_names_that_stand_for_one_number_are_one_label() -> None:
    def codes(labels: Any, known: list[Any]) -> list[int]:
        spec = wrap((np.zeros((20, 1)), np.array(known * 10))).spec
        return taken((np.zeros((2, 1)), labels), spec).tensors["y"].tolist()

    for known in (TRUE, ["01", "02"], [0, 1], ["False", "True"]):
        low = 1 if known == TEXTS else 0
        for later in ([low, low + 1], [str(low), str(low + 1)], [float(low), low + 1.0], [f"0{low}", f"0{low + 1}"]):
            assert codes(np.array(later), known) == [0, 1]
    assert codes(np.array(TRUE), [0, 1]) == codes(["false", "TRUE"], TRUE) == [0, 1]
    with pytest.raises(ValueError, match=r"labels of the data of this run are 01, 1; got 1\.0"):
        codes(["1.0", "01"], ["1", "01"])
    with pytest.raises(ValueError, match="labels of the data of this run are no, yes; got True"):
        codes([True, True], ["no", "yes"])


def test_categories_come_back_as_text_to_a_frame_that_holds_text() -> None:
    frame = pd.DataFrame({"size": np.arange(12.0), "grade": ["1", "2", "3"] * 4})
    run = untrained(wrap(frame).spec)
    assert set(run.reconstruct(frame)["grade"]) <= {"1", "2", "3"}
    assert set(run.reconstruct(frame.assign(grade=frame["grade"].astype(int)))["grade"]) <= {1, 2, 3}
    gaps = frame.copy()
    gaps.loc[0, "grade"] = None
    assert set(run.complete(gaps, weigh="seen", draws=3).mean["grade"]) <= {"1", "2", "3"}


def test_categories_of_large_integers_stay_apart() -> None:
    large = 2**53 + np.arange(3)
    x = np.stack([large[STREAM.integers(0, 3, 30)], large[STREAM.integers(0, 3, 30)]], 1)
    spec = wrap(x, kind="category").spec
    run = untrained(spec, "arbitrary_conditioning")
    found = taken(x, spec).tensors["x"]
    np.testing.assert_array_equal(found, x - 2**53)
    np.testing.assert_array_equal(pictured(x, spec)[0], found)
    np.testing.assert_array_equal(pictured(x, spec, np.array([[1, 0]]))[0][:, 0], found[:, 0])
    assert set(run.reconstruct(x).flat) <= set(large.tolist())
    assert set(untrained(spec).sample(30).flat) == set(large.tolist())
    assert set(run.complete(x, np.array([[1, 0]]), draws=3).mean.flat) <= set(large.tolist())
    frame = pd.DataFrame(x, columns=["a", "b"])
    named = untrained(wrap(frame, kind="category").spec)
    assert set(named.reconstruct(frame)["a"]) <= set(large.tolist())
    for other in (pv.Column("real"), pv.Column("category", None, ("0.5", "2"))):  # which no integers hold beside
        mixed = valued(torch.tensor([[1.0, 1.0]]), (spec.columns[0], other))
        assert mixed.tolist() == [[1, 1 if other.labels is None else 2]]


def test_a_file_that_has_changed_is_read_as_the_run_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FRAME.assign(label=LABELS).to_csv(tmp_path / "d.csv", index=False)
    data = load(tmp_path / "d.csv")
    made = pv.recipes.cvae(data.spec, network="mlp", widths=[8], latent=2, seed=0)
    pv.fit(made, data, tmp_path / "run", epochs=1, device="cpu", progress=False)
    assert opened(tmp_path / "run").data.spec == data.spec
    assert capsys.readouterr().err == ""
    PERMUTED.assign(label=YES).iloc[:, [3, 4, 1, 0, 2]].to_csv(tmp_path / "d.csv", index=False)
    found = opened(tmp_path / "run").data
    assert "d.csv has other columns or labels than when this run was trained" in capsys.readouterr().err
    assert [column.labels for column in found.spec.columns] == [None, TOWNS, None]
    codes = [int((CODES[:, 0] == size).argmax()) for size in found.train.tensors["x"][:, 0].numpy()]
    np.testing.assert_array_equal(found.train.tensors["x"], CODES[codes])
    assert found.train.tensors["y"].tolist() == (YES[codes] == "yes").tolist()


def test_numbers_that_single_precision_rounds_are_no_categories_of_other_data() -> None:
    x = np.stack([20_000_000 + STREAM.integers(0, 3, 60), np.arange(60) % 7], 1)
    spec = wrap(x, kind={"0": "category"}, test=0).spec
    right = wrap(x, validation=30, test=0, kind={"0": "category"})
    assert set(taken(right, spec).tensors["x"][:, 0].tolist()) == {0, 1, 2}
    with pytest.warns(DataNote, match="single precision"):
        other = wrap(x, validation=30, test=0)
    with pytest.raises(ValueError, match="column 0 holds numbers that single precision rounds; load the"):
        taken(other, spec)


def test_a_split_is_completed_with_its_own_labels() -> None:
    data = wrap((FRAME, LABELS))
    run = untrained(data.spec, "cvae")
    labels = np.array(["no", "yes"])[data.test.tensors["y"]]
    expected = run.complete(data.test, y=labels, weigh="seen", draws=5).mean
    for given in (data, data.test):
        np.testing.assert_array_equal(run.complete(given, weigh="seen", draws=5).mean, expected)


def test_the_scale_of_errors_is_that_of_the_channels_of_the_data() -> None:
    x = STREAM.normal(size=(30, 2, 6, 6)).astype(np.float32) * np.array([1, 100], np.float32)[:, None, None]
    columns = (pv.Column("real", "u"), pv.Column("real", "v", scale=100.0))
    run = untrained(pv.Spec((2, 6, 6), levels=None, columns=columns))
    one = wrap(x)
    other = wrap(np.ascontiguousarray(x[:, ::-1]))
    data, turned = (
        replace(made, spec=replace(made.spec, columns=order))
        for made, order in ((one, columns), (other, columns[::-1]))
    )
    assert pv.evaluate(run, data, samples=2) == pv.evaluate(run, turned, samples=2)
