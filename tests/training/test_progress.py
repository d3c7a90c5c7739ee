"""What a terminal shows of a training."""

from __future__ import annotations

import io
import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import polyvae as pv
from helpers.runs import pictures, small
from polyvae.cli import main
from polyvae.training import progress
from polyvae.training.progress import EpochBar, Lines, Silent, counted, reporter


def shown(bar: EpochBar) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", bar.progress.console.file.getvalue())  # pyright: ignore


def bar(**options: int) -> EpochBar:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    return EpochBar(console, **{"epochs": 4, "steps": 40, "done": 0, **options})


def test_a_bar_shows_epoch_values_and_examples_a_second() -> None:
    here = bar()
    here.show(2, 15, {"loss": 123.456, "kl": 7.0, "bound": -123.456}, 98765.4)
    here.close()
    text = shown(here)
    assert "epoch 2/4" in text
    assert "loss 123.46  kl 7.00  bound -123.46" in text
    assert "98,765/s" in text


def test_a_bar_asks_for_values_twice_a_second_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    here = bar()
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    here.show(1, 1, {}, 0.0)
    assert not here.due()
    clock[0] += 0.4
    assert not here.due()
    clock[0] += 0.2
    assert here.due()
    here.close()


def test_a_resumed_run_starts_where_it_stood() -> None:
    here = bar(done=30)
    assert here.progress.tasks[0].completed == 30
    assert here.progress.tasks[0].total == 40
    here.close()


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(reporter(None, 1, 1, 0), Silent)
    assert isinstance(reporter(False, 1, 1, 0), Silent)
    data = pictures()
    pv.fit(small("vae", data), data, epochs=1)
    assert capsys.readouterr() == ("", "")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def lines_of(epochs: int, seconds: float, clock: Clock, steps: int = 10) -> None:
    """A run of so many epochs of `seconds` each, as the loop tells of it."""
    here = reporter(True, epochs, epochs * steps, 0)
    assert isinstance(here, Lines)
    for step in range(1, epochs * steps + 1):
        clock.now += seconds / steps
        epoch = (step - 1) // steps + 1
        if step % steps == 0:
            here.show(epoch, step, {"loss": 8.0, "validation bound": -9.0}, 50.0)
        elif here.due():
            here.show(epoch, step, {"loss": 8.0}, 50.0)
    here.close()


def test_without_a_terminal_an_epoch_is_a_line_with_its_losses_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines_of(3, 4.0, Clock(monkeypatch))
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [
        "epoch 1/3 at 80 %  loss 8.00  50/s, about 9 s left",
        "epoch 1/3  loss 8.00  validation bound -9.00  50/s, about 8 s left",
        "epoch 2/3  loss 8.00  validation bound -9.00  50/s, about 4 s left",
        "epoch 3/3  loss 8.00  validation bound -9.00  50/s",
    ]


@pytest.mark.parametrize(
    ("epochs", "seconds", "fewest"), [(2000, 10.0, 90), (2000, 0.01, 5), (10, 1800.0, 90), (2, 36000.0, 90)]
)
def test_a_long_run_has_a_bounded_number_of_lines(
    epochs: int, seconds: float, fewest: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines_of(epochs, seconds, Clock(monkeypatch), steps=10 if epochs > 10 else 500)
    said = capsys.readouterr().err.splitlines()
    assert fewest <= len(said) <= 205
    assert said[-1].startswith(f"epoch {epochs}/{epochs}  ")


def test_a_resumed_run_judges_the_time_left_by_its_own_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    here = reporter(True, 10, 100, 50)
    clock.now += 20
    here.show(6, 60, {"loss": 1.0}, 5.0)
    assert capsys.readouterr().err.endswith(", about 80 s left\n")


def test_counting_tells_the_time_left_as_soon_as_it_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with counted("evaluating") as moved:
        for block in range(1, 101):
            clock.now += 15.0
            moved(100 * block, 10_000)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "evaluating: 100 of 10,000, about 25 min left"
    assert said[1] == "evaluating: 300 of 10,000, about 24 min left"
    assert len(said) == 50
    with counted("evaluating") as moved:
        for block in range(1, 101):
            clock.now += 0.01
            moved(100 * block, 10_000)
    assert capsys.readouterr().err == "", "it was over at once"


def test_commands_say_how_far_they_are_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    assert main(["train", "vae", "--data", "x.npy", "--epochs", "2", "--run", "r", "--json", "--device", "cpu"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["epochs"] == 2
    assert re.search(r"^epoch 1/2  loss .* validation bound .*/s, about \d+ s left$", found.err, re.MULTILINE)
    assert re.search(r"^epoch 2/2  loss .* validation bound .*/s$", found.err, re.MULTILINE)
    assert main(["evaluate", "r", "--samples", "300", "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["samples"] == 300
    first = "evaluating r: 6 examples of the test part, 300 draws of the latents each; --samples 30 takes about a tenth"
    assert found.err.startswith(first)


def test_a_run_ends_with_a_full_bar_and_the_validation_value(monkeypatch: pytest.MonkeyPatch) -> None:
    here = bar(epochs=2, steps=6)
    monkeypatch.setattr(import_module("polyvae.training.fit"), "reporter", lambda *arguments: here)
    data = pictures()
    run = pv.fit(small("vae", data), data, epochs=2, batch_size=16)
    assert here.progress.finished
    assert f"validation bound {run.history[-1]['validation_bound']:.2f}" in shown(here)
    assert "epoch 2/2" in shown(here)


def test_no_values_are_computed_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Silent, "show", lambda self, *arguments: seen.append(arguments[1]))
    data = pictures()
    pv.fit(small("vae", data), data, epochs=3, batch_size=16, progress=False)
    assert seen == [3, 6, 9], "once an epoch, where the values are at hand anyway"


MANY = {f"reconstruction_given_{name}": 1234.5678 for name in ("image", "sound", "text", "label", "mask", "sensors")}


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_epoch_bar_and_time_left_stay_whatever_the_losses_are_called(width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    here = EpochBar(console, epochs=1000, steps=200_000, done=0)
    here.show(123, 100_000, {"loss": 98765.43, **MANY, "kl": 12.3}, 123456.0)
    here.progress.refresh()
    here.close()
    last = shown(here).replace("\r", "\n").rstrip("\n").splitlines()[-1]
    assert len(last) <= width
    assert last.startswith("epoch 123/1000 ")
    assert last.count("━") >= 8
    assert re.search(r"(\d+:\d\d|-:--)(:\d\d)?\s*$", last), last
    assert width < 60 or "loss 98765.43" in last


def test_losses_that_do_not_fit_end_in_an_ellipsis_and_the_first_stay() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    here = EpochBar(console, epochs=10, steps=100, done=0)
    here.show(2, 50, {"loss": 123.45, **MANY}, 1000.0)
    here.close()
    last = shown(here).replace("\r", "\n").rstrip("\n").splitlines()[-1]
    assert "loss 123.45" in last
    assert "…" in last
