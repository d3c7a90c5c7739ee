"""Every setting checked, schedules by their formulas, what may change when a run goes on."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import polyvae as pv
from helpers.runs import pictures, same, small, weights
from polyvae.training.settings import Settings, checked, chosen

NAMES = {field.name for field in fields(Settings)}
BAD: dict[str, list[Any]] = {
    "epochs": [-1, 1.5, "3", True],
    "batch_size": [0, -4, 2.0, "128", None],
    "lr": [0.0, -1.0, math.nan, math.inf, "fast", None],
    "weight_decay": [-0.1, math.nan, None],
    "schedule": ["Cosine", "step", None, 1],
    "warmup": [-1, 0.5, None],
    "clip": [0.0, -1.0, math.inf, "1"],
    "average": [0.0, 1.0, 1.5, -0.1, "0.9"],
    "patience": [0, 1.5],
    "max_steps": [0, -1, 2.5],
    "minutes": [0.0, -1, math.inf, "5"],
    "clock": ["cpu", "Wall", None, 1],
    "seed": [-1, 2**63, 0.5, None],
    "device": ["gpu", "cuda:0", None],
    "devices": [0, -1, None, "2"],
    "precision": ["float32", "16", None],
    "compile": [1, "yes", None],
    "tensorboard": [0, "no", None],
    "save_every": [-1.0, math.nan, None],
}


def test_every_setting_has_a_rule() -> None:
    assert set(BAD) == NAMES
    Settings()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_value_is_refused_with_name_rule_and_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} is ") as caught:
        Settings(**{name: value})
    assert str(caught.value).endswith(f"got {value!r}")


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match=r"no setting is named 'learning_rate'; did you mean lr\? The settings are"):
        checked({"learning_rate": 1})
    with pytest.raises(TypeError, match="'batchsize'; did you mean batch_size"):
        checked({"batchsize": 1})
    assert checked({"lr": 0.1}) == Settings(lr=0.1)


def test_fit_takes_settings_as_one_object_or_by_name_and_not_both() -> None:
    data, given = pictures(), {"epochs": 1, "batch_size": 16, "lr": 0.01, "clip": 1.0, "device": "cpu"}
    named, whole = small("vae", data), small("vae", data)
    one = pv.fit(named, data, progress=False, **given)
    other = pv.fit(whole, data, progress=False, settings=Settings(**given))
    assert same(weights(named), weights(whole))
    assert one.description["settings"] == other.description["settings"]
    with pytest.raises(TypeError, match=r"lr, seed beside settings=; say it there, dataclasses\.replace"):
        pv.fit(whole, data, settings=Settings(), lr=0.1, seed=1)
    with pytest.raises(TypeError, match=r"settings is a polyvae\.Settings; got a dict"):
        pv.fit(whole, data, settings=given)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="weight_decay would not be read beside optimizer="):
        pv.fit(whole, data, settings=Settings(weight_decay=0.1), optimizer=torch.optim.SGD)
    assert chosen(Settings(lr=0.1), {}) == (Settings(lr=0.1), {"lr"})


def test_settings_survive_json() -> None:
    settings = Settings(lr=3e-4, average=0.999, clip=0.1, seed=2**63 - 1)
    assert Settings(**json.loads(json.dumps(asdict(settings)))) == settings


def test_warm_up_rises_to_the_rate_and_the_schedules_fall_from_it() -> None:
    cosine = Settings(lr=2.0, schedule="cosine", warmup=4)
    rates = [cosine.learning_rate(step, 24) for step in range(24)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[14] == pytest.approx(1.0)
    assert rates[23] == pytest.approx(2.0 * (1 - math.cos(math.pi / 20)) / 2)
    linear = Settings(lr=2.0, schedule="linear")
    assert [linear.learning_rate(step, 4) for step in range(4)] == [2.0, 1.5, 1.0, 0.5]
    assert {Settings(lr=2.0).learning_rate(step, 4) for step in range(4)} == {2.0}


@given(st.sampled_from(["constant", "cosine", "linear"]), st.integers(0, 50), st.integers(1, 100))
def test_the_rate_is_positive_up_to_the_last_step_and_never_above_lr(schedule: str, warmup: int, steps: int) -> None:
    settings = Settings(lr=0.5, schedule=schedule, warmup=warmup)  # pyright: ignore[reportArgumentType]
    rates = [settings.learning_rate(step, steps) for step in range(steps)]
    assert all(0 < rate <= 0.5 for rate in rates)
    assert all(later <= earlier for earlier, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))


def test_what_decides_the_weights_may_not_change_when_a_run_goes_on() -> None:
    recorded = json.loads(json.dumps(asdict(Settings())))
    free = {
        "epochs": 20, "max_steps": 5, "patience": 3, "device": "cpu", "compile": True, "tensorboard": True,
        "save_every": 1.0, "minutes": 2.5, "clock": "processor",
    }  # fmt: skip
    assert Settings(**free).differences(recorded) == []
    others = {
        "batch_size": 64, "lr": 0.1, "weight_decay": 0.0, "schedule": "linear", "warmup": 1, "clip": 1.0,
        "average": 0.9, "seed": 1, "devices": 2, "precision": "bf16",
    }  # fmt: skip
    assert set(free) | set(others) == NAMES
    for name, value in others.items():
        assert Settings(**{name: value}).differences(recorded) == [f"{name}: {recorded[name]} then, {value} now"]
    assert Settings(lr=0.1).differences({}) != []


def test_a_falling_schedule_fixes_the_number_of_epochs() -> None:
    recorded = asdict(Settings(schedule="cosine", epochs=10))
    longer = Settings(schedule="cosine", epochs=20, max_steps=3)
    assert longer.differences(recorded) == ["epochs: 10 then, 20 now"]
    longer = Settings(schedule="cosine", epochs=10, minutes=3)
    assert longer.differences(recorded) == ["minutes: None then, 3 now"]


@pytest.mark.parametrize(("given", "told"), [(Settings(), "a Settings; settings go by name: settings="), (7, "a int$")])
def test_what_is_given_in_the_place_of_a_folder_is_told(given: Any, told: str) -> None:
    with pytest.raises(TypeError, match=f"run is a folder; got {told}"):
        pv.fit("vae", torch.zeros(20, 3), given)


def test_whose_minutes_count_does_not_matter_where_none_are_counted() -> None:
    falling = Settings(epochs=3, schedule="cosine")
    recorded = json.loads(json.dumps(asdict(falling)))
    assert replace(falling, clock="processor").differences(recorded) == []
    recorded["minutes"] = 2.0
    assert replace(falling, minutes=2.0, clock="processor").differences(recorded) == ["clock: wall then, processor now"]
