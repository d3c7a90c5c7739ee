"""What a reconstruction leaves of every column, against scikit-learn's R^2 and codes counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from sklearn.metrics import r2_score

import polyvae as pv
from polyvae.data import wrap
from polyvae.evaluation.columns import column_errors, sums, told
from polyvae.evaluation.pictures import reconstruction_errors
from polyvae.evaluation.tables import table

STREAM = np.random.default_rng(1)
FRAME = pd.DataFrame(
    {
        "length": STREAM.normal(1e4, 50, 300),
        "width": STREAM.normal(0, 1e-3, 300),
        "colour": STREAM.choice(["a", "b"], 300),
        "same": np.full(300, 2.5),
    }
)


def test_unexplained_is_one_less_the_share_that_is_explained_whatever_the_scale() -> None:
    data = wrap(FRAME)
    run = pv.fit("vae", data, epochs=3, progress=False)
    split = data.validation
    found = column_errors(run, split, data.spec)
    x = split.tensors["x"]
    r = run.recipe.model.reconstruct({"x": x})["x"].mean.detach()
    for place, row in enumerate(found["columns"][:2]):
        assert row["unexplained"] == pytest.approx(1 - r2_score(x[:, place], r[:, place]), rel=1e-3)
    colour, same = found["columns"][2:]
    assert colour == {"name": "colour", "kind": "category", "wrong": float((x[:, 2] != r[:, 2]).double().mean())}
    assert same["unexplained"] is None
    assert found["unexplained"] == pytest.approx(np.mean([row["unexplained"] for row in found["columns"][:2]]))
    report = pv.evaluate(run, split, samples=2)
    assert report["unexplained"] == found["unexplained"]
    assert report["wrong"] == found["wrong"]


def test_codes_of_categories_have_no_squared_error() -> None:
    run = pv.fit("vae", wrap(FRAME), epochs=1, progress=False)
    report = pv.evaluate(run, wrap(FRAME).validation, samples=2)
    assert (report["mse"], report["discrete"]) == (None, None)
    assert any("no squared error: x holds categories" in note for note in report["notes"])
    rest = wrap(FRAME[["length", "width"]])
    assert pv.evaluate(pv.fit("vae", rest, epochs=1, progress=False), rest.validation, samples=2)["mse"] > 0


def test_fields_have_a_share_for_every_channel_and_pictures_none() -> None:
    field = wrap(np.stack([STREAM.normal(0, 100, (60, 6, 6)), STREAM.normal(5, 1e-2, (60, 6, 6))], 1))
    run = pv.fit("ppca", field)
    found = column_errors(run, field.validation, field.spec)
    x = field.validation.tensors["x"].double()
    r = run.recipe.model.reconstruct({"x": x.float()})["x"].mean.double()
    for channel, row in enumerate(found["columns"]):
        left = (x - r)[:, channel].square().mean() / x[:, channel].var(correction=0)
        assert row["unexplained"] == pytest.approx(float(left), rel=1e-3)
    pictures = wrap(torch.rand(30, 1, 6, 6))
    assert column_errors(pv.fit("ppca", pictures), pictures.validation, pictures.spec) == {}


def test_every_example_is_decoded_once_for_all_errors_of_its_reconstruction() -> None:
    field = wrap(3 * torch.randn(150, 2, 4, 4), test=0.8)
    run = pv.fit(pv.recipes.vae(field, network="mlp", widths=(8,), seed=0), field, epochs=1, progress=False)
    decoded = []
    run.model.heads["x"].likelihood.register_forward_hook(lambda *each: decoded.append(len(each[1][0]["z"])))
    found = pv.evaluate(run, field, samples=1)
    assert found["examples"] == 120
    bounds, bits, reconstruction = [100, 20], [100], [100, 20]  # codes need no decoder
    assert decoded == [*bounds, *bits, *reconstruction]
    expected = column_errors(run, field.test, field.spec)
    assert {name: found[name] for name in expected} == expected
    assert found["mse"] == float(reconstruction_errors(run, field.test)["mse"].mean())


def test_far_from_zero_the_same_share_is_unexplained() -> None:
    """A pressure of 101,325 Pa to 2 Pa was said not to vary."""
    x, missed = STREAM.normal(0, 2, (400, 1)).round(1), STREAM.normal(0, 1, (400, 1)).round(1)
    spec = wrap(x).spec
    for centre in (0, 101_325):
        at = torch.from_numpy(x + centre)
        share = told(sums(at, at + torch.from_numpy(missed)), spec)["unexplained"]
        assert share == pytest.approx(np.square(missed).mean() / x.var(), rel=1e-6)


def test_of_one_example_nothing_is_explained_and_a_note_says_so() -> None:
    run = pv.fit("vae", wrap(FRAME), epochs=1, progress=False)
    report = pv.evaluate(run, wrap(FRAME).validation.take([3]), samples=2)
    assert report["unexplained"] is None
    assert report["wrong"] in (0, 1)
    (note,) = [note for note in report["notes"] if "unexplained" in note and "categories" not in note]
    assert note == "unexplained: none of length, width, same, which do not vary among the examples (1)"
    with Console(record=True, width=200) as console:
        console.print(table(report))
    rows = [line for line in console.export_text().splitlines() if line.startswith("│")]
    assert rows
    assert not any("variance that it leaves" in row for row in rows)


@pytest.mark.parametrize("recipe", ["vae", "ppca", "pca"])
def test_positive_columns_are_judged_on_their_logarithms(recipe: str) -> None:
    """In their own unit, at the mean of a log-normal law, 53,460 of a column over ten powers of ten was left."""
    t = np.random.default_rng(1).normal(size=(900, 1))
    noise = np.random.default_rng(2).normal(size=(900, 3))
    data = wrap(np.exp([1, 5, 5] * t + [0.3, 1.5, 1.5] * noise) * [1, 1, 1e5], kind="0=real,1=positive,2=positive")
    run = pv.fit(pv.recipes.named(recipe)(data.spec, latent=1), data, epochs=15, progress=False)
    found = column_errors(run, data.validation, data.spec)
    assert all(row["unexplained"] < 0.2 for row in found["columns"][1:])
    x = data.validation.tensors["x"]
    law = run.recipe.model.reconstruct({"x": x})["x"]
    logs = law.sample((2000,))[..., 1:].log().mean(0)
    for place, row in enumerate(found["columns"][1:]):
        expected = 1 - r2_score(x[:, 1 + place].log(), logs[:, place])
        assert row["unexplained"] == pytest.approx(expected, rel=0.1, abs=0.005)


def test_the_table_says_whose_logarithms_are_judged() -> None:
    rows = np.exp(np.random.default_rng(0).normal(size=(60, 2)))
    for kind, said in (("positive", True), ("real", False)):
        data = wrap(rows, kind=kind)
        report = pv.evaluate(pv.fit("ppca", data, progress=False), data.validation, samples=2)
        with Console(record=True, width=200) as console:
            console.print(table(report))
        assert ("of positive ones' logs" in console.export_text()) == said
