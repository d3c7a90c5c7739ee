"""Coherence of what models of several modalities make, where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.coherent import CLASSES, Nearest, centres, copying, triples
from polyvae.data import Data, Split
from polyvae.data.memory_maps import Rows
from polyvae.evaluation.modalities.coherence import (
    Cross,
    Share,
    by_count,
    cross_coherence,
    joint_coherence,
    real_agreement,
    share,
)
from polyvae.evaluation.modalities.generation import Translator, translated
from polyvae.evaluation.modalities.given import specs_of
from polyvae.evaluation.modalities.judges import Judge, judges, real
from polyvae.model.presence import present


@pytest.fixture(scope="module")
def data() -> Data:
    return triples()


@pytest.fixture(scope="module")
def judged(data: Data) -> dict[str, Judge]:
    return judges(data, steps=60)


def pair(data: Data) -> dict[str, pv.Spec]:
    return {name: spec for name, spec in data.spec.values.items() if name != "c"}


def found(of: list[Cross]) -> dict[tuple[tuple[str, ...], str], float]:
    return {(each.given, each.target): each.coherence.value for each in of}


def test_judges_know_real_values_and_say_how_well(judged: dict[str, Judge]) -> None:
    assert {name: judge.picture for name, judge in judged.items()} == {"a": False, "b": False, "c": True}
    assert all(judge.accuracy is not None and judge.accuracy > 0.98 for judge in judged.values())


def test_a_judges_accuracy_is_told_of_the_test_part(data: Data) -> None:
    wrong = {**data.test.tensors, "y": (data.test.tensors["y"] + 1) % CLASSES}
    held = judges(replace(data, test=Split(wrong)), steps=60)
    assert all(judge.accuracy is not None and judge.accuracy < 0.02 for judge in held.values())


def test_judges_see_a_value_that_stands_in_many_rows_once() -> None:
    held = {"a": torch.arange(3.0)[:, None], "y": torch.tensor([0, 1, 1, 2, 2, 2])}
    split = Split(Rows(held, {"a": torch.tensor([0, 1, 1, 2, 2, 2])}))
    once = real(split, "a").tensors
    assert once["x"].flatten().tolist() == [0.0, 1.0, 2.0]
    assert once["y"].tolist() == [0, 1, 2]


def test_judges_leave_out_rows_without_the_modality() -> None:
    split = Split(
        {"a": torch.arange(3.0)[:, None], "y": torch.arange(3), present("a"): torch.tensor([True, False, True])}
    )
    assert real(split, "a").tensors["y"].tolist() == [0, 2]


def test_what_is_copied_is_coherent_every_way(data: Data, judged: dict[str, Judge]) -> None:
    two = {name: judged[name] for name in ("a", "b")}
    made = found(cross_coherence(Translator(copying(), pair(data)), data.test, two, draws=200))
    assert set(made) == {(names, m) for names in (("a",), ("b",), ("a", "b")) for m in "ab"}
    assert min(made.values()) > 0.98


def test_a_model_that_overlooks_flags_is_told_nothing_by_values(data: Data, judged: dict[str, Judge]) -> None:
    """Its posterior averages a and b whatever the flags say: what is hidden must count as zeros in it."""
    two = {name: judged[name] for name in ("a", "b")}
    swapped = {
        **data.test.tensors,
        "a": 5 * data.test.tensors["b"],
        "b": 5 * centres()[(data.test.tensors["y"] + 1) % CLASSES],
    }
    made = found(
        cross_coherence(Translator(copying(heedless=True), pair(data)), Split(swapped), two, [("a",)], draws=200)
    )
    assert made[("a",), "b"] > 0.98


def test_labels_are_not_shown(data: Data, judged: dict[str, Judge]) -> None:
    shown: list[set[str]] = []

    def spy(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        shown.append(set(values))
        return {"b": values["a"]}

    cross_coherence(spy, data.test, judged, [("a",)], draws=10)
    assert shown == [{"a"}]
    reads_y = recipe_that_reads_y()
    with pytest.raises(ValueError, match="reads 'y' too"):
        Translator(reads_y, pair(data))


class Told(Nearest):
    """A posterior that reads the label too."""

    given = (*Nearest.given, "y")


def recipe_that_reads_y() -> pv.VAE:
    model = copying()
    return pv.VAE(Told(), dict(model.prior.items()), dict(model.heads.items()))


def test_a_constant_picture_is_as_coherent_as_its_class_is_frequent(data: Data, judged: dict[str, Judge]) -> None:
    first = data.test.tensors["c"][:1]
    label = int(data.test.tensors["y"][0])
    made = cross_coherence(
        lambda values: {"c": first.expand(len(values["a"]), -1, -1, -1)}, data.test, judged, [("a",)], draws=90
    )
    assert made[0].coherence.value == pytest.approx(float((data.test.tensors["y"] == label).double().mean()))


def test_draws_run_through_all_rows_and_over_again(data: Data, judged: dict[str, Judge]) -> None:
    made = translated(lambda values: {"b": values["a"]}, data.test, ["a"], judged, draws=225)["b"]
    assert made.rows is not None
    assert sorted(torch.bincount(made.rows, minlength=90).unique().tolist()) == [2, 3]
    assert made.rows.tolist() != sorted(made.rows.tolist())


def test_rows_without_what_is_given_are_left_out(data: Data, judged: dict[str, Judge]) -> None:
    there = data.test.tensors["y"] != 0
    split = Split({**data.test.tensors, present("a"): there, "a": data.test.tensors["a"] * there[:, None]})
    made = translated(lambda values: {"b": values["a"]}, split, ["a"], judged, draws=100)["b"]
    assert 0 not in made.classes.tolist()


def test_joint_draws_agree_where_one_z_makes_both(data: Data, judged: dict[str, Judge]) -> None:
    two = {name: judged[name] for name in ("a", "b")}
    agreed, seen = joint_coherence(Translator(copying(), pair(data)), two, draws=300)
    assert agreed.value > 0.98
    assert torch.bincount(seen["a"].classes, minlength=CLASSES).min() > 60
    assert real_agreement(data.test, judged).value > 0.97


def test_nothing_hangs_on_what_was_drawn_before(data: Data, judged: dict[str, Judge]) -> None:
    two = {name: judged[name] for name in ("a", "b")}
    translator = Translator(copying(), pair(data))
    first = cross_coherence(translator, data.test, two, draws=150, seed=3)
    torch.randn(7)
    state = torch.get_rng_state()
    assert cross_coherence(translator, data.test, two, draws=150, seed=3) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_of_one_row_count_as_one_observation() -> None:
    hits = torch.tensor([True, True, False, False])
    assert share(hits) == Share(0.5, 0.25, 4)
    assert share(hits, torch.tensor([0, 0, 1, 1])) == Share(0.5, sqrt(2.0) / 4, 4)


def test_coherence_by_count_weighs_targets_alike() -> None:
    values = {("a", "b"): 0.2, ("a", "c"): 0.4, ("b", "a"): 0.6, ("c", "a"): 1.0}
    made = [Cross((given,), target, Share(value, 0.0, 1)) for (given, target), value in values.items()]
    made += [Cross(("a", "b"), "c", Share(0.9, 0.0, 1)), Cross(("a", "b"), "a", Share(0.1, 0.0, 1))]
    assert by_count(made) == {1: pytest.approx((0.2 + 0.4 + 0.8) / 3), 2: pytest.approx(0.9)}


def test_what_cannot_be_judged_is_refused(data: Data, judged: dict[str, Judge]) -> None:
    unlabelled = Split({name: value for name, value in data.test.tensors.items() if name != "y"})
    with pytest.raises(ValueError, match="label y"):
        cross_coherence(lambda values: {}, unlabelled, judged, [("a",)])
    with pytest.raises(ValueError, match="several modalities"):
        specs_of(pv.recipes.RECIPES["vae"](pv.Spec((4,), levels=None)))
    with pytest.raises(ValueError, match="draws"):
        translated(lambda values: {}, data.test, ["a"], judged, draws=0)
