"""What a run is given in kind it gives back in kind: layouts, frames, columns, pairs, labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import polyvae as pv
from helpers.runs import fitted, pictures, seen
from polyvae.data import Split, wrap


def test_pictures_come_back_in_their_own_layout(run: pv.Run) -> None:
    x = seen(run)
    whole = run.reconstruct(x)
    assert whole.shape == x.shape
    np.testing.assert_array_equal(run.reconstruct(x[:, 0]), whole[:, 0])
    grey = (x * 255).astype(np.uint8)
    np.testing.assert_allclose(run.reconstruct(grey), run.reconstruct((grey / 255).astype(np.float32)), atol=1e-6)
    last = np.moveaxis(np.random.default_rng(0).random((40, 3, 4, 4), dtype=np.float32), 1, -1)
    coloured = fitted(wrap(last, validation=8))
    assert coloured.recipe.model.heads["x"] is not None
    np.testing.assert_array_equal(
        coloured.reconstruct(last),
        np.moveaxis(coloured.reconstruct(np.ascontiguousarray(np.moveaxis(last, -1, 1))), 1, -1),
    )


def test_a_frame_is_reconstructed_as_a_frame_with_its_names(tables: pv.Run) -> None:
    values = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    frame = pd.DataFrame(values, index=list("abcdefg"), columns=[f"column {number}" for number in range(5)])
    found = tables.reconstruct(frame)
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == list(frame.columns)
    assert list(found.index) == list("abcdefg")
    np.testing.assert_array_equal(found.to_numpy(), tables.reconstruct(values))
    assert isinstance(tables.encode(frame), np.ndarray)
    holes = frame.mask(frame > 1)
    mean = tables.complete(holes, weigh="seen", draws=5).mean
    assert isinstance(mean, pd.DataFrame)
    np.testing.assert_array_equal(mean, tables.complete(holes.to_numpy(), weigh="seen", draws=5).mean)


def test_columns_of_a_frame_go_by_their_names_and_categories_by_theirs() -> None:
    columns = (
        pv.Column("real", "size"),
        pv.Column("category", "town", ("Bonn", "Ulm")),
        pv.Column("category", "grade", ("2", "5")),
    )
    spec = pv.Spec((3,), classes=2, levels=None, labels=("no", "yes"), columns=columns)
    run = pv.Run(pv.recipes.vae(spec, seed=0, network="mlp", widths=[8], latent=2))
    coded = np.array([[1.5, 1, 0], [2.5, 0, 1]], dtype=np.float32)
    frame = pd.DataFrame(
        {"class": ["no", "yes"], "grade": [2, 5], "more": [0, 0], "town": ["Ulm", "Bonn"], "size": [1.5, 2.5]}
    )
    expected = run.encode(Split({"x": torch.from_numpy(coded)})).numpy()
    np.testing.assert_array_equal(run.encode(frame), expected)
    np.testing.assert_array_equal(run.encode(np.array([[1.5, 1, 2], [2.5, 0, 5]])), expected)
    found = run.reconstruct(frame)
    assert list(found.columns) == ["size", "town", "grade"]
    assert set(found["town"]) <= {"Bonn", "Ulm"}
    assert set(found["grade"]) <= {2, 5}
    for wrong, message in (
        (frame.drop(columns="town"), "the data lack the column 'town'; add it as NaN"),
        (frame.replace("Ulm", "Jena"), r"column 'town' holds Bonn, Ulm in the data of this run; got \['Jena'\]"),
        (frame.assign(size=["a", "b"]), "column 'size' holds numbers in the data of this run; got text"),
    ):
        with pytest.raises(ValueError, match=message):
            run.encode(wrong)


def test_a_split_a_pair_and_a_list_are_read_too(tables: pv.Run) -> None:
    x = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    expected = tables.encode(x)
    for form in (x.tolist(), (x,), {"x": x}, list(x)):
        np.testing.assert_array_equal(tables.encode(form), expected)
    assert torch.equal(tables.encode(Split({"x": torch.from_numpy(x)})), torch.from_numpy(expected))


def test_labels_are_given_beside_x(tmp_path: Path) -> None:
    run = fitted(pictures(labels=True), "cvae")
    x, y = seen(run)[:6], [0, 1, 2, 0, 1, 2]
    z = run.encode(x, y=y)
    assert not np.array_equal(z, run.encode(x, y=[1] * 6))
    np.testing.assert_allclose(run.decode(z, y=y), run.reconstruct(x, y), atol=1e-6)
    np.testing.assert_array_equal(run.score((x, np.array(y))), run.score(x, y))
    assert run.sample(4, y=2).shape == (4, 1, 4, 4)
    assert run.sample(4, y=[0, 1]).shape == (8, 1, 4, 4)
    for ask in (run.encode, run.reconstruct, run.score):
        with pytest.raises(ValueError, match=r"the model also reads \['y'\]; give y="):
            ask(x)
    for ask in (lambda: run.decode(z), lambda: run.sample(2)):
        with pytest.raises(ValueError, match=r"the model also reads \['y'\]; give y="):
            ask()
    with pytest.raises(ValueError, match=r"labels of the data of this run are 0\.\.2; got 3"):
        run.encode(x, y=[3] * 6)
    with pytest.raises(ValueError, match=r"x holds 6 examples; got \{'y': 2\}"):
        run.encode(x, y=[0, 1])


def test_a_completion_comes_back_in_kind_and_layout() -> None:
    data = pictures()
    run = pv.fit(
        pv.recipes.arbitrary_conditioning(data.spec, seed=0, network="mlp", widths=[8], latent=2),
        data,
        epochs=1,
        progress=False,
    )
    x = seen(run)[:6, 0]
    mask = np.zeros((6, 4, 4))
    mask[:, :2] = 1
    found = run.complete(x, mask, draws=5, keep=2)
    assert isinstance(found.mean, np.ndarray)
    assert found.mean.shape == (6, 4, 4)
    assert found.samples.shape == (2, 6, 4, 4)
    assert found.quantiles.shape == (3, 6, 4, 4)
    unknown = np.where(mask == 1, x, np.nan).astype(np.float32)
    np.testing.assert_array_equal(run.complete(unknown, draws=5).mean, found.mean)
    tensors = pv.complete(run, torch.from_numpy(x[:, None]), torch.from_numpy(mask[:, None]), 5, keep=2)
    np.testing.assert_array_equal(tensors.mean.numpy()[:, 0], found.mean)
    np.testing.assert_array_equal(pv.complete(run, unknown[:, None], draws=5).mean, tensors.mean)
    assert "tensor" not in repr(tensors)


def test_labels_are_given_as_the_data_call_them() -> None:
    spec = pv.Spec((1, 4, 4), classes=2, labels=("ham", "7"))
    run = pv.Run(pv.recipes.cvae(spec, seed=0, network="mlp", widths=[8], latent=2))
    x = np.random.default_rng(0).random((3, 1, 4, 4), dtype=np.float32)
    by_code = pv.Run(replace(run.recipe, call=None)).encode(x, y=[1, 1, 0])
    np.testing.assert_array_equal(run.encode(x, y=["7", "7", "ham"]), by_code)
    np.testing.assert_array_equal(run.encode((x, np.array(["7", "7", "ham"]))), by_code)
    assert run.sample(2, y="ham").shape == (2, 1, 4, 4)
    with pytest.raises(ValueError, match="labels of the data of this run are ham, 7; got 1, spam"):
        run.encode(x, y=["spam", "ham", 1])
