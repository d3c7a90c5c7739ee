"""Labelled examples drawn from a conditional run: their counts, their seeds, and where their latents lie."""

from typing import Any

import numpy as np
import pytest
import torch

import polyvae as pv
from polyvae.data.split import Split

COUNT = 60


@pytest.fixture(scope="module")
def made() -> tuple[pv.Run, pv.data.Data]:
    random = np.random.default_rng(0)
    y = np.tile([2, 5, 9], COUNT // 3)
    x = (random.random((COUNT, 8, 8)) * 60 + y[:, None, None] * 20).astype(np.uint8)
    data = pv.data.wrap((x, y))
    recipe = pv.recipes.cvae(data, latent=3, network="mlp", widths=(16,), dropped=0.1, seed=0)
    return pv.fit(recipe, data, epochs=3, seed=0, progress=False), data


def test_only_examples_whose_label_is_known_are_drawn_from(made: Any) -> None:
    run, data = made
    known = torch.arange(len(data.train)) % 2 == 0
    tensors = data.train.tensors
    some, few = Split({**tensors, "y": tensors["y"] * known, "y_known": known}), data.train.take(known.nonzero()[:, 0])
    for how in ("prior", "posterior"):
        one, other = (pv.augment(run, each, 5, how, seed=1).tensors["x"] for each in (some, few))
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="the data have no labels y"):
        pv.augment(run, Split({**tensors, "y_known": known & False}), 5)


@pytest.mark.parametrize("how", ["prior", "posterior", "interpolation"])
def test_so_many_of_each_class_in_the_shape_of_the_data_by_seed(made: Any, how: Any) -> None:
    run, data = made
    found, again, other = (pv.augment(run, data, 7, how, seed=seed) for seed in (1, 1, 2))
    assert found.tensors["x"].shape == (21, 1, 8, 8)
    assert found.tensors["y"].tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert torch.equal(found.tensors["x"], again.tensors["x"])
    assert not torch.equal(found.tensors["x"], other.tensors["x"])
    assert float(found.tensors["x"].min()) >= 0
    assert float(found.tensors["x"].max()) <= 1


def test_near_the_centre_of_the_posterior_is_the_reconstruction_of_an_example_of_the_class(made: Any) -> None:
    run, data = made
    found = pv.augment(run, data.train, 20, "posterior", temperature=1e-4)
    whole = run.reconstruct(data.train)
    for label in range(3):
        rows = found.tensors["x"][found.tensors["y"] == label].flatten(1)
        own = whole[data.train.tensors["y"] == label].flatten(1).clamp(0, 1)
        assert float(torch.cdist(rows, own).amin(1).max()) < 1e-2


def test_between_two_copies_of_one_example_lies_that_example(made: Any) -> None:
    run, data = made
    index = torch.tensor([int((data.train.tensors["y"] == label).nonzero()[0]) for label in range(3)])
    single = data.train.take(index)
    found = pv.augment(run, single, 4, "interpolation")
    expected = run.reconstruct(single).clamp(0, 1).repeat_interleave(4, 0)
    assert torch.allclose(found.tensors["x"], expected, atol=1e-5)


def test_what_is_drawn_from_the_prior_is_what_the_run_samples_in_law(made: Any) -> None:
    run, data = made
    found = pv.augment(run, data, 3000, "prior", seed=1).tensors["x"].unflatten(0, (3, 3000)).mean(1)
    direct = (
        run.sample(3000, y=torch.tensor([2, 5, 9]), expected=True, seed=2).unflatten(0, (3000, 3)).clamp(0, 1).mean(0)
    )
    assert torch.allclose(found, direct, atol=0.01)


def test_tables_are_drawn_with_the_noise_of_their_likelihood() -> None:
    random = np.random.default_rng(0)
    data = pv.data.wrap((random.normal(size=(90, 2)), np.tile([0, 1, 2], 30)))
    run = pv.fit(pv.recipes.cvae(data, latent=1, network="mlp", widths=(8,), seed=0), data, epochs=1, progress=False)
    noisy, plain = (pv.augment(run, data, 400, noise=noise).tensors["x"] for noise in (None, False))
    assert float(noisy.std()) > 1.2 * float(plain.std())


def test_what_cannot_be_augmented_is_refused_by_name(made: Any) -> None:
    run, data = made
    rows = data.train.tensors["y"] > 0
    some = Split({name: value[rows] for name, value in data.train.tensors.items()})
    with pytest.raises(ValueError, match="the data have no example of the class 2"):
        pv.augment(run, some, 3)
    with pytest.raises(ValueError, match="temperature moves draws about a real example"):
        pv.augment(run, data, 3, temperature=0.5)
    with pytest.raises(ValueError, match="how is one of prior, posterior, interpolation"):
        pv.augment(run, data, 3, "postrior")  # pyright: ignore[reportArgumentType]
    plain = pv.fit(pv.recipes.vae(data, latent=2, network="mlp", widths=(4,)), data, epochs=1, progress=False)
    with pytest.raises(ValueError, match="conditioned on labels y; this one is not: train cvae"):
        pv.augment(plain, data, 3)
