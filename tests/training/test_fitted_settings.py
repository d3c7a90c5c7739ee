"""What a fitted prior computes once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.fitted import clouds, trained
from polyvae.training.second_stage import latent_data


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
