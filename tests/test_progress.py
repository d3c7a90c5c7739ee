"""What a terminal shows of a training."""

from __future__ import annotations

import io
import re
from importlib import import_module

import pytest
from rich.console import Console
from runs import pictures, small

import polyvae as pv
from polyvae import progress
from polyvae.progress import Bar, Silent, reporter


def shown(bar: Bar) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", bar.progress.console.file.getvalue())  # pyright: ignore


def bar(**options: int) -> Bar:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    return Bar(console, **{"epochs": 4, "steps": 40, "done": 0, **options})


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


def test_a_run_ends_with_a_full_bar_and_the_validation_value(monkeypatch: pytest.MonkeyPatch) -> None:
    here = bar(epochs=2, steps=6)
    monkeypatch.setattr(import_module("polyvae.training"), "reporter", lambda *arguments: here)
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
    here = Bar(console, epochs=1000, steps=200_000, done=0)
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
    here = Bar(console, epochs=10, steps=100, done=0)
    here.show(2, 50, {"loss": 123.45, **MANY}, 1000.0)
    here.close()
    last = shown(here).replace("\r", "\n").rstrip("\n").splitlines()[-1]
    assert "loss 123.45" in last
    assert "…" in last
