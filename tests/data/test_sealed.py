"""Every byte of what a run reads back is covered by a digest that no kill can part from its file."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.cli import main
from polyvae.data.files import writing as files
from polyvae.data.files.sealed import read_sealed, read_sealed_json, write_sealed, write_sealed_json
from polyvae.evaluation import classifier
from polyvae.training.store import DESCRIPTION, METRICS, STATE, WEIGHTS, read_description, read_metrics, read_tensors


def train(folder: Path, epochs: int = 2, **settings: Any) -> pv.Run:
    data = pictures()
    given = {"epochs": epochs, "batch_size": 16, "seed": 4, "device": "cpu", "progress": False, **settings}
    return pv.fit(small("vae", data), data, folder, **given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed") / "run"
    train(folder)
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def flip(path: Path, place: int, bits: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= bits
    path.write_bytes(content)


@pytest.mark.parametrize("bits", [0x01, 0x20, 0x80])
def test_every_single_byte_of_a_file_of_tensors_is_covered(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_sealed(path, {"a": torch.arange(6.0), "b": torch.ones(2, 3)}, {"epoch": 1})
    whole = path.read_bytes()
    unnoticed = []
    for place in range(len(whole)):
        flip(path, place, bits)
        with suppress(ValueError, SafetensorError, OSError):
            read_sealed(path)
            unnoticed.append(place)
        path.write_bytes(whole)
    assert unnoticed == []
    assert read_sealed(path)[1] == {"epoch": 1}


@pytest.mark.parametrize("bits", [0x01, 0x20, 0x80])
def test_every_single_byte_of_a_json_file_is_covered(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_sealed_json(path, {"settings": {"lr": 0.001, "seed": 3}, "name": "é"})
    whole = path.read_bytes()
    unnoticed = []
    for place in range(len(whole)):
        flip(path, place, bits)
        with suppress(ValueError):
            read_sealed_json(path, "settings")
            unnoticed.append(place)
        path.write_bytes(whole)
    assert unnoticed == []
    assert read_sealed_json(path, "settings") == {"settings": {"lr": 0.001, "seed": 3}, "name": "é"}


def test_files_of_before_there_were_digests_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "bare")
    save_file({"a": torch.ones(2)}, tmp_path / "older", {"json": '{"epoch": 3}'})
    assert read_sealed(tmp_path / "bare")[1] == {}
    assert read_sealed(tmp_path / "older")[1] == {"epoch": 3}
    (tmp_path / "run.json").write_text('{"settings": {}}')
    assert read_description(tmp_path) == {"settings": {}}


def test_the_same_tensors_make_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sealed(tmp_path / name, {"a": torch.ones(2), "b": torch.ones(3)}, {"epoch": 1, "bound": -3.0})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("name", [WEIGHTS, STATE, DESCRIPTION, METRICS])
def test_one_flipped_byte_of_a_run_is_found_and_the_file_named(name: str, copy: Path) -> None:
    whole = (copy / name).read_bytes()
    chance = random.Random(0)
    first = len(whole.splitlines(keepends=True)[0]) if name == METRICS else 0
    for place in [len(whole) - 2, *(chance.randrange(first, len(whole) - 1) for _ in range(8))]:
        flip(copy / name, place, 0x01)
        with pytest.raises(pv.RunError) as caught:
            train(copy, 3, resume=True) if name == STATE else pv.Run.load(copy)
        assert str(copy / name) in str(caught.value)
        assert "restore it" in str(caught.value)
        (copy / name).write_bytes(whole)
    pv.Run.load(copy)


def test_a_flipped_byte_of_weights_ends_a_command_with_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(copy / WEIGHTS, (copy / WEIGHTS).stat().st_size - 3, 0x10)
    for command in (["evaluate"], ["sample"], ["figures"]):
        assert main([*command, str(copy)]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(copy / WEIGHTS) in said
        assert "sha256" in said


@pytest.mark.parametrize("damaged", [(WEIGHTS,), (METRICS,), (WEIGHTS, METRICS), "missing"])
def test_going_on_mends_weights_and_metrics_from_the_state(damaged: Any, copy: Path) -> None:
    before = {name: (copy / name).read_bytes() for name in (WEIGHTS, METRICS)}
    for name in (WEIGHTS, METRICS) if damaged == "missing" else damaged:
        flip(copy / name, len(before[name]) - 3, 0x01)
        if damaged == "missing":
            (copy / name).unlink()
    run = train(copy, resume=True)
    assert {name: (copy / name).read_bytes() for name in before} == before
    assert same(weights(pv.Run.load(copy).recipe), weights(run.recipe))


def test_metrics_ahead_of_the_state_are_those_of_a_killed_run_and_no_damage(trained: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", 1)
    with (tmp_path / "run" / METRICS).open("a") as file:
        file.write((trained / METRICS).read_text().splitlines(keepends=True)[-1])
    assert len(pv.Run.load(tmp_path / "run").history) == 2


class Killed(BaseException):
    """What stands for SIGKILL here: no handler of the code under test may clean up after it."""


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, work: Callable[[], object]) -> bool:
    """Does the work until the `at`-th of its renames, syncs and removals of files; whether that was all of it."""
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count > at:
                raise Killed
            return call(*arguments, **options)

        return instead

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(files.os, "fsync", counted(files.os.fsync))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        try:
            work()
            return True
        except Killed:
            return False


def test_killed_between_any_two_operations_on_its_files_a_run_is_read_and_goes_on_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole")
    expected = weights(whole.recipe)
    at = 0
    while True:
        folder = tmp_path / str(at)
        done = interrupted(monkeypatch, at, lambda folder=folder: train(folder))
        for path in folder.glob("*.safetensors"):
            read_tensors(path)
        if (folder / DESCRIPTION).exists():
            read_metrics(folder / METRICS)
            if (folder / WEIGHTS).exists():
                pv.Run.load(folder)
            again = train(folder, resume=True)
            assert same(weights(again.recipe), expected), at
            assert timeless(read_metrics(folder / METRICS)) == timeless(whole.history)
        if done:
            break
        at += 1
    assert at > 15  # description, three states, two weights, two metrics: a sync and a rename each


def test_a_damaged_classifier_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures(side=8, labels=True)
    options: dict[str, Any] = {"steps": 2, "batch": 8, "cache": tmp_path}
    classifier.train_classifier(data.train, **options)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    flip(path, len(before) - 3, 0x40)
    classifier.train_classifier(data.train, **options)
    assert path.read_bytes() == before


def test_the_digest_is_that_of_the_bytes_with_its_own_place_blank(tmp_path: Path) -> None:
    import hashlib

    write_sealed(tmp_path / "file", {"a": torch.ones(2)}, {"epoch": 1})
    content = (tmp_path / "file").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    digest = json.loads(header["__metadata__"]["sealed"])["sha256"]
    assert hashlib.sha256(content.replace(digest.encode(), b"0" * 64)).hexdigest() == digest
