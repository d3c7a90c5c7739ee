"""What a run is asked: encode, decode, reconstruct, sample, score; quietly, the same twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.runs import fitted, pictures, seen
from polyvae.data import Split, wrap
from polyvae.evaluation.bounds import both_bounds
from polyvae.model.laws import value_log_prob

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


def test_a_batch_of_one_example_that_statistics_are_asked_of_is_refused_by_name() -> None:
    data = pictures()
    with pytest.raises(ValueError, match="batch_size is at least 2 for a network that normalises by the statistics"):
        pv.fit(pv.recipes.vae(data.spec, widths=(4, 4), seed=0), data, batch_size=1, epochs=1, progress=False)
