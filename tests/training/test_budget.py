"""Trainings that end when their time is up, by a clock that moves a second a step and two a validation."""

from __future__ import annotations

import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.cli import main
from polyvae.training import budget
from polyvae.training.budget import Budget
from polyvae.training.loop import Loop
from polyvae.training.progress import Lines, reporter
from polyvae.training.settings import ENDLESS, Settings
from polyvae.training.store import STATE, WEIGHTS, RunError, read_tensors

STEPS = 4  # an epoch: 48 examples, 12 a step


class Clock:
    """Seconds by steps and validations; `at` says what to do once a step is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.steps, self.at = 1000.0, 0, {}
        step, validated = Loop._step, Loop._validated

        def stepped(loop: Loop, index: Any) -> None:
            step(loop, index)
            self.now, self.steps = self.now + 1, self.steps + 1
            self.at.get(self.steps, lambda: None)()

        def slow(loop: Loop) -> Any:
            self.now += 2
            return validated(loop)

        monkeypatch.setattr(budget, "monotonic", lambda: self.now)
        monkeypatch.setattr(Loop, "_step", stepped)
        monkeypatch.setattr(Loop, "_validated", slow)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def trained(folder: Path | None = None, **settings: Any) -> pv.Run:
    data = pictures()
    given = {"batch_size": 12, "lr": 1e-2, "seed": 3, "progress": False, **settings}
    return pv.fit(small("vae", data), data, folder, **given)


def test_without_epochs_a_run_goes_on_until_its_time_is_up_within_an_epoch(clock: Clock, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", minutes=15 / 60)  # 4 + 2, 4 + 2, 3
    assert [row["step"] for row in run.history] == [4, 8, 11]
    assert all(math.isfinite(row["validation_bound"]) for row in run.history)
    numbers = read_tensors(tmp_path / "run" / STATE)[1]
    assert (numbers["epoch"], numbers["batch"], numbers["spent"]) == (3, 0, 17.0)
    best = read_tensors(tmp_path / "run" / WEIGHTS)[0]
    assert same({f"model.{name}": value for name, value in best.items()}, weights(run.recipe))
    assert run.description["settings"]["minutes"] == 0.25
    clock.now += 1000
    again = trained(tmp_path / "run", minutes=15 / 60, resume=True)
    assert [row["step"] for row in again.history] == [4, 8, 11]


def test_what_is_fitted_before_the_first_step_takes_its_time(clock: Clock, tmp_path: Path) -> None:
    data = pictures()

    def start(values: Any) -> None:
        clock.now += 8

    recipe = replace(small("vae", data), start=start)
    given = {"batch_size": 12, "seed": 3, "progress": False}
    run = pv.fit(recipe, data, tmp_path / "run", minutes=15 / 60, **given)  # 8, then 4 + 2, 1
    assert [row["step"] for row in run.history] == [4, 5]
    assert read_tensors(tmp_path / "run" / STATE)[1]["spent"] == 17.0


@pytest.mark.parametrize(("epochs", "minutes", "steps"), [(2, 1.0, [4, 8]), (2, 5 / 60, [4]), (2, 7 / 60, [4, 5])])
def test_epochs_or_minutes_whichever_end_first(clock: Clock, epochs: int, minutes: float, steps: list[int]) -> None:
    assert [row["step"] for row in trained(epochs=epochs, minutes=minutes).history] == steps


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_stopped_and_gone_on_with_is_the_run_that_was_not(clock: Clock, tmp_path: Path, schedule: str) -> None:
    given = {"minutes": 20 / 60, "schedule": schedule, "warmup": 2}
    whole = trained(tmp_path / "whole", **given)
    expected = weights(whole.recipe)
    for step in (1, 6, 10):
        folder = tmp_path / str(step)
        trained(folder, max_steps=step, **given)
        clock.now += 1000
        again = trained(folder, resume=True, **given)
        assert same(weights(again.recipe), expected), step
        assert timeless(again.history) == timeless(whole.history)


def test_ctrl_c_keeps_what_was_spent(clock: Clock, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", minutes=15 / 60)
    clock.at = {clock.steps + 6: lambda: os.kill(os.getpid(), signal.SIGINT)}
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", minutes=15 / 60)
    assert read_tensors(tmp_path / "run" / STATE)[1]["spent"] == 8.0
    again = trained(tmp_path / "run", minutes=15 / 60, resume=True)
    assert timeless(again.history) == timeless(whole.history)
    assert same(weights(again.recipe), weights(whole.recipe))


def test_a_schedule_falls_with_the_time(clock: Clock) -> None:
    rates = [row["lr"] for row in trained(minutes=20 / 60, schedule="cosine").history]
    gone = [3, 9, 15, 19]  # before the last step of each epoch
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * each / 20)) / 2 for each in gone])
    rates = [row["lr"] for row in trained(epochs=2, minutes=1000, schedule="linear").history]
    assert rates == pytest.approx([0.01 * (1 - 3 / 8), 0.01 * (1 - 7 / 8)])


def test_more_minutes_go_on_with_the_next_epoch_but_not_under_a_falling_schedule(clock: Clock, tmp_path: Path) -> None:
    trained(tmp_path / "run", minutes=7 / 60)
    more = trained(tmp_path / "run", minutes=15 / 60, resume=True)
    assert [row["step"] for row in more.history] == [4, 5, 9]
    trained(tmp_path / "falling", minutes=7 / 60, schedule="cosine")
    with pytest.raises(RunError, match=r"minutes: 0\.1\d* then, 1 now"):
        trained(tmp_path / "falling", minutes=1, schedule="cosine", resume=True)


def test_a_run_of_epochs_may_go_on_by_minutes_and_one_without_a_clock_in_its_state(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polyvae.training import resume

    kept = resume._numbers
    monkeypatch.setattr(resume, "_numbers", lambda loop: {k: v for k, v in kept(loop).items() if k != "spent"})
    trained(tmp_path / "run", epochs=1)
    monkeypatch.undo()
    again = trained(tmp_path / "run", epochs=9, minutes=1e-9, resume=True)
    assert [row["step"] for row in again.history] == [4]


def test_what_a_budget_cannot_do_is_told() -> None:
    with pytest.raises(ValueError, match="minutes are those of one process; with devices = 2"):
        Settings(minutes=1, devices=2)
    data = pictures(labels=True)
    recipe = pv.recipes.vade(data.spec, latent=2, network="mlp", widths=[8], clusters=3, seed=0)
    with pytest.raises(ValueError, match="minutes: this model settles after a share of its epochs"):
        pv.fit(recipe, data, minutes=1, progress=False)
    assert Settings(minutes=1).resolved(100).epochs == ENDLESS
    assert Settings(minutes=1, epochs=3).resolved(100).epochs == 3


def test_lines_tell_the_time_that_is_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    here = reporter(True, ENDLESS, ENDLESS * 10, 0, Budget(1.0))
    assert isinstance(here, Lines)
    monkeypatch.setattr("time.monotonic", lambda: here.pace.began + 20.0)
    here.show(1, 10, {"loss": 8.0}, 50.0)
    assert capsys.readouterr().err == "epoch 1  loss 8.00  50/s, about 40 s left\n"


def test_the_command_takes_minutes(clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--limit", "60", "--network", "mlp", "--widths", "4", "--latent", "2", "--batch-size", "12"]
    line = ["train", "vae", "--data", "digits", *options, "--minutes", str(7 / 60), "--run", str(tmp_path / "run")]
    assert main(line) in (0, None)
    assert "--minutes" in capsys.readouterr().out
    assert main(["train", "--resume", "--run", str(tmp_path / "run")]) in (0, None)
    assert "has had all its 0.116667 minutes; ask for more with --minutes" in capsys.readouterr().err


def test_a_processor_s_time_passes_while_it_works_and_not_while_it_waits() -> None:
    waiting, working = Budget(1, "processor"), Budget(1, "processor")
    waiting.begin()
    time.sleep(0.3)
    assert waiting.spent < 0.1
    working.begin()
    begun = time.process_time()
    while time.process_time() < begun + 0.2:
        pass
    assert 0.2 <= working.spent < 0.3


def test_minutes_of_processors_end_a_training_by_their_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter(range(10_000))
    monkeypatch.setattr(budget, "process_time", lambda: float(next(spent)))
    assert trained(minutes=1, clock="processor").history[-1]["step"] < 60
