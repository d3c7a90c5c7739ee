"""The report on a model of several modalities, its probes and its distances."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from helpers.coherent import CLASSES, copying, triples
from polyvae.checks.finite import NonFiniteError
from polyvae.data import Data, Split
from polyvae.evaluation.frechet import frechet_distance
from polyvae.evaluation.modalities import evaluate_modalities
from polyvae.evaluation.modalities.distances import distance, references
from polyvae.evaluation.modalities.generation import Judged
from polyvae.evaluation.modalities.judges import Judge, judges
from polyvae.evaluation.modalities.probes import linear_probes
from polyvae.recipes import RECIPES, Recipe

NAMES = ("mvae", "mmvae", "mopoe", "jmvae", "mvtcae", "mmvae_plus", "dmvae", "poise")


@pytest.fixture(scope="module")
def data() -> Data:
    return triples()


@pytest.fixture(scope="module")
def judged(data: Data) -> dict[str, Judge]:
    return judges(data, steps=60)


def small(name: str, data: Data) -> Recipe:
    return RECIPES[name](data.spec, seed=0, latent=3)


@pytest.mark.parametrize("name", [name for name in NAMES if name in RECIPES])
def test_every_recipe_of_modalities_is_evaluated(name: str, data: Data, judged: dict[str, Judge]) -> None:
    recipe = small(name, data)
    asked = {"draws": 90, "samples": 3, "scored": 7, "fitted": 100, "judges": judged}
    report = evaluate_modalities(recipe, data, **asked)
    json.dumps(report, allow_nan=False)
    assert report["modalities"] == ["a", "b", "c"]
    assert len(report["coherence"]) == 7 * 3
    assert [each["given"] for each in report["by_count"]] == [1, 2]
    assert [each["given"] for each in report["bounds"]] == [["a"], ["b"], ["c"], ["a", "b", "c"]]
    assert len(report["predictive"]) == 3 * 3 + 3
    assert 0 <= report["joint"]["coherence"] <= 1 < report["joint"]["frechet"]["c"]
    assert {each["frechet"] is None for each in report["coherence"] if each["target"] != "c"} == {True}
    assert evaluate_modalities(recipe, data, **asked) == report


def test_a_bare_model_is_evaluated_as_the_data_say(data: Data, judged: dict[str, Judge]) -> None:
    two = replace(data, spec=replace(data.spec, modalities=data.spec.modalities[:2]))
    report = evaluate_modalities(copying(), two, draws=90, samples=2, scored=5, fitted=100, judges=judged)
    assert {each["target"] for each in report["coherence"]} == {"a", "b"}
    assert min(each["coherence"] for each in report["coherence"]) > 0.95
    assert list(report["judges"]) == ["a", "b"]


def test_what_is_not_asked_for_is_not_there(data: Data, judged: dict[str, Judge]) -> None:
    report = evaluate_modalities(small("mvae", data), data, draws=0, fitted=0, samples=0, judges=judged)
    assert set(report) == {"modalities", "examples", "seed", "notes"}
    assert any(note.startswith("no coherence") for note in report["notes"])
    assert not any(
        note.startswith("no coherence")
        for note in evaluate_modalities(small("mvae", data), data, draws=90, fitted=0, samples=0, judges=judged)[
            "notes"
        ]
    )


def test_a_model_whose_weights_are_broken_is_refused(data: Data) -> None:
    recipe = small("mvae", data)
    with torch.no_grad():
        next(recipe.model.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError):
        evaluate_modalities(recipe, data)


def test_an_unknown_setting_is_refused(data: Data) -> None:
    with pytest.raises(TypeError, match="did you mean draws"):
        evaluate_modalities(small("mvae", data), data, drawz=3)


def test_probes_read_what_codes_hold(data: Data) -> None:
    specs = {name: spec for name, spec in data.spec.values.items() if name != "c"}
    found = linear_probes(copying(), data.train, data.test, specs, fitted=150)
    assert {(each.given, each.latent, each.dimensions) for each in found} == {
        (("a",), "z", 4),
        (("b",), "z", 4),
        (("a", "b"), "z", 4),
    }
    assert all(each.accuracy > 0.98 for each in found)


def test_a_probe_is_judged_on_other_rows_than_it_learned_from(data: Data) -> None:
    specs = {name: spec for name, spec in data.spec.values.items() if name != "c"}
    wrong = {**data.test.tensors, "y": (data.test.tensors["y"] + 1) % CLASSES}
    assert max(each.accuracy for each in linear_probes(copying(), data.train, Split(wrong), specs)) < 0.02


def test_several_latents_are_probed_alone_and_side_by_side(data: Data) -> None:
    found = linear_probes(small("dmvae", data), data.train, data.test, data.spec.values, [("a",)], fitted=100)
    sizes = {each.latent: each.dimensions for each in found}
    assert sizes == {"z": 3, "w_a": 10, "w_b": 10, "w_c": 10, "all": 33}


def test_distances_are_taken_at_the_count_of_the_real_ones(data: Data, judged: dict[str, Judge]) -> None:
    real = references(data.train, data.test, judged, most=1000)
    assert set(real) == {"c"}
    assert len(real["c"].features) == 90
    draws = torch.Generator().manual_seed(0)
    made = real["c"].features[torch.randperm(90, generator=draws)]
    more = torch.cat([made, 1e3 * torch.ones(5, made.shape[1])])
    assert distance(Judged(torch.zeros(95), more), real["c"]) == pytest.approx(0.0, abs=1e-3)
    assert distance(Judged(torch.zeros(90), made + 1), real["c"]) == pytest.approx(made.shape[1], rel=1e-3)
    assert distance(Judged(torch.zeros(95), None), real["c"]) is None
    with pytest.raises(ValueError, match="90 real pictures"):
        distance(Judged(torch.zeros(5), made[:5]), real["c"])


def test_the_least_distance_is_that_of_real_training_pictures(data: Data, judged: dict[str, Judge]) -> None:
    twice = replace(data, train=data.test)
    assert references(twice.train, twice.test, judged)["c"].distance == pytest.approx(0.0, abs=1e-3)
    found = references(data.train, data.test, judged)["c"]
    assert found.distance > frechet_distance(found.features, found.features) + 1e-3
