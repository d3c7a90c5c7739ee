"""What a run is given beside its data's shape or kinds is refused by column, row and what to do; names come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import polyvae as pv
from polyvae.data import load, wrap
from polyvae.data.exchange import returned as handback

COLUMNS = (
    pv.Column("positive", "income"),
    pv.Column("counts", "age", centre=3.0),
    pv.Column("bits", "insured"),
    pv.Column("category", "town", ("Bonn", "Ulm")),
    pv.Column("grey", "light"),
    pv.Column("real", "gain"),
)
INSIDE = {
    "income": [9.0, 8.0],
    "age": [3, 4],
    "insured": [0, 1],
    "town": ["Ulm", "Bonn"],
    "light": [0, 1],
    "gain": [-1, 1],
}
OUTSIDE = {
    "income": (-5.0, "positive numbers"),
    "age": (20.5, "whole numbers from 0 on"),
    "insured": (2.0, "zeros and ones"),
    "light": (1.5, r"values in \[0, 1\]"),
}


def untrained(columns: tuple[pv.Column, ...] = COLUMNS, recipe: str = "arbitrary_conditioning") -> pv.Run:
    spec = pv.Spec((len(columns),), levels=None, columns=columns)
    return pv.Run(getattr(pv.recipes, recipe)(spec, seed=0, network="mlp", widths=[8], latent=2))


@pytest.mark.parametrize("name", OUTSIDE)
def test_values_that_are_not_of_a_columns_kind_are_refused_by_column_and_row(name: str) -> None:
    run, frame = untrained(), pd.DataFrame(INSIDE)
    value, words = OUTSIDE[name]
    later = frame.assign(**{name: [frame[name][0], value]})
    said = rf"column '{name}' holds {words} in the data of this run; row 1 has {value:g}; mend it, or leave it NaN"
    for asked in (run.complete, run.reconstruct, run.encode, lambda x: run.encode(wrap(frame, validation=x, test=0))):
        asked(frame)
        with pytest.raises(ValueError, match=said):
            asked(later)


def test_zero_is_no_positive_number_and_columns_without_a_name_go_by_their_place() -> None:
    run = untrained(tuple(pv.Column("positive") for _ in range(2)))
    for x in (np.array([[1.0, 2.0], [1.0, 0.0]]), torch.tensor([[1.0, 2.0], [1.0, 0.0]])):
        with pytest.raises(ValueError, match="column 1 holds positive numbers in the data of this run; row 1 has 0;"):
            run.complete(x)
    coded = untrained((pv.Column("category", "town", ("Bonn", "Ulm")), pv.Column("real", "gain")))
    with pytest.raises(ValueError, match=r"column 'town' holds the codes 0 to 1 of Bonn, Ulm .* row 0 has 2;"):
        coded.encode(np.array([[2.0, 0.0]]))


def test_what_a_mask_hides_and_what_is_missing_may_hold_anything() -> None:
    run, frame = untrained(), pd.DataFrame(INSIDE)
    mask = np.array([[0, 1, 1, 1, 1, 1]])
    expected = run.complete(frame, mask, draws=5).mean
    pd.testing.assert_frame_equal(run.complete(frame.assign(income=-5.0), mask, draws=5).mean, expected)
    pd.testing.assert_frame_equal(run.complete(frame.assign(income=np.nan), draws=5).mean, expected)
    numbers = untrained(tuple(pv.Column("positive") for _ in range(2)))
    hidden = np.array([[-1.0, 2.0]])
    assert np.isfinite(numbers.complete(hidden, np.array([[0, 1]]), draws=5).mean).all()


def test_a_field_of_positive_values_is_refused_by_its_channel() -> None:
    spec = pv.Spec((1, 4, 4), levels=None, columns=(pv.Column("positive", "depth"),))
    run = pv.Run(pv.recipes.arbitrary_conditioning(spec, seed=0, network="mlp", widths=[8], latent=2))
    x = torch.ones(2, 1, 4, 4)
    x[1, 0, 2, 3] = -1
    for asked in (run.complete, run.encode):
        with pytest.raises(ValueError, match=r"column 'depth' holds positive numbers .* row 1 has -1;"):
            asked(x)
    mask = torch.ones(1, 1, 4, 4)
    mask[..., 2, 3] = 0
    run.complete(x, mask, draws=3)


def test_names_of_columns_that_are_numbers_come_back_as_numbers() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    for names in ([0, 1], [3, 7], ["a", 5]):
        frame = pd.DataFrame(x, columns=names)
        spec = wrap(frame).spec
        run = untrained(spec.columns)
        gaps = frame.copy()
        gaps.iloc[0, 0] = np.nan
        found = run.complete(gaps, draws=5).mean
        assert list(found.columns) == names
        assert not gaps.fillna(found).isna().any(axis=None)
        assert list(run.reconstruct(frame).columns) == names
    plain = untrained(wrap(pd.DataFrame(x)).spec.columns, "vae")
    plain.description["data"] = {"frame": "pandas"}
    assert list(plain.sample(2).columns) == [0, 1]


def test_a_run_on_a_file_of_named_columns_gives_frames_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = np.random.default_rng(0)
    table = {"size": stream.normal(size=60), "town": stream.choice(["Ulm", "Bonn"], 60)}
    pd.DataFrame(table).to_csv(tmp_path / "mixed.csv", index=False)
    data = load(tmp_path / "mixed.csv")
    made = pv.recipes.vae(data.spec, network="mlp", widths=[8], latent=2, seed=0)
    run = pv.fit(made, data, tmp_path / "run", epochs=1, device="cpu", progress=False)
    for each in (run, pv.Run.load(tmp_path / "run")):
        found = each.sample(20)
        assert list(found.columns) == ["size", "town"]
        assert set(found["town"]) == {"Ulm", "Bonn"}
    monkeypatch.setattr(handback, "find_spec", lambda name: None)  # where pandas is not installed
    assert run.sample(20).shape == (20, 2)


def test_a_column_that_a_frame_lacks_is_named_with_what_to_do() -> None:
    for asked in (untrained().complete, untrained().reconstruct):
        with pytest.raises(ValueError, match="the data lack the column 'gain'; add it as NaN to have it completed"):
            asked(pd.DataFrame(INSIDE).drop(columns="gain"))


def test_the_column_of_labels_is_read_and_given_back_by_its_name(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    frame = pd.DataFrame({"size": stream.normal(size=60), "more": 1.5, "city": stream.choice(["Riga", "Bonn"], 60)})
    data = wrap(frame, label="city")
    made = pv.recipes.cvae(data.spec, network="mlp", widths=[8], latent=2, seed=0)
    run = pv.fit(made, data, tmp_path / "run", epochs=1, device="cpu", progress=False)
    run = pv.Run.load(tmp_path / "run")
    found = run.sample(2, y=["Riga", "Bonn"])
    assert list(found.columns) == ["size", "more", "city"]
    assert list(found["city"]) == ["Riga", "Bonn"] * 2
    for asked in (run.reconstruct, run.encode, run.score, lambda x, y=None: run.complete(x, y=y, weigh="seen").mean):
        np.testing.assert_array_equal(asked(frame), asked(frame.drop(columns="city"), frame["city"]))
    frame.to_csv(tmp_path / "city.csv", index=False)
    assert load(tmp_path / "city.csv", label="city").spec == load(frame, label="city").spec == data.spec


@pytest.mark.parametrize("x", [{"age": 30}, pd.Series({"age": 30, "town": "Ulm"}), np.array([[1, "a"]], dtype=object)])
def test_what_holds_no_numbers_is_refused_with_what_to_give(x: object) -> None:
    with pytest.raises(ValueError, match=r"numbers are wanted: a data frame, a tensor or an array .* got .* of object"):
        untrained().complete(x)


@pytest.mark.parametrize(("name", "words"), [("skip_bad", r"polyvae\.data\.load"), ("latent", r"recipes\.vae\(")])
def test_what_is_no_setting_is_said_where_it_belongs(name: str, words: str) -> None:
    with pytest.raises(TypeError, match=rf"no setting is named '{name}'; it is .*{words}.*{name}=\.\.\.\)\. The sett"):
        pv.fit("vae", np.zeros((20, 2)), **{name: 1})  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"it is an option of the recipe: .*recipes\.incomplete\(data\.spec, missing="):
        pv.fit("incomplete", np.zeros((20, 2)), missing="linear")  # pyright: ignore[reportArgumentType]


def test_an_empty_column_is_to_be_dropped(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "z": np.nan})
    frame.to_csv(tmp_path / "z.csv", index=False)
    for given in (frame, tmp_path / "z.csv"):
        with pytest.raises(ValueError, match="all 3 missing in column 'z'; drop what is empty"):
            load(given, skip_bad=True)


def test_grey_levels_of_later_pictures_lie_where_those_of_the_data_do() -> None:
    digits = pv.data.load("digits")
    run = pv.Run(pv.recipes.vae(digits.spec, network="mlp", widths=[8], latent=2, seed=0))
    x = digits.test.batch(torch.arange(3))["x"]
    for scale, worst in ((255, "255"), (16, "16"), (-1, "-1")):
        for ask in (run.score, run.reconstruct, run.encode, lambda x: pv.evaluate(run, x, samples=2)):
            with pytest.raises(ValueError, match=rf"lie in \[0, 1\]; example 0 has {worst}: divide by"):
                ask(x * scale)
    same = run.score(x)
    np.testing.assert_allclose(run.score((x * 255).to(torch.uint8)), same, atol=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 2.5}, "count is a whole number of at least 1; got 2.5"),
        ({"count": "4"}, "count is a whole number of at least 1; got '4'"),
        ({"seed": -1}, "seed is a whole number from 0 to 2"),
        ({"y": [1, 2]}, "the model reads no y; leave it away"),
        ({"given": {"m": [1.0]}}, "the model reads no m; leave it away"),
    ],
)
def test_what_sample_cannot_be_asked_is_named(given: dict[str, Any], message: str) -> None:
    run = pv.Run(pv.recipes.vae(pv.Spec((4,)), network="mlp", widths=[8], latent=2, seed=0))
    with pytest.raises(ValueError, match=message):
        run.sample(**given)


def test_numbers_given_as_text_and_one_number_for_several_are_named() -> None:
    with pytest.raises(ValueError, match="latent is a whole number of at least 1; got '8'"):
        pv.recipes.vae(pv.Spec((4,)), latent="8")
    with pytest.raises(ValueError, match=r"widths is a list of numbers, such as \[5\]; got 5"):
        pv.recipes.vae(pv.Spec((4,)), widths=5)


WRONG = {
    "one picture": (np.zeros((1, 4, 4)), None),
    "one grey picture": (
        np.zeros((4, 4)),
        r"\[N, 1, 4, 4\] or \[N, 4, 4\], N of them; got \[4, 4\]: one example.*x\[None\]",
    ),
    "another size": (np.zeros((3, 1, 5, 5)), r"\[N, 1, 4, 4\].*got \[3, 1, 5, 5\]"),
    "colours": (np.zeros((2, 3, 4, 4)), r"\[N, 1, 4, 4\].*got \[2, 3, 4, 4\]"),
}


@pytest.mark.parametrize("which", WRONG)
def test_pictures_of_another_shape_are_refused_with_the_shape(run: pv.Run, which: str) -> None:
    x, message = WRONG[which]
    if message is None:
        assert run.encode(x).shape == (1, 2)
        return
    for ask in (run.encode, run.reconstruct, run.score, run.complete):
        with pytest.raises(ValueError, match=message):
            ask(x)


def test_tables_of_another_width_are_refused_with_the_number_of_columns(tables: pv.Run) -> None:
    with pytest.raises(ValueError, match=r"\[N, 5\], N of them; got \[9, 4\]: 4 columns and not 5"):
        tables.encode(np.zeros((9, 4)))
    with pytest.raises(ValueError, match=r"got \[5\]: one example without a dimension for N; give x\[None\]"):
        tables.score(np.zeros(5))
    with pytest.raises(ValueError, match=r"z is \[N, 2\]; got \[4, 3\]"):
        tables.decode(np.zeros((4, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="finite"):
        tables.encode(np.full((2, 5), np.nan))
