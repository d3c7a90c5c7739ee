"""The command `polyvae study`: from the first run to the page, its mistakes, kills, and a cluster of two."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from polyvae.cli import main
from polyvae.study import Records
from polyvae.study.thesis.grid import methods
from polyvae.training.store import read_tensors

TINY = ["--data", "digits", "--config", "1", "--widths", "4,8", "--limit", "200", "--epochs", "1", "--device", "cpu"]


def test_the_command_from_its_first_run_to_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "study"
    command = ["study", "multitask", *TINY, "--folds", "2", "--only", "*baseline,*two-grid", "--out", str(out)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == 8
    assert found["failed"] == []
    assert {each["claim"] for each in found["claims"]} == {"a", "f"}
    for name in ("REPORT.md", "report.html", "runs.csv", "curves.csv", "masks.csv", "study.json"):
        assert (out / name).stat().st_size > 0
    assert not list(out.glob("runs/*/*/state.safetensors"))
    assert len(list(out.glob("runs/*/*/weights.safetensors"))) == 8
    tables = (out / "runs.csv").read_bytes()
    assert main(["study", "multitask", "--report-only", "--out", str(out)]) == 0
    assert "(a) Gaussian, two decoders" in capsys.readouterr().out
    assert main(command) == 0
    assert (out / "runs.csv").read_bytes() == tables


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["other", *TINY], "study has no 'other'", 2),
        (
            ["multitask", *TINY, "--family", "gauss"],
            "--family is one of gaussian, vq; got 'gauss'; did you mean gaussian?",
            2,
        ),
        (["multitask", *TINY, "--folds", "9"], "folds", 2),
        (["multitask", *TINY, "--folds", "0,7"], "--folds lie in 0..4", 2),
        (["multitask", *TINY, "--only", "none*"], "--only: no cell matches 'none*'", 2),
        (["multitask", *TINY, "--config", "4"], "--config is of gaussian and vq one of 1, 2, 3; got 4", 2),
        (["multitask", *TINY, "--limit", "0"], "--limit: expected a whole number of at least 1", 2),
        (["multitask", *TINY, "--epochs", "-1"], "--epochs: expected a whole number of at least 0", 2),
        (["multitask", *TINY, "--data", "digts"], "did you mean 'digits'", 2),
        (["multitask", *TINY, "--data", ","], "--data takes names with commas", 2),
        (["multitask", *TINY, "--workers", "0"], "--workers: expected a whole number of at least 1", 2),
        (["multitask", "--report-only"], "holds no study", 1),
    ],
)
def test_mistakes_of_the_command_line(
    arguments: list[str],
    said: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", *arguments]) == code
    message = capsys.readouterr().err
    assert said in message
    assert len(message.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def timeless(folder: Path) -> tuple[Any, ...]:
    """The tables of a study without what a clock measured."""
    found = Records.read(folder)
    rows = {key: {name: value for name, value in row.items() if name != "seconds"} for key, row in found.rows.items()}
    return rows, found.curves, found.masks


def started(command: list[str], out: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, where no commit of a repository can change meanwhile."""
    whole = [sys.executable, "-m", "polyvae", *command, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        whole, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=out.parent, env=environment
    )


def finished(command: list[str], out: Path) -> None:
    process = started(command, out)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_study_says_how_to_go_on_and_loses_no_epoch(workers: int, tmp_path: Path) -> None:
    out = tmp_path / "study"
    command = ["study", "multitask", *TINY, "--only", "*-baseline", "--folds", "2", "--workers", str(workers)]
    command[command.index("--epochs") + 1] = "100000"
    process = started(command, out)
    end = time.monotonic() + 120
    while len(list(out.glob("runs/*/*/metrics.csv"))) < workers and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.splitlines()[-1] == f"polyvae: interrupted; the same command goes on with {out}"
    assert "Traceback" not in said
    for folder in out.glob("runs/*/*"):
        if (folder / "metrics.csv").exists():
            written = len((folder / "metrics.csv").read_text().splitlines()) - 1
            assert len(read_tensors(folder / "state.safetensors")[1]["history"]) == written


def killed_and_resumed(tmp_path: Path, only: str, epochs: int, workers: int) -> None:
    """The command killed three times by SIGKILL at random moments and given again, beside one that was left alone."""
    command = ["study", "multitask", *TINY, "--only", only, "--folds", "2", "--workers", str(workers)]
    command[command.index("--epochs") + 1] = str(epochs)
    parts = tmp_path / "parts"
    finished(command, tmp_path / "whole")
    chance, reached = random.Random(0), []
    for _ in range(3):
        process = started(command, parts)
        end, before = time.monotonic() + 120, len(list(parts.glob("runs/*/*/metrics.csv")))
        while len(list(parts.glob("runs/*/*/metrics.csv"))) == before and time.monotonic() < end:
            time.sleep(0.01)  # importing takes most of the time: kill it while it trains
        time.sleep(chance.uniform(0, 1.0))
        process.kill()
        process.communicate()
        reached.append(len(Records.read(parts).rows))
    finished(command, parts)
    assert timeless(parts) == timeless(tmp_path / "whole")
    assert not list(parts.rglob("*.part"))
    assert (parts / "REPORT.md").exists()
    print(f"killed with {reached} of {len(Records.read(parts).rows)} runs recorded; the same tables")


@pytest.mark.slow
def test_a_study_killed_three_times_and_resumed_comes_to_the_same_table(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, "*-baseline,*-two-grid-softadapt,*-one-uniform-20", epochs=8, workers=1)


@pytest.mark.slow
def test_a_study_of_two_workers_killed_three_times_comes_to_the_same_table(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, "*-baseline,*-two-grid", epochs=8, workers=2)


@pytest.mark.slow
def test_every_method_trains_on_digits_and_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "multitask", *TINY, "--folds", "2", "--out", str(tmp_path / "study"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == 2 * 2 * len(methods())
    assert {each["claim"] for each in found["claims"]} == set("abcdefg")
    assert math.isfinite(sum(row["mse"] for row in Records.read(tmp_path / "study").rows.values()))


@pytest.mark.slow
def test_a_study_on_a_local_cluster_of_two_comes_to_the_same_table(tmp_path: Path) -> None:
    command = ["study", "multitask", *TINY, "--only", "*-vq-1-baseline,*-vq-1-two-grid", "--folds", "2"]
    finished(command, tmp_path / "one")
    finished([*command, "--ray", "local", "--workers", "2"], tmp_path / "ray")
    assert timeless(tmp_path / "ray") == timeless(tmp_path / "one")
