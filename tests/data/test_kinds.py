"""Kinds of numbers: found from values, asked for by name, read standardised, given back in the user's units."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import polyvae as pv
from polyvae.data import DataError, DataNote, load, wrap
from polyvae.data.columns.kinds import described, parsed
from polyvae.model.networks.prepared import Standardise, StandardiseSeen
from polyvae.model.spec import Column, Spec

STREAM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "height": STREAM.normal(170, 10, 300),
        "colour": STREAM.choice(["blue", "green", "red"], 300),
        "visits": STREAM.poisson(1.2, 300),
        "smokes": STREAM.integers(0, 2, 300).astype(bool),
        "income": STREAM.lognormal(10, 1, 300),
        "year": STREAM.integers(1990, 2010, 300),
    }
)


def kinds(x: Any, **options: Any) -> list[str]:
    return [column.kind for column in wrap(x, **options).spec.columns]


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (STREAM.poisson(3, (200, 3)), "counts"),
        (STREAM.poisson(3, (200, 3)).astype(np.float64), "counts"),
        (STREAM.poisson(3, (200, 3)).astype(np.uint8), "counts"),
        (STREAM.integers(0, 2, (200, 3)), "bits"),
        (STREAM.integers(0, 2, (200, 3)).astype(np.uint8), "bits"),
        (STREAM.integers(0, 2, (200, 3)) > 0, "bits"),
        (STREAM.normal(0, 1, (200, 3)), "real"),
        (STREAM.normal(50, 1, (200, 3)), "real"),
        (STREAM.integers(-3, 4, (200, 3)), "real"),
        (STREAM.integers(1990, 2000, (200, 3)), "real"),
        (STREAM.lognormal(0, 1, (200, 3)), "positive"),
        (STREAM.random((200, 3)), "real"),
        (STREAM.normal(0, 1, (40, 2, 6, 6)), "real"),
        (STREAM.integers(0, 1000, (40, 6, 6)), "real"),
    ],
)
def test_the_kind_of_an_array_follows_its_values(x: np.ndarray, expected: str) -> None:
    spec = wrap(x).spec
    assert spec.kinds == (expected,)
    assert spec.unit == (expected == "bits")
    assert all(column.name is None for column in spec.columns)


@pytest.mark.parametrize("x", [STREAM.random((40, 6, 6)), STREAM.integers(0, 256, (40, 3, 6, 6), np.uint8)])
def test_pictures_have_no_columns(x: np.ndarray) -> None:
    spec = wrap(x).spec
    assert spec.columns == ()
    assert spec.unit
    with pytest.raises(DataError, match="expected columns or fields, to be read as kinds of numbers, found pictures"):
        wrap(x, kind="counts")


def test_each_column_of_a_frame_has_a_kind_of_its_own() -> None:
    spec = wrap(FRAME).spec
    found = {column.name: column.kind for column in spec.columns}
    assert found == {
        "height": "real", "colour": "category", "visits": "counts", "smokes": "bits", "income": "positive",
        "year": "real",
    }  # fmt: skip
    assert spec.columns[1].labels == ("blue", "green", "red")
    assert described(spec.columns) == (
        "1 bits (smokes), 1 category (colour), 1 counts (visits), 1 positive (income), 2 real (height, year)"
    )


def test_moments_are_those_of_what_is_trained_on() -> None:
    data = wrap(FRAME, validation=100)
    x = data.train.tensors["x"].double()
    height, _, visits, _, income, _ = data.spec.columns
    assert height.centre == pytest.approx(float(x[:, 0].mean()), rel=1e-5)
    assert height.scale == pytest.approx(float(x[:, 0].std(correction=0)), rel=1e-5)
    assert visits.centre == pytest.approx(float(x[:, 2].log1p().mean()), rel=1e-5)
    assert income.centre == pytest.approx(float(x[:, 4].log().mean()), rel=1e-5)
    assert height.centre != pytest.approx(float(wrap(FRAME).spec.columns[0].centre), rel=1e-9)


def test_moments_of_channels_are_over_all_their_places() -> None:
    x = STREAM.normal(0, 1, (60, 2, 8, 9)) * np.array([1e3, 1e-3]).reshape(2, 1, 1) + 5
    data = wrap(x, test=0)
    train = data.train.tensors["x"].double()
    for channel, column in enumerate(data.spec.columns):
        scale = float(train[:, channel].std(correction=0))
        assert column.centre == pytest.approx(float(train[:, channel].mean()), abs=1e-5 * scale)  # digits of the scale
        assert column.scale == pytest.approx(scale, rel=1e-5)


def test_a_zero_outside_the_training_part_leaves_a_column_real() -> None:
    x = np.exp(STREAM.normal(size=(200, 2)))
    held = np.concatenate([x[:20], np.zeros((1, 2))])
    assert {column.kind for column in wrap(x, validation=x[:20]).spec.columns} == {"positive"}
    assert {column.kind for column in wrap(x, validation=held).spec.columns} == {"real"}
    frame, later = (pd.DataFrame({"a": rows[:, 0], "b": 1 + rows[:, 1]}) for rows in (x, held))
    assert [column.kind for column in wrap(frame, validation=later).spec.columns] == ["real", "positive"]


def test_a_kind_is_what_is_asked_for_of_all_or_by_name() -> None:
    assert kinds(STREAM.poisson(3, (50, 2)), kind="real") == ["real", "real"]
    assert kinds(FRAME, kind={"visits": "real", "year": "category"})[2] == "real"
    data = wrap(FRAME, kind="year=category, visits=category")
    year = data.spec.columns[5]
    assert year.labels == tuple(str(number) for number in range(1990, 2010))
    assert data.train.tensors["x"][:, 5].unique().tolist() == list(range(20))
    assert parsed("a=b=real,c=counts") == {"a=b": "real", "c": "counts"}
    assert parsed("real") == "real"


def test_numbering_categories_leaves_the_user_s_array_alone() -> None:
    x = np.array([[5.0, 1.0], [7.0, 2.0]] * 20, np.float32)
    wrap(x, kind={"0": "category"})
    assert x[:2, 0].tolist() == [5.0, 7.0]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("height=bits", r"column 'height': expected zeros and ones, to be read as bits, found values in \[1"),
        ("height=counts", "column 'height': expected whole numbers from 0 on.*not all whole"),
        ("height=grey", r"column 'height': expected values in \[0, 1\]"),
        ("visits=positive", r"column 'visits': expected numbers above 0.*found values in \[0, "),
        ("colour=real", "column 'colour': expected numbers, to be read as real, found text"),
        ("weight=real", "a kind for one of the columns height, colour, visits.*'weight'; did you mean height"),
        ("height=metres", "expected a kind of numbers, bits, category, counts, positive, real, grey, found 'metres'"),
        ("metres", "expected a kind of numbers.*found 'metres'"),
    ],
)
def test_a_kind_that_the_values_are_not_of_is_refused_by_name(kind: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        wrap(FRAME, kind=kind)


def test_a_file_is_loaded_with_the_kinds_asked_for_and_again_so(tmp_path: Any) -> None:
    FRAME.to_csv(tmp_path / "people.csv", index=False)
    first = load(tmp_path / "people.csv", kind="visits=real")
    assert [column.kind for column in first.spec.columns][2] == "real"
    again = load(**first.call)
    assert again.spec == first.spec
    assert Spec.from_dict(json.loads(json.dumps(asdict(first.spec)))) == first.spec


def test_what_a_network_reads_is_of_the_order_of_one() -> None:
    data = wrap(FRAME, test=0)
    layer = Standardise(data.spec.columns)
    read = layer(data.train.tensors["x"])
    assert read.shape == (270, layer.size()) == (270, 8)
    for place in (0, 4, 6, 7):
        assert abs(float(read[:, place].mean())) < 2e-3
        assert float(read[:, place].std()) == pytest.approx(1, abs=0.01)
    assert read[:, 1:4].sum(1).eq(1).all()
    assert torch.equal(read[:, 1:4].argmax(1).float(), data.train.tensors["x"][:, 1])
    assert set(read[:, 5].tolist()) == {0.0, 1.0}


def test_what_is_not_seen_of_an_observation_stays_zero_and_its_gradient_finite() -> None:
    columns = wrap(FRAME).spec.columns
    x = wrap(FRAME).train.tensors["x"][:4].requires_grad_()
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]]).bool()
    layer = StandardiseSeen(columns)
    found = layer(torch.cat([torch.where(mask, x, 0.0), mask.float()], 1))
    assert found.shape == (4, 8 + 6)
    torch.testing.assert_close(found[0, :8], Standardise(columns)(x[:1])[0])
    assert not found[1].any()
    assert torch.equal(found[:, 8:], mask.float())
    assert not found[2, 1:4].any()
    found.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("vae", {}),
        ("iwae", {}),
        ("vae", {"posterior": "full", "prior": "mixture"}),
        ("vamp_prior", {"components": 5}),
        ("two_level", {}),
        ("mmd_vae", {}),
        ("arbitrary_conditioning", {}),
        ("semi_conditional", {}),
        ("multitask", {}),
        ("vq_vae", {"codes": 8, "dim": 2}),
    ],
)
def test_every_recipe_takes_a_frame_of_all_kinds(recipe: str, options: dict[str, Any]) -> None:
    made = getattr(pv.recipes, recipe)(wrap(FRAME), seed=0, **options)
    run = pv.fit(made, FRAME, epochs=1, progress=False)
    assert np.isfinite(run.history[0]["validation_bound"])
    values = wrap(FRAME).validation.batch(torch.arange(5))
    law = run.recipe.model.reconstruct(run.recipe.observe(values))["x"]
    assert law.mean.shape == (5, 6)
    assert bool(law.support.check(law.sample()).all())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_bound_is_in_the_user_s_units(scale: float) -> None:
    """x -> c x adds log c to every column's cost, and nothing else changes: not a weight, not a digit more."""
    x = STREAM.normal(3, 2, (300, 4)).astype(np.float32)
    runs = [pv.fit("vae", factor * x, epochs=2, progress=False) for factor in (1.0, scale)]
    bounds = [run.history[-1]["validation_bound"] for run in runs]
    assert bounds[1] - bounds[0] == pytest.approx(-4 * np.log(scale), abs=2e-2)


def test_what_a_column_says_is_checked() -> None:
    for options, words in {
        ("kind", "length"): "Column.kind is one of bits, category",
        ("kind", "category"): "labels belong to a category",
        ("scale", 0.0): "scale positive",
        ("centre", float("nan")): "centre is finite",
    }.items():
        with pytest.raises(ValueError, match=words):
            Column(**dict([options]))
    with pytest.raises(ValueError, match="one entry for each of 3 features; got 1"):
        Spec((3,), columns=(Column(),))


@pytest.mark.parametrize(("kind", "value"), [("counts", 7.0), ("counts", 2.0), ("positive", 0.3), ("real", 1e7 / 3)])
@pytest.mark.parametrize("rows", [97, 250, 300])
def test_a_column_of_one_value_has_the_scale_one(kind: str, value: float, rows: int) -> None:
    x = np.stack([np.full(rows, value), STREAM.poisson(3, rows) + 1.0], 1).astype(np.float32)
    assert wrap(x, kind=kind).spec.columns[0].scale == 1.0


def test_one_constant_column_does_not_decide_for_the_others() -> None:
    x = STREAM.lognormal(0, 1, (300, 4))
    x[:, 1] = 0.3
    assert wrap(x).spec.kinds == ("positive",)


def test_a_centre_is_as_exact_as_its_scale_asks() -> None:
    with pytest.warns(DataNote, match=r"steps of 0\.125, standard deviation 0\."):
        column = wrap(STREAM.normal(1234567.25, 0.5, (4000, 1))).spec.columns[0]
    assert column.centre == pytest.approx(1234567.25, abs=0.05)
    assert wrap(STREAM.normal(1e-9, 1e-10, (400, 1))).spec.columns[0].scale == pytest.approx(1e-10, rel=0.1)


def test_real_numbers_too_large_for_a_fraction_are_no_counts() -> None:
    assert wrap(STREAM.normal(5e7, 2e6, (300, 2)) + 0.37).spec.kinds != ("counts",)


@pytest.mark.parametrize("values", [(0.1, 0.2, 0.35), (1234567, 1234568), (3, 5, 7), (-1.5, 2)])
def test_labels_of_numbers_are_the_numbers_and_a_run_knows_them_again(values: tuple[float, ...]) -> None:
    x = np.stack([np.resize(np.array(values, dtype=np.float64), 120), STREAM.normal(0, 1, 120)], 1)
    run = pv.fit("vae", wrap(x, kind={"0": "category", "1": "real"}), epochs=1, progress=False)
    assert run.recipe.call["spec"]["columns"][0]["labels"] == [str(value) for value in sorted(values)]
    assert np.isfinite(run.score(x[:5])).all()


def test_a_category_belongs_to_a_table() -> None:
    with pytest.raises(DataError, match="categories stand in tables"):
        wrap(STREAM.integers(-2, 2, (30, 2, 6, 6)), kind="category")
