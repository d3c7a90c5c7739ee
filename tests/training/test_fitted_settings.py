"""What a fitted prior chooses itself, what it is trained with unless told otherwise, and what it computes once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.fitted import SMALL, clouds, mean_bound, trained
from helpers.runs import same, weights
from polyvae.training.second_stage import latent_data, with_prior


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    """A run whose folder is new."""
    return trained(tmp_path_factory.mktemp("fitted") / "run")


def test_a_mixture_without_a_number_takes_the_one_of_the_best_density_of_draws_held_out(run: pv.Run) -> None:
    prior = pv.fit_prior(run, clouds(), "mixture", **SMALL)
    chosen = prior.history[0]["components"]
    assert chosen == 5  # of 1, 5 and 10, which 180 draws allow, for three clouds
    assert prior.model.prior["z"].loc.shape == (chosen, 2)
    assert mean_bound(with_prior(run)) == pytest.approx(mean_bound(with_prior(run, prior)), abs=1e-5)
    again = pv.fit_prior(pv.Run(run.recipe), clouds(), "mixture", **SMALL)
    assert same(weights(again.recipe), weights(prior.recipe))
    assert pv.fit_prior(pv.Run(run.recipe), clouds(65), "mixture", **SMALL).history[0]["components"] == 1
    fixed = pv.fit_prior(pv.Run(run.recipe), clouds(), "mixture", components=7, **SMALL)
    assert (len(fixed.model.prior["z"].loc), fixed.history[0]["components"]) == (7, 7)


def test_a_velocity_is_trained_with_settings_of_its_own_unless_told_otherwise(run: pv.Run) -> None:
    run = pv.Run(run.recipe)
    prior = pv.fit_prior(run, clouds(), "flow-matching", epochs=1, progress=False, average=0.9)
    settings = prior.description["settings"]
    assert [settings[name] for name in ("batch_size", "lr", "schedule", "average")] == [512, 2e-3, "cosine", 0.9]
    assert prior.recipe.call == prior.description["recipe"]
    assert prior.description["recipe"]["options"] == {"steps": 10, "solver": "rk4", "widths": [256, 256]}
    plain = pv.fit_prior(run, clouds(), "flow-matching", settings=pv.Settings(epochs=1), progress=False)
    assert plain.description["settings"]["schedule"] == "constant"
    flow = pv.fit_prior(run, clouds(), "flow", epochs=0, transforms=1, progress=False)
    assert flow.description["recipe"]["options"]["widths"] == [128, 128]


def encodings(run: pv.Run) -> list[int]:
    """The rows of every call of the encoder, from now on, also of copies of the model."""
    calls: list[int] = []
    run.model.posterior["z"].register_forward_hook(lambda part, given, law: calls.append(len(law.mean)))
    return calls


def test_posteriors_are_computed_once_and_drawn_from_as_before() -> None:
    run, index = trained(None), torch.arange(10)
    calls = encodings(run)
    latents = latent_data(run, clouds())
    assert sorted(calls) == [50, 200]
    torch.manual_seed(0)
    found = latents.train.batch(index)["x"]
    assert sorted(calls) == [50, 200]
    torch.manual_seed(0)
    torch.testing.assert_close(found, run.model.infer(clouds().train.batch(index)).values["z"])


def shaken(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**values, "x": values["x"] + torch.randn_like(values["x"])}


@pytest.mark.parametrize(
    ("name", "options", "transform"),
    [("vae", {}, shaken), ("semi_conditional", {"count": 0.5}, None), ("full_covariance", {}, None)],
)
def test_examples_that_are_read_otherwise_each_time_are_encoded_at_every_look(
    name: str, options: dict[str, Any], transform: Any
) -> None:
    run, data, index = trained(None, name, **options), clouds(), torch.arange(10)
    calls = encodings(run)
    state = torch.get_rng_state()
    latents = latent_data(run, replace(data, train=replace(data.train, transform=transform)))
    assert state.equal(torch.get_rng_state())
    latents.train.batch(index)
    before = len(calls)
    latents.train.batch(index)
    assert calls[before:] == [10]
