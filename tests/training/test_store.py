"""A run folder: what it holds, that reading it executes nothing, and what broken files say."""

from __future__ import annotations

import csv
import json
import math
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.data.files.writing import replacing, write_text
from polyvae.training.store import (
    DESCRIPTION,
    METRICS,
    STATE,
    WEIGHTS,
    load_tensors,
    read_metrics,
    read_tensors,
    unique_tensors,
    write_metrics,
    write_tensors,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    data = pictures(labels=True)
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = small("cvae", data, prior="vamp", components=3)
    return pv.fit(recipe, data, folder, epochs=2, batch_size=16, seed=4, progress=False)


@pytest.fixture
def copy(trained: pv.Run, tmp_path: Path) -> Path:
    for path in Path(str(trained.folder)).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_folder_holds_four_files_and_nothing_else(trained: pv.Run) -> None:
    names = sorted(path.name for path in Path(str(trained.folder)).iterdir())
    assert names == sorted([DESCRIPTION, METRICS, STATE, WEIGHTS])


def test_a_run_read_again_is_the_run(trained: pv.Run) -> None:
    again = pv.Run.load(str(trained.folder))
    assert same(weights(again.recipe), weights(trained.recipe))
    assert again.history == trained.history
    assert again.description == json.loads(json.dumps(trained.description))
    assert not any(module.training for module in again.model.modules())


def test_metrics_have_a_row_an_epoch_and_every_term_for_both_parts(trained: pv.Run) -> None:
    with (Path(str(trained.folder)) / METRICS).open() as file:
        rows = list(csv.DictReader(file))
    terms = ("loss", "reconstruction", "kl", "bound")
    expected = [f"{part}_{term}" for part in ("train", "validation") for term in terms]
    assert list(rows[0]) == ["epoch", "step", "lr", "seconds", "examples_per_second", *expected]
    assert list(rows[0]) == list(trained.history[0])
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(rows[1][name]) == trained.history[1][name] for name in rows[1])


def test_the_description_records_what_made_the_run(trained: pv.Run) -> None:
    found = json.loads((Path(str(trained.folder)) / DESCRIPTION).read_text())
    assert found["recipe"]["name"] == "cvae"
    assert found["recipe"]["options"]["seed"] == 0
    assert found["settings"]["batch_size"] == 16
    assert found["seed"] == 4
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["polyvae"] == pv.__version__
    assert found["data"]["examples"] == {"train": 48, "validation": 12}
    assert found["created"].endswith("+00:00")


def test_thegit_state_is_that_of_the_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polyvae.training.description import git_state

    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert git_state() is None
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q"], check=True)
    assert git_state() is None
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    state = git_state()
    assert state is not None
    assert len(state["commit"]) == 40
    assert state["changed"] is False
    (tmp_path / "new.py").touch()
    assert git_state() == {**state, "changed": True}


class Bomb:
    """Pickled so that reading it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", [WEIGHTS, STATE])
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_nothing_stored_is_executed(name: str, form: str, copy: Path) -> None:
    trace = copy / "trace"
    if form == "pickle":
        (copy / name).write_bytes(pickle.dumps(Bomb(trace)))
    else:
        torch.save({"model": Bomb(trace)}, copy / name)
    with pytest.raises(pv.RunError, match=name.replace(".", r"\.")):
        read_tensors(copy / name)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists(), "the bomb must work"


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "missing", "other model", "other shape", "a folder"])
def test_weights_that_do_not_serve_are_named(damage: str, copy: Path) -> None:
    path = copy / WEIGHTS
    whole = path.read_bytes()
    tensors, _ = read_tensors(path)
    path.unlink()
    if damage == "other model":
        save_file({"weight": torch.zeros(2)}, path)
    elif damage == "other shape":
        save_file({name: torch.zeros(1, 1, 1) for name in tensors}, path)
    elif damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"cut": whole[:-10], "empty": b"", "noise": bytes(range(256)) * 9}[damage])
    with pytest.raises(pv.RunError) as caught:
        pv.Run.load(copy)
    assert str(path) in str(caught.value)


def recorded(**recipe: Any) -> str:
    return json.dumps({"settings": {}, "recipe": recipe})


NO_RUNS = ["", "{", "[1, 2]", "{}", '{"settings": 3}', "\x00\x01"]
NO_RECIPES = [
    recorded(name="vae"),
    recorded(name="nobody", spec={"x": [1, 8, 8]}, options={}),
    recorded(name="vae", spec={"x": [1, 8, 8]}, options={"latent": "many"}),
]


@pytest.mark.parametrize("text", NO_RUNS + NO_RECIPES)
def test_a_description_that_does_not_serve_is_named(text: str, copy: Path) -> None:
    (copy / DESCRIPTION).write_text(text)
    with pytest.raises(pv.RunError) as caught:
        pv.Run.load(copy)
    assert str(copy / DESCRIPTION) in str(caught.value)


def test_what_is_no_run_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(pv.RunError, match="is no run folder"):
        pv.Run.load(tmp_path)
    with pytest.raises(pv.RunError, match="is no run folder"):
        pv.Run.load(tmp_path / "nothing")


def test_metrics_that_are_no_table_are_named(copy: Path) -> None:
    (copy / METRICS).write_text("epoch,loss\n1,good\n")
    with pytest.raises(pv.RunError, match=r"metrics\.csv is not a table of numbers"):
        pv.Run.load(copy)
    (copy / METRICS).unlink()
    assert pv.Run.load(copy).history == []


def test_a_recipe_of_a_users_own_objects_is_given_again(tmp_path: Path) -> None:
    data = pictures()

    def made() -> pv.Recipe:
        return small("vae", data, likelihood=pv.families.Bernoulli())

    run = pv.fit(made(), data, tmp_path / "run", epochs=1, progress=False)
    assert run.description["recipe"] is None
    with pytest.raises(pv.RunError, match="records no recipe call"):
        pv.Run.load(tmp_path / "run")
    again = pv.Run.load(tmp_path / "run", made())
    assert same(weights(again.recipe), weights(run.recipe))
    assert timeless(again.history) == timeless(run.history)


def test_shared_parts_are_stored_once_and_temporary_buffers_not_at_all() -> None:
    module = nn.Module()
    module.first = nn.Linear(2, 3)
    module.second = module.first
    module.register_buffer("kept", torch.ones(2))
    module.register_buffer("scratch", torch.ones(2), persistent=False)
    assert set(unique_tensors(module)) == {"first.weight", "first.bias", "kept"}


def test_loading_copies_all_or_nothing_and_keeps_the_memory_layout() -> None:
    module = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(pv.RunError, match=r"source: weight has shape \[4, 3, 2, 2\], the model needs \[4, 3, 3, 3\]"):
        load_tensors(module, {"bias": torch.ones(4), "weight": torch.ones(4, 3, 2, 2)}, "source")
    assert same(before, module.state_dict())
    weight = torch.randn(4, 3, 3, 3)
    load_tensors(module, {"bias": torch.ones(4), "weight": weight}, "source")
    assert torch.equal(module.weight, weight)
    assert module.weight.is_contiguous(memory_format=torch.channels_last)


def test_tensors_and_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    tensors = {
        "picture": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "count": torch.tensor(3),
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    write_tensors(tmp_path / "a" / "file", tensors, {"best": math.inf, "history": [{"lr": 0.1 + 0.2}]})
    found, numbers = read_tensors(tmp_path / "a" / "file")
    assert same(found, tensors)
    assert numbers == {"best": math.inf, "history": [{"lr": 0.1 + 0.2}]}


def test_numbers_of_a_table_come_back_exactly(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "loss": 0.1 + 0.2, "bound": -math.inf}, {"epoch": 2, "loss": 1e-300, "bound": -3.0}]
    write_metrics(tmp_path / "table", rows)
    assert read_metrics(tmp_path / "table") == rows
    write_metrics(tmp_path / "table", [])
    assert read_metrics(tmp_path / "table") == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "first")

    def interrupted() -> None:
        with replacing(path) as part:
            part.write_text("half of the sec")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "first"
    write_text(path, "second")
    assert path.read_text() == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_tensorboard_reads_every_number_at_its_step(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = pictures()
    folder = tmp_path / "run"
    settings = {"batch_size": 16, "tensorboard": True, "progress": False}
    pv.fit(small("vae", data), data, folder, epochs=2, **settings)
    run = pv.fit(small("vae", data), data, folder, epochs=3, resume=True, **settings)
    assert len(list((folder / "tensorboard").iterdir())) == 2, "one file a process, not one an epoch"
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {"train/loss", "validation/bound", "lr", "examples_per_second"} <= set(events.Tags()["scalars"])
    found = [(event.step, event.value) for event in events.Scalars("validation/bound")]
    assert found == [(row["step"], pytest.approx(row["validation_bound"])) for row in run.history]
