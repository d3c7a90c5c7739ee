"""Interrupted and resumed equals uninterrupted, bit for bit; what stops a run leaves its last state whole."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.data import Data
from polyvae.training.loop import Loop
from polyvae.training.store import METRICS, STATE, WEIGHTS, read_metrics, read_tensors

STEPS = 4  # an epoch: 60 - 12 examples, 16 or fewer a step
CASES: dict[str, tuple[Callable[[], tuple[pv.Recipe, Data]], dict[str, Any]]] = {
    "perceptron": (lambda: _made("vae"), {}),
    "convolutions": (lambda: _made("vae", side=8, network="conv", widths=[4, 4]), {}),
    "moving average, schedule, clipping": (
        lambda: _made("vae", side=8, network="conv", widths=[2, 4]),
        {"average": 0.8, "schedule": "cosine", "warmup": 3, "clip": 0.5},
    ),
    "optimal scale": (lambda: _made("sigma_vae", scale="optimal"), {}),
    "weight of a term, importance samples": (lambda: _made("beta_vae", kl_warmup=7, beta=3.0), {"average": 0.5}),
    "shared posterior": (lambda: _made("vamp_prior", components=3), {"patience": 2}),
    "labels": (lambda: _made("cvae", labels=True, prior="conditional"), {}),
}


def _made(name: str, side: int = 4, labels: bool = False, **options: Any) -> tuple[pv.Recipe, Data]:
    data = pictures(side=side, labels=labels)
    return small(name, data, **options), data


def trained(case: str, folder: Path, **settings: Any) -> pv.Run:
    make, own = CASES[case]
    recipe, data = make()
    given = {"epochs": 3, "batch_size": 12, "lr": 1e-2, "seed": 3, "progress": False, **own, **settings}
    return pv.fit(recipe, data, folder, **given)


@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_at_any_step_ends_with_the_weights_of_one_that_was_not(case: str, tmp_path: Path) -> None:
    whole = trained(case, tmp_path / "whole")
    expected = weights(whole.recipe)
    for step in range(1, 3 * STEPS):
        folder = tmp_path / str(step)
        stopped = trained(case, folder, max_steps=step)
        assert len(stopped.history) == (step if step % STEPS else step - 1) // STEPS or step % STEPS == 0
        again = trained(case, folder, resume=True)
        assert same(weights(again.recipe), expected), f"stopped after step {step}"
        assert timeless(again.history) == timeless(whole.history)
        assert timeless(read_metrics(folder / METRICS)) == timeless(whole.history)
        assert same(read_tensors(folder / WEIGHTS)[0], read_tensors(tmp_path / "whole" / WEIGHTS)[0])


def test_a_run_stopped_after_every_single_step_is_the_same_too(tmp_path: Path) -> None:
    case = "moving average, schedule, clipping"
    whole = trained(case, tmp_path / "whole")
    for step in range(1, 3 * STEPS + 1):
        last = trained(case, tmp_path / "run", max_steps=step, resume=step > 1)
    last = trained(case, tmp_path / "run", resume=True)
    assert same(weights(last.recipe), weights(whole.recipe))
    assert timeless(last.history) == timeless(whole.history)


def test_more_epochs_go_on_as_if_they_had_been_asked_for_at_once(tmp_path: Path) -> None:
    trained("perceptron", tmp_path / "run", epochs=2)
    longer = trained("perceptron", tmp_path / "run", epochs=5, resume=True)
    assert same(weights(longer.recipe), weights(trained("perceptron", tmp_path / "whole", epochs=5).recipe))
    assert longer.description["settings"]["epochs"] == 5
    again = trained("perceptron", tmp_path / "run", epochs=5, resume=True)
    assert same(weights(again.recipe), weights(longer.recipe))


def test_patience_that_ran_out_stays_run_out(tmp_path: Path) -> None:
    first = trained("perceptron", tmp_path / "run", epochs=30, patience=1, lr=0.3)
    assert len(first.history) < 30
    again = trained("perceptron", tmp_path / "run", epochs=30, patience=1, lr=0.3, resume=True)
    assert timeless(again.history) == timeless(first.history)


def test_another_run_is_not_resumed_and_the_difference_is_named(tmp_path: Path) -> None:
    trained("perceptron", tmp_path, epochs=1)
    with pytest.raises(pv.RunError, match="already holds a run; resume it"):
        trained("perceptron", tmp_path)
    with pytest.raises(pv.RunError, match=r"lr: 0\.01 then, 0\.1 now; seed: 3 then, 4 now"):
        trained("perceptron", tmp_path, resume=True, lr=0.1, seed=4)
    with pytest.raises(pv.RunError, match=r"recipe: .*'vae'.* then, .*'sigma_vae'.* now"):
        trained("optimal scale", tmp_path, resume=True)
    recipe, data = _made("vae", likelihood="normal-network")
    given = {"epochs": 1, "batch_size": 12, "lr": 1e-2, "seed": 3, "resume": True}
    one_option = r"these: recipe: {'options': {.*}} then, {'options': {'likelihood': 'normal-network'}} now$"
    with pytest.raises(pv.RunError, match=one_option):
        pv.fit(recipe, data, tmp_path, **given)
    recipe, data = _made("vae")
    other = replace(data, train=replace(data.train, tensors={"x": 255 - data.train.tensors["x"]}))
    with pytest.raises(pv.RunError, match=r"data: .*checksum"):
        pv.fit(recipe, other, tmp_path, **given)
    trained("perceptron", tmp_path, epochs=1, resume=True, save_every=5.0, max_steps=99, patience=4)


def test_a_schedule_ends_with_the_epochs_it_was_begun_with(tmp_path: Path) -> None:
    trained("perceptron", tmp_path, schedule="linear")
    with pytest.raises(pv.RunError, match="epochs: 3 then, 4 now"):
        trained("perceptron", tmp_path, schedule="linear", epochs=4, resume=True)


def test_a_folder_of_other_files_is_not_made_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(pv.RunError, match="holds other files"):
        trained("perceptron", tmp_path)
    with pytest.raises(pv.RunError, match="holds other files"):
        trained("perceptron", tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_half_written_files_left_behind_do_no_harm(tmp_path: Path) -> None:
    trained("perceptron", tmp_path / "run", max_steps=6)
    for name in (f".{STATE}.part", f".{WEIGHTS}.part", f".{METRICS}.part", ".tmpJY5rOE"):
        (tmp_path / "run" / name).write_bytes(b"\x10\x00\x00")
    again = trained("perceptron", tmp_path / "run", resume=True)
    assert same(weights(again.recipe), weights(trained("perceptron", tmp_path / "whole").recipe))
    assert not list((tmp_path / "run").glob(".*"))


def test_killed_before_the_first_state_a_run_starts_again(tmp_path: Path) -> None:
    trained("perceptron", tmp_path / "run", epochs=0)
    (tmp_path / "run" / STATE).unlink()
    (tmp_path / "run" / WEIGHTS).unlink()
    again = trained("perceptron", tmp_path / "run", resume=True)
    assert same(weights(again.recipe), weights(trained("perceptron", tmp_path / "whole").recipe))


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "foreign", "weights"])
def test_a_broken_state_is_named(damage: str, tmp_path: Path) -> None:
    trained("perceptron", tmp_path, epochs=1)
    path = tmp_path / STATE
    whole = path.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a state at all",
        "foreign": (Path(__file__).parents[1] / "helpers" / "runs.py").read_bytes(),
        "weights": (tmp_path / WEIGHTS).read_bytes(),
    }
    path.write_bytes(broken[damage])
    with pytest.raises(pv.RunError, match=STATE.replace(".", r"\.")):
        trained("perceptron", tmp_path, epochs=2, resume=True)


class Spoiled(nn.Module):
    """An objective that goes wrong from a certain training step on: in its loss, or in its gradient alone."""

    def __init__(self, inner: nn.Module, at: int, what: str) -> None:
        super().__init__()
        self.inner, self.at, self.what = inner, at, what

    def forward(self, model: Any, batch: Any, step: Any = 0) -> dict[str, Tensor]:
        values = dict(self.inner(model, batch, step))
        if step < self.at or not torch.is_grad_enabled():
            return values
        if self.what == "loss":
            values["kl"] = values["kl"] / 0
            values["loss"] = values["loss"] + values["kl"]
        else:
            zero = (next(model.parameters()) * 0).sum()
            values["loss"] = values["loss"] + zero.sqrt()  # its value is zero, its gradient is not a number
        return values


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("at", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("average", [None, 0.9])
def test_what_is_not_finite_stops_with_the_step_and_keeps_the_last_good_state(
    what: str, at: int, average: float | None, tmp_path: Path
) -> None:
    recipe, data = _made("vae")
    options = {"epochs": 3, "batch_size": 12, "seed": 3, "lr": 1e-2, "average": average, "progress": False}
    spoiled = replace(recipe, objective=Spoiled(recipe.objective, at, what))
    message = rf"at step {at} loss = .*, kl = inf" if what == "loss" else r"(at step|after) \d"
    with pytest.raises(pv.NonFiniteError, match=message) as caught:
        pv.fit(spoiled, data, tmp_path / "run", save_every=0.0, **options)
    assert str(tmp_path / "run") in str(caught.value)
    for name in (STATE, WEIGHTS):
        path = tmp_path / "run" / name
        assert not path.exists() or all(tensor.isfinite().all() for tensor in read_tensors(path)[0].values())
    good, _ = _made("vae")  # the same objective, which goes wrong no more: with another a run is not gone on with
    again = pv.fit(
        replace(good, objective=Spoiled(good.objective, 10**9, what)), data, tmp_path / "run", resume=True, **options
    )
    whole = pv.fit(_made("vae")[0], data, **options)
    assert same(weights(again.recipe), weights(whole.recipe))


def test_a_gradient_that_overflows_in_the_last_step_does_not_end_in_silence(tmp_path: Path) -> None:
    recipe, data = _made("vae")
    spoiled = replace(recipe, objective=Spoiled(recipe.objective, 2, "gradient"))
    with pytest.raises(pv.NonFiniteError, match="weights are not finite"):
        pv.fit(spoiled, data, tmp_path, batch_size=12, max_steps=3, progress=False)


def test_an_asked_stop_saves_the_state_and_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Loop._step

    def interrupted(self: Loop, index: Tensor) -> None:
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGINT if asked == "Ctrl-C" else signal.SIGTERM)
        step(self, index)

    whole = trained("perceptron", tmp_path / "whole")
    for asked in ("Ctrl-C", "termination"):
        monkeypatch.setattr(Loop, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained("perceptron", tmp_path / asked)
        monkeypatch.setattr(Loop, "_step", step)
        assert read_tensors(tmp_path / asked / STATE)[1]["step"] == 6
        again = trained("perceptron", tmp_path / asked, resume=True)
        assert same(weights(again.recipe), weights(whole.recipe))


def test_training_in_a_thread_touches_no_signals(tmp_path: Path) -> None:
    done: list[pv.Run] = []
    thread = threading.Thread(target=lambda: done.append(trained("perceptron", tmp_path / "run")))
    thread.start()
    thread.join()
    assert same(weights(done[0].recipe), weights(trained("perceptron", tmp_path / "whole").recipe))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_text", refused)  # file modes do not stop the superuser
    with pytest.raises(pv.RunError, match=r"run\.json could not be written .*Permission denied"):
        trained("perceptron", tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(pv.RunError, match="could not be written"):
        trained("perceptron", tmp_path / "file" / "run")
