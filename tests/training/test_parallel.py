"""Training in two processes on a CPU equals training in one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.training.store import METRICS, STATE, read_metrics, read_tensors

OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, "device": "cpu", "progress": False}


def both(tmp_path: Path, name: str, count: int, **options: Any) -> tuple[pv.Run, pv.Run]:
    """The same training in one process and in two."""
    data = pictures(count, validation=510 if count > 600 else 12)
    one, two = (
        pv.fit(small(name, data), data, tmp_path / str(devices), devices=devices, **OPTIONS, **options)
        for devices in (1, 2)
    )
    return one, two


def check_close(one: pv.Run, two: pv.Run) -> None:
    for name, tensor in weights(one.recipe).items():
        torch.testing.assert_close(tensor, weights(two.recipe)[name], rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(timeless(one.history), timeless(two.history), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, nan_ok=True)


def test_two_processes_train_the_weights_of_one(tmp_path: Path) -> None:
    # 577 = 36 * 16 + 1 and 510 = 250 + 250 + 10: a single example left over, and blocks not shared evenly.
    one, two = both(tmp_path, "ae", 577 + 510, average=0.9, clip=1.0)
    check_close(one, two)
    assert len({row["train_loss"] for row in two.history}) == 3
    assert two.history == read_metrics(tmp_path / "2" / METRICS)
    assert (tmp_path / "2" / METRICS).read_text().count("epoch,") == 1
    assert not any(module.training for module in two.model.modules())


class LastWord(nn.Module):
    """An objective whose weights stand still and whose validation values are only those of the model it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, model: Any, batch: Any, step: Any = 0) -> dict[str, Tensor]:
        values = self.inner(model, batch, step)
        self.steps += float(self.training)
        return {**values, "loss": values["loss"] * 0, "order": batch["x"][0].sum() * 1.0}


def test_validation_of_two_processes_is_exactly_that_of_one_and_each_epoch_is_shuffled_anew(tmp_path: Path) -> None:
    data = pictures(50 + 510, validation=510)
    runs = []
    for devices in (1, 2):
        recipe = small("vae", data)
        recipe = replace(recipe, objective=LastWord(recipe.objective))
        options = {**OPTIONS, "weight_decay": 0.0, "batch_size": 64}
        runs.append(pv.fit(recipe, data, tmp_path / str(devices), devices=devices, **options))
    steps = [run.recipe.objective.get_buffer("steps").item() for run in runs]
    assert steps == [3, 3], "what an objective learns comes back from its processes too"
    for mine, theirs in zip(runs[0].history, runs[1].history, strict=True):
        keys = [name for name in mine if name.startswith("validation_")]
        assert {name: mine[name] for name in keys} == {name: theirs[name] for name in keys}
    assert len({row["train_order"] for row in runs[1].history}) == 3


@pytest.mark.slow
def test_a_batch_smaller_than_the_processes_and_statistics_of_batches(tmp_path: Path) -> None:
    data = pictures(7 + 12, side=8)  # batches of one example: the second process has none
    runs = [pv.fit(small("ae", data), data, devices=devices, **{**OPTIONS, "batch_size": 1}) for devices in (1, 2)]
    check_close(*runs)
    recipe = small("ae", data, network="conv", widths=[4, 4])
    run = pv.fit(recipe, data, tmp_path / "conv", devices=2, **{**OPTIONS, "batch_size": 5})
    loaded = pv.Run.load(tmp_path / "conv")
    assert same(weights(loaded.recipe), weights(run.recipe))
    from polyvae.training.validation import validate

    again = validate(run.model, recipe.objective, recipe.observe, data.validation, 0)
    best = min(row["validation_reconstruction"] for row in run.history)
    assert again["reconstruction"] == pytest.approx(best, rel=1e-6), "both processes validated one model"


@pytest.mark.slow
def test_two_processes_resume_as_if_not_interrupted(tmp_path: Path) -> None:
    data = pictures(60)

    def train(folder: str, **options: Any) -> pv.Run:
        given = {**OPTIONS, "devices": 2, "average": 0.8, **options}
        return pv.fit(small("vae", data), data, tmp_path / folder, **given)

    whole = train("whole")
    train("run", max_steps=4)  # in the midst of the second epoch
    again = train("run", resume=True)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert timeless(again.history) == timeless(whole.history), "every process's sums of the epoch that was cut"


def test_what_a_process_raises_reaches_the_user_as_it_was(tmp_path: Path) -> None:
    data = pictures(60)
    recipe = small("ae", data)
    recipe = replace(recipe, objective=Fails(recipe.objective))
    with pytest.raises(pv.NonFiniteError, match="at step 2 loss = nan"):
        pv.fit(recipe, data, tmp_path / "run", devices=2, **OPTIONS)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["run.json", STATE]
    assert read_tensors(tmp_path / "run" / STATE)[1]["step"] == 0


class Fails(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, model: Any, batch: Any, step: Any = 0) -> dict[str, Tensor]:
        values = self.inner(model, batch, step)
        return {**values, "loss": values["loss"] * (float("nan") if step == 2 else 1.0)}


PLACES = [str(folder) for folder in Path(__file__).parents[:2]]  # of this file and of what tests share
SCRIPT = """
import sys
sys.path[:0] = {tests!r}
from test_parallel import endless

if __name__ == "__main__":
    endless(sys.argv[1])
"""


def endless(folder: str | Path, **options: Any) -> pv.Run:
    data = pictures(60)
    given = {**OPTIONS, "epochs": 100_000, "devices": 2, **options}
    return pv.fit(small("vae", data), data, folder, resume=True, **given)


SLOW = [pytest.param(whom, marks=pytest.mark.slow) for whom in ("the first process", "killed")]


@pytest.mark.parametrize("whom", ["the terminal's group", *SLOW])
def test_stopped_from_outside_two_processes_end_soon_and_leave_a_run_to_resume(whom: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT.format(tests=PLACES))
    command = [sys.executable, str(tmp_path / "train.py"), str(tmp_path / "run")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 120
    while not (tmp_path / "run" / METRICS).exists() and time.monotonic() < until:
        time.sleep(0.02)
    send = {
        "the terminal's group": lambda: os.killpg(process.pid, signal.SIGINT),
        "the first process": lambda: os.kill(process.pid, signal.SIGTERM),
        "killed": lambda: os.kill(process.pid, signal.SIGKILL),
    }
    send[whom]()
    _out, err = process.communicate(timeout=60)  # the pipes close when the last process has ended
    assert process.returncode != 0
    if whom != "killed":
        assert "KeyboardInterrupt" in err
    saved = read_tensors(tmp_path / "run" / STATE)[1]
    epochs = len(read_metrics(tmp_path / "run" / METRICS)) + 2
    assert saved["step"] > 0
    again = endless(tmp_path / "run", epochs=epochs)
    whole = endless(tmp_path / "whole", epochs=epochs)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert timeless(again.history) == timeless(whole.history)


def test_a_user_sees_no_noise_from_several_processes(tmp_path: Path) -> None:
    script = SCRIPT.replace("endless(sys.argv[1])", "endless(sys.argv[1], epochs=1)")
    (tmp_path / "train.py").write_text(script.format(tests=PLACES))
    command = [sys.executable, str(tmp_path / "train.py"), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
