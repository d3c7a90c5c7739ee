"""What a run is asked: encode, decode, reconstruct, sample, complete, score, save; in kind, quietly, the same twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.runs import pictures, same, small, weights
from polyvae.data import Data, Split, wrap
from polyvae.evaluation.bounds import both_bounds
from polyvae.model.laws import value_log_prob


def fitted(data: Data, name: str = "vae", **options: Any) -> pv.Run:
    return pv.fit(small(name, data, **options), data, epochs=1, batch_size=16, progress=False)


@pytest.fixture(scope="module")
def run() -> pv.Run:
    return fitted(pictures())


@pytest.fixture(scope="module")
def tables() -> pv.Run:
    table = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    return fitted(wrap(table, validation=12))


def seen(run: pv.Run) -> np.ndarray:
    shape = run.recipe.call["spec"]["x"]  # pyright: ignore
    return np.random.default_rng(1).random((250, *shape), dtype=np.float32)


ASKED = {
    "encode": lambda run, x: run.encode(x),
    "reconstruct": lambda run, x: run.reconstruct(x),
    "score": lambda run, x: run.score(x),
    "importance": lambda run, x: run.score(x, samples=3),
}


@pytest.mark.parametrize("asked", ASKED)
def test_arrays_come_back_as_arrays_and_tensors_as_tensors(run: pv.Run, asked: str) -> None:
    x = seen(run)
    found, tensor = ASKED[asked](run, x), ASKED[asked](run, torch.from_numpy(x))
    assert isinstance(found, np.ndarray)
    assert isinstance(tensor, Tensor)
    assert not tensor.requires_grad
    assert not tensor.is_inference()
    np.testing.assert_array_equal(found, tensor.numpy())
    assert len(found) == 250


@pytest.mark.parametrize("asked", ASKED)
def test_a_run_answers_the_same_twice_and_leaves_mode_and_generators_alone(run: pv.Run, asked: str) -> None:
    x, before = seen(run), torch.get_rng_state()
    run.model.train()
    try:
        first, second = ASKED[asked](run, x), ASKED[asked](run, x)
        assert all(module.training for module in run.model.modules())
    finally:
        run.model.eval()
    np.testing.assert_array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_values_are_the_models(run: pv.Run) -> None:
    x = torch.from_numpy(seen(run))
    with torch.no_grad():
        q = run.model.encode({"x": x})["z"]
        expected = run.model.decode({"z": q.mean})["x"].mean
    torch.testing.assert_close(run.encode(x), q.mean)
    torch.testing.assert_close(run.reconstruct(x), expected)
    torch.testing.assert_close(run.decode(q.mean), expected)
    torch.testing.assert_close(run.decode(run.encode(x)), run.reconstruct(x))
    both = both_bounds(run, Split({"x": x}), samples=3)
    torch.testing.assert_close(run.score(x, samples=3), both.importance)
    torch.testing.assert_close(run.score(x), both_bounds(run, Split({"x": x}), samples=32).plain)


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


def test_samples_follow_from_their_seed_and_are_draws_of_x(run: pv.Run) -> None:
    first, again, other = run.sample(250), run.sample(250), run.sample(250, seed=1)
    assert isinstance(first, np.ndarray)
    assert first.shape == (250, 1, 4, 4)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first.reshape(250, -1), axis=0)) > 200
    expected = run.sample(250, expected=True)
    assert expected.std() < first.std()
    assert abs(first.mean() - expected.mean()) < 0.05
    with pytest.raises(ValueError, match="count is a whole number of at least 1; got 0"):
        run.sample(0)


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


def test_codes_are_integers_both_ways() -> None:
    data = pictures(side=8)
    recipe = pv.recipes.vq_vae(data.spec, seed=0, codes=8, dim=3, widths=(4, 4))
    run = pv.fit(recipe, data, epochs=1, batch_size=16, progress=False)
    x = seen(run)[:5]
    codes = run.encode(x)
    assert codes.dtype == np.int64
    np.testing.assert_allclose(run.decode(codes), run.reconstruct(x), atol=1e-6)


def test_several_latents_go_by_name() -> None:
    run = fitted(pictures(), "two_level", top=3)
    x = seen(run)[:5]
    z = run.encode(x)
    assert isinstance(z, Mapping)
    assert {name: value.shape for name, value in z.items()} == {"z2": (5, 3), "z1": (5, 2)}
    np.testing.assert_allclose(run.decode(z), run.reconstruct(x), atol=1e-6)
    with pytest.raises(ValueError, match=r"the model's latents are \['z2', 'z1'\]; got \['z2'\]"):
        run.decode(z["z2"])


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


def test_a_run_in_memory_is_saved_and_read_again(run: pv.Run, tmp_path: Path) -> None:
    saved = run.save(tmp_path / "run")
    again = pv.Run.load(tmp_path / "run")
    assert saved.folder == tmp_path / "run"
    assert same(weights(again.recipe), weights(run.recipe))
    assert again.history == run.history
    np.testing.assert_array_equal(again.score(seen(run)), run.score(seen(run)))
    with pytest.raises(pv.RunError, match="run holds a run; choose an empty"):
        run.save(tmp_path / "run")
    with pytest.raises(pv.RunError, match=r"run\.json is a file; choose"):
        run.save(tmp_path / "run" / "run.json")
    with pytest.raises(pv.RunError, match="saved without the state"):
        pv.fit(run.recipe, pictures(), tmp_path / "run", resume=True, epochs=2, batch_size=16, progress=False)


def test_a_saved_copy_of_a_folder_goes_on(tmp_path: Path) -> None:
    data, settings = pictures(), {"batch_size": 16, "progress": False}
    pv.fit(small("vae", data), data, tmp_path / "a", epochs=1, **settings).save(tmp_path / "b")
    for folder in ("a", "b"):
        pv.fit(small("vae", data), data, tmp_path / folder, epochs=2, resume=True, **settings)
    assert same(weights(pv.Run.load(tmp_path / "a").recipe), weights(pv.Run.load(tmp_path / "b").recipe))


def test_a_model_trained_without_a_recipe_by_name_is_saved_too(tmp_path: Path) -> None:
    data = pictures()
    made = small("vae", data)
    run = pv.fit(pv.Recipe(made.model, made.objective), data, epochs=1, progress=False)
    run.save(tmp_path)
    again = pv.Run.load(tmp_path, pv.Recipe(small("vae", data, seed=5).model, made.objective))
    np.testing.assert_array_equal(again.encode(seen_of(data)), run.encode(seen_of(data)))
    with pytest.raises(ValueError, match=r"\[N, 1, 4, 4\]"):
        again.encode(np.zeros((2, 1, 5, 5)))


def seen_of(data: Data) -> np.ndarray:
    return data.train.tensors["x"].numpy()


def test_evaluation_takes_what_fit_takes(tables: pv.Run) -> None:
    x = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    expected = pv.evaluate(tables, Split({"x": torch.from_numpy(x)}), samples=2)
    assert pv.evaluate(tables, x, samples=2) == expected
    data = wrap(x, validation=10, test=0)
    assert pv.evaluate(tables, data, samples=2) == pv.evaluate(tables, data.validation, samples=2)


def test_what_is_printed_is_a_few_lines(run: pv.Run, tables: pv.Run) -> None:
    data = pictures(labels=True)
    for text in (repr(run), repr(tables), repr(data), repr(data.train), repr(pv.Run(run.recipe))):
        assert len(text.splitlines()) <= 5
        assert "tensor(" not in text
        assert max(map(len, text.splitlines())) < 200
    assert "vae(network='mlp'" in repr(run)
    assert "best epoch: 1 of 1; validation plain bound" in repr(run)
    assert "train 48, validation 12" in repr(run)
    assert "3 classes" in repr(data)
    assert "train 48, validation 12, test 0 examples" in repr(data)


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


def test_every_value_of_a_mixed_table_has_its_own_score() -> None:
    columns = (
        pv.Column("real", "size", centre=3.0, scale=2.0),
        pv.Column("category", "town", ("Bonn", "Ulm", "Jena")),
        pv.Column("positive", "price", centre=1.0, scale=0.5),
    )
    spec = pv.Spec((3,), levels=None, columns=columns)
    model = pv.recipes.vae(spec, seed=0, network="mlp", widths=[8], latent=2).model
    x = torch.tensor([[1.5, 1, 2.0], [2.5, 0, 0.1]])
    law = model.decode({"z": torch.randn(2, 2)})["x"]
    values = value_log_prob(law, x)
    assert values.shape == x.shape
    torch.testing.assert_close(values.sum(1), law.log_prob(x))
