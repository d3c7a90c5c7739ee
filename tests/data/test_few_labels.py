"""Labels that are hidden on purpose, and labels that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polyvae as pv
from polyvae.data import load, wrap
from polyvae.data.exchange.given import taken
from polyvae.data.labels import balanced

pytestmark = pytest.mark.filterwarnings("ignore::polyvae.data.errors.DataNote")
CLASSES = np.array(["cat", "dog", "eel"])


def test_a_choice_of_labels_has_as_many_of_each_class_as_there_are() -> None:
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 47)
    chosen = balanced(labels, 20, 0)
    assert labels[chosen].bincount().tolist() in ([9, 3, 8], [8, 3, 9])
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert not balanced(labels, 20, 1).equal(chosen)
    assert balanced(labels, 20, 0).equal(chosen)


def test_few_labels_are_kept_in_training_none_in_validation_and_all_in_the_test_part() -> None:
    data, whole = load("digits", labels=30), load("digits")
    known = data.train.tensors["y_known"]
    assert int(known.sum()) == 30
    assert data.train.tensors["y"][known].bincount().tolist() == [3] * 10
    assert data.train.tensors["y"][known].equal(whole.train.tensors["y"][known])
    assert not data.train.tensors["y"][~known].any()  # what is hidden is gone
    assert not data.validation.tensors["y_known"].any()
    assert data.test.tensors["y"].equal(whole.test.tensors["y"])
    assert data.train.labels is None
    assert data.test.labels is not None
    assert load(**data.call).train.tensors["y_known"].equal(known)
    assert not load("digits", labels=30, seed=1).train.tensors["y_known"].equal(known)


def partly(y: np.ndarray) -> dict[str, Any]:
    """The same labels [N], every third of them missing, in the ways that this is written."""
    gone = np.arange(len(y)) % 3 == 0
    text = CLASSES[y].astype(object)
    text[gone] = None
    return {
        "nan": np.where(gone, np.nan, y),
        "minus one": np.where(gone, -1, y),
        "empty text": np.where(gone, "", CLASSES[y]),
        "none": text,
    }


@pytest.mark.parametrize("how", ["nan", "minus one", "empty text", "none"])
def test_labels_that_are_missing_are_known_to_be(how: str, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    y = (np.arange(60) + np.arange(60) // 3) % 3
    if how == "none":
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(rows, columns=list("abcd")).assign(label=partly(y)[how])
        frame.to_csv(tmp_path / "few.csv", index=False)
        every = [wrap(frame, gaps=True), load(tmp_path / "few.csv", gaps=True)]
        with pytest.raises(pv.data.DataError, match="20 missing in column 'label'"):
            wrap(frame)
    else:
        every = [wrap((rows, partly(y)[how]), gaps=True)]
    for data in every:
        assert data.spec.classes == 3
        for part in data.parts.values():
            places = torch.from_numpy(rows)[:, 0].view(-1, 1).eq(part.tensors["x"][:, 0]).float().argmax(0)
            known = part.tensors["y_known"]
            assert known.equal(places % 3 != 0)
            assert part.tensors["y"][known].equal(torch.from_numpy(y)[places][known])


def test_minus_one_and_one_are_two_classes_and_minus_one_beside_others_is_said_to_be_missing() -> None:
    rows, signs = np.random.default_rng(0).random((60, 4)).astype(np.float32), np.where(np.arange(60) % 2, 1, -1)
    for data in (
        wrap((rows, signs)),
        wrap((rows, signs), gaps=True),
        pv.fit("m2", (rows, signs), epochs=1, progress=False),
    ):
        assert (data.spec.classes, data.spec.labels) == (2, ("-1", "1"))
    with pytest.warns(pv.data.DataNote, match=r"30 of 60 labels are -1, and taken for missing"):
        assert wrap((rows, np.where(signs < 0, -1, np.arange(60) % 4)), gaps=True).spec.labels == ("1", "3")


def test_a_table_with_few_labels_of_those_that_there_are_trains_m2_and_no_recipe_that_reads_all(tmp_path: Path) -> None:
    rows, y = np.random.default_rng(0).random((90, 4)), np.arange(90) % 3
    lines = [
        ",".join(map(str, [*row, "" if n % 3 == 0 else CLASSES[(y[n] + n // 3) % 3]])) for n, row in enumerate(rows)
    ]
    (tmp_path / "few.csv").write_text("\n".join(["a,b,c,d,label", *lines]) + "\n")
    data = load(tmp_path / "few.csv", gaps=True, labels=6)
    assert data.train.tensors["y"][data.train.tensors["y_known"]].bincount().tolist() == [2, 2, 2]
    made = pv.recipes.m2(data.spec, latent=2, widths=[8], features=8, seed=0)
    assert pv.fit(made, data, epochs=1, progress=False).history[-1]["train_label"] > 0
    with pytest.raises(ValueError, match=r"y is missing in .* examples, and this model reads it in all: train .* m2"):
        pv.fit("cvae", data, epochs=1, progress=False)


def test_labels_that_cannot_be_had_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"labels: at least one for each of the 10 classes, at most the .*; got 5"):
        load("digits", labels=5)
    with pytest.raises(ValueError, match="labels: so many of them are kept, and vortices has none"):
        load("vortices", labels=5, limit=10)
    with pytest.raises(pv.data.DataError, match="at least one label"):
        wrap((np.ones((9, 2)) * np.arange(9)[:, None], np.full(9, np.nan)), gaps=True)


@pytest.mark.parametrize("how", ["nan", "minus one", "empty text", "none"])
def test_a_run_reads_labels_of_which_some_are_missing(how: str) -> None:
    rows = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    y = (np.arange(60) + np.arange(60) // 3) % 3
    given: Any = (rows, partly(y)[how])
    if how == "none":
        given = pytest.importorskip("pandas").DataFrame(rows, columns=list("abcd")).assign(label=partly(y)[how])
    run = pv.fit("m2", given, epochs=1, progress=False)
    split = taken(given, run.spec)
    assert split.tensors["y_known"].tolist() == [n % 3 != 0 for n in range(60)]
    assert split.tensors["y"][split.tensors["y_known"]].tolist() == [int(y[n]) for n in range(60) if n % 3]
    # p(x) of all, whatever is known of their labels.
    assert np.allclose(run.score(given), run.score(given if how == "none" else rows))
    some = split.take(split.tensors["y_known"].nonzero()[:, 0])
    judged, alone = (pv.evaluate(run, each)["classification"] for each in (given, some))
    assert (judged["error"], judged["log_loss"]) == pytest.approx((alone["error"], alone["log_loss"]))
    with pytest.raises(ValueError, match="y is missing in 20 examples, and this model reads it in all"):
        pv.fit("cvae", (rows, y), epochs=1, progress=False).score(rows, y=np.where(np.arange(60) % 3, y, -1))


def test_labels_of_other_libraries_are_missing_where_they_say_so_and_refused_where_none_may_be() -> None:
    pandas = pytest.importorskip("pandas")
    data = wrap((np.random.default_rng(0).random((30, 4)), np.arange(30) % 3))
    run = pv.fit("cvae", data, epochs=1, progress=False)
    rows = np.zeros((3, 4))
    for y in ([0, None, 2], [0, pandas.NA, 2], pandas.array([0, None, 2], dtype="Int64"), [0, float("nan"), 2]):
        assert taken((rows, y), run.spec).tensors["y_known"].tolist() == [True, False, True]
        with pytest.raises(ValueError, match="y is missing in 1 examples"):
            run.score(rows, y=y)
        with pytest.raises(ValueError, match=r"labels of the data of this run are 0\.\.2; got"):
            run.sample(1, y=y)


def test_labels_that_are_given_stand_in_the_place_of_those_of_the_data() -> None:
    data = wrap({"x": torch.rand(30, 4), "y": torch.arange(30) % 3, "y_known": torch.arange(30) % 2 == 0})
    made = pv.recipes.cvae(data.spec, condition="y", dropped=0.3, latent=2, seed=0)
    run = pv.fit(made, data, epochs=1, progress=False)
    split = data.train.take(range(10))
    whole = run.score(split.tensors["x"], y=split.tensors["y"])
    assert run.score(split, y=split.tensors["y"]).equal(whole)
    assert not run.score(split).equal(whole)


def test_conditions_beside_x_that_are_missing_are_not_known() -> None:
    pandas = pytest.importorskip("pandas")
    draws = np.random.default_rng(0)
    frame = pandas.DataFrame(draws.random((40, 3)), columns=list("abc"))
    frame = frame.assign(temperature=draws.random(40), kind=np.array(["u", "v"])[np.arange(40) % 2])
    holes = frame.copy()
    holes.loc[::4, "temperature"] = np.nan
    holes.loc[1::4, "kind"] = None
    data = wrap(holes, gaps=True, beside=["temperature", "kind"])
    made = pv.recipes.cvae(data.spec, condition="temperature, kind", dropped=0.2, latent=2, network="mlp", seed=0)
    run = pv.fit(made, data, epochs=1, progress=False)
    split = taken(holes, run.spec)
    assert split.tensors["temperature_known"].tolist() == [n % 4 != 0 for n in range(40)]
    assert split.tensors["kind_known"].tolist() == [n % 4 != 1 for n in range(40)]
    score, whole = (np.asarray(run.score(each)) for each in (holes, frame))
    assert np.isfinite(score).all()
    assert np.array_equal(score[2::4], whole[2::4])
    untold = np.asarray(run.score(frame.drop(columns="temperature")))
    assert np.allclose(score[::4], untold[::4])
    given = {"temperature": holes.temperature.to_numpy(), "kind": holes.kind.tolist()}
    assert np.allclose(np.asarray(run.score(frame[["a", "b", "c"]], given=given)), score)
    plain = wrap(frame, beside=["temperature", "kind"])
    strict = pv.recipes.cvae(plain.spec, condition="temperature, kind", latent=2, network="mlp", seed=0)
    reads = pv.fit(strict, plain, epochs=1, progress=False)
    for asked in (lambda: reads.score(holes), lambda: reads.sample(1, given=given)):
        with pytest.raises(ValueError, match="is missing in 10 examples, and this model reads it in all"):
            asked()


def test_completion_does_without_the_conditions_that_a_model_may_do_without() -> None:
    data = wrap({"x": torch.rand(30, 1, 4, 4), "y": torch.arange(30) % 3})
    made = pv.recipes.cvae(data.spec, condition="y", dropped=0.3, latent=2, network="mlp", seed=0)
    run = pv.fit(made, data, epochs=1, progress=False)
    x, y = data.train.tensors["x"][:3].clone(), data.train.tensors["y"][:3]
    x[..., 2:] = torch.nan

    def mean(**given: Any) -> torch.Tensor:
        return run.complete(x, weigh="seen", draws=10, candidates=20, **given).mean

    told, untold, partly_told = mean(y=y), mean(), mean(y=torch.tensor([int(y[0]), -1, int(y[2])]))
    assert partly_told[[0, 2]].equal(told[[0, 2]])
    assert partly_told[1].equal(untold[1])
    assert not told[1].equal(untold[1])
    strict = pv.fit(pv.recipes.cvae(data.spec, latent=2, network="mlp", seed=0), data, epochs=1, progress=False)
    with pytest.raises(ValueError, match="y is missing in 1 examples"):
        strict.complete(x, weigh="seen", y=torch.tensor([0, -1, 2]))


def test_minus_one_is_a_label_of_data_that_have_it() -> None:
    rows, signs = np.random.default_rng(0).random((60, 4)).astype(np.float32), np.where(np.arange(60) % 2, 1, -1)
    run = pv.fit("m2", (rows, signs), epochs=1, progress=False)
    split = taken((rows, signs), run.spec)
    assert "y_known" not in split.tensors
    assert split.tensors["y"].tolist() == (np.arange(60) % 2).tolist()
