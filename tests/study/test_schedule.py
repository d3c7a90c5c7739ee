"""Runs of a study planned, scheduled, recorded and skipped, with a made-up run in the place of training."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.processes import alive
from helpers.study_runs import FAKE, ROOT, fake_result, job
from polyvae.data.files.writing import held
from polyvae.study import Cell, Method, Outcome, Plan, Protocol, Records, StudyError, cells, multitask
from polyvae.study.progress import Bar
from polyvae.training.progress import duration

SMALL = Protocol(limit=200, epochs=3, widths=(4, 8))


def plan(**options: Any) -> Plan:
    return Plan(**{"data": ["digits"], "families": ["vq"], "configs": [1], "folds": 2, "protocol": SMALL, **options})


def studied(
    out: Path, *, workers: int = 1, runner: str = FAKE, progress: bool | None = None, **options: Any
) -> Outcome:
    return multitask(plan(**options), out, device="cpu", workers=workers, progress=progress, runner=runner)


def ran(out: Path) -> set[str]:
    return {f"{path.parent.parent.name} {path.parent.name}" for path in out.glob("runs/*/*/ran")}


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets other processes import the made-up run."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


def test_every_cell_is_run_on_every_fold_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = studied(tmp_path / "study").records
    grid = cells(["digits"], ["vq"], [1])
    assert set(found.rows) == {(cell.name, fold) for cell in grid for fold in (0, 1)}
    assert Records.read(tmp_path / "study") == found
    assert len(found.curves["digits-vq-1-two-grid", 1]) == 3
    assert ("digits-vq-1-baseline", 0) not in found.masks
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 30
    assert said[0].startswith("1/30 digits-vq-1-baseline fold 0: mse 0.0030")
    assert "left" in said[-2]
    assert "left" not in said[-1]


def test_what_is_recorded_is_skipped_even_without_its_run_folders(tmp_path: Path) -> None:
    out = tmp_path / "study"
    studied(out, only="*two-grid")
    shutil.rmtree(out / "runs")
    before = (out / "runs.csv").read_bytes()
    studied(out, only="*two-grid")
    assert not (out / "runs").exists()
    assert (out / "runs.csv").read_bytes() == before
    studied(out, only="*two-*", folds=3)
    whole = ran(out)
    assert "digits-vq-1-two-grid fold-2" in whole
    assert "digits-vq-1-two-grid fold-1" not in whole
    assert len(whole) == 4 * 3 - 2


def test_a_result_that_was_left_by_a_killed_study_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "study"
    cell = Cell("digits", "vq", 1, Method("two", "grid"))
    studied(out, only="*baseline")
    left = job(cell, out, 1).folder
    left.mkdir(parents=True)
    (left / "result.json").write_text(json.dumps(fake_result(cell, 1)))
    (left / "state.safetensors").write_text("large")
    (left / "weights.safetensors").write_text("small")
    found = studied(out, only="*two-grid").records
    assert "digits-vq-1-two-grid fold-1" not in ran(out)
    assert found.rows[cell.name, 1]["mse"] == fake_result(cell, 1)["row"]["mse"]
    assert [path.name for path in sorted(left.iterdir())] == ["result.json", "weights.safetensors"]


@pytest.mark.parametrize(("keep", "left"), [("all", ["state", "weights"]), ("weights", ["weights"]), ("none", [])])
def test_what_stays_of_a_run(keep: Any, left: list[str], tmp_path: Path) -> None:
    cell = Cell("digits", "vq", 1)
    folder = job(cell, tmp_path, 0).folder
    studied(tmp_path, only="*two-grid", folds="0,")
    folder.mkdir(parents=True)
    (folder / "state.safetensors").write_text("")
    (folder / "weights.safetensors").write_text("")
    multitask(plan(only="*baseline", folds="0,"), tmp_path, device="cpu", keep=keep, runner=FAKE)
    assert sorted(path.stem for path in folder.glob("*.safetensors")) == left


def test_two_studies_in_one_folder_keep_each_others_runs(tmp_path: Path) -> None:
    one = studied(tmp_path, only="*baseline")
    studied(tmp_path, only="*two-grid")
    again = multitask(plan(only="*baseline", folds=3), tmp_path, device="cpu", runner=FAKE)
    assert len(again.records.rows) == 5
    assert set(one.records.rows) < set(Records.read(tmp_path).rows)


def test_several_workers_come_to_the_same_tables(tmp_path: Path, workers: None) -> None:
    studied(tmp_path / "one", only="*two-*")
    studied(tmp_path / "two", only="*two-*", workers=2)
    for name in ("runs.csv", "curves.csv", "masks.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    processes = {path.read_text() for path in (tmp_path / "two").glob("runs/*/*/ran")}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes


def test_a_run_that_fails_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_FAILS", "digits-vq-1-two-grid")
    with pytest.warns(UserWarning, match="two-grid, fold 0: the loss is not finite"):
        found = studied(tmp_path, only="*two-*", folds="0,")
    assert set(found.failed) == {("digits-vq-1-two-grid", 0)}
    assert len(found.records.rows) == 3
    monkeypatch.delenv("STUDY_FAILS")
    assert len(studied(tmp_path, only="*two-*", folds="0,").records.rows) == 4


def test_what_is_wrong_with_all_runs_ends_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: None
) -> None:
    monkeypatch.setenv("STUDY_BREAKS", "digits-vq-1-baseline")
    with pytest.raises(ValueError, match="no such data"):
        studied(tmp_path / "here")
    with pytest.raises(StudyError, match=r"digits-vq-1-baseline, fold \d: no such data \(ValueError\)"):
        studied(tmp_path / "beside", workers=2)
    monkeypatch.setenv("STUDY_ENDS", "digits-vq-1-two-grid")
    with pytest.raises(RuntimeError, match=r"the process of digits-vq-1-two-grid, fold \d, ended with status 3"):
        studied(tmp_path / "ended", workers=2, only="*two-*")


def test_an_interrupted_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_INTERRUPTS", "digits-vq-1-two-uniform")
    with pytest.raises(KeyboardInterrupt):
        studied(tmp_path, folds="0,", only="*two-*")
    assert set(Records.read(tmp_path).rows) == {("digits-vq-1-two-grid", 0), ("digits-vq-1-two-grid-softadapt", 0)}
    monkeypatch.delenv("STUDY_INTERRUPTS")
    assert len(studied(tmp_path, folds="0,", only="*two-*").records.rows) == 4


def test_workers_end_with_the_process_that_started_them(tmp_path: Path, workers: None) -> None:
    code = (
        "from pathlib import Path; from polyvae.study import *;"
        f"multitask(Plan(['digits'], ['vq'], [1]), Path({str(tmp_path)!r}), workers=2, runner={FAKE!r})"
    )
    environment = {**os.environ, "STUDY_SECONDS": "600"}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while len(ran(tmp_path)) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    processes = [int(path.read_text()) for path in tmp_path.glob("runs/*/*/ran")]
    assert len(processes) == 2
    parent.kill()
    parent.wait()
    while any(alive(process) for process in processes) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(process) for process in processes)


def test_a_run_that_another_process_holds_is_waited_for(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from polyvae.data.files.writing import held\n"
        f"with held(Path({str(tmp_path)!r}) / 'lock'): print('held', flush=True); time.sleep(1)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    began = time.monotonic()
    with held(tmp_path / "lock"):
        waited = time.monotonic() - began
    assert waited > 0.5
    assert other.wait() == 0
    other.stdout.close()


def test_a_job_goes_to_other_processes() -> None:
    plain = job(Cell("digits", "vq", 2, Method("one", "uniform", exponent=20)), Path("study"), 3)
    for each in (plain, replace(plain, data_dir=Path("data"), protocol=Protocol())):
        assert pickle.loads(pickle.dumps(each)) == each


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 4}, "epochs: 3 then, 4 now"),
        ({"limit": None}, "limit: 200 then, None now"),
        ({"widths": None}, r"widths: \[4, 8\] then, None now"),
        ({"precision": "bf16"}, "precision: fp32 then, bf16 now"),
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"decoder": "multiscale"}, "decoder: flat then, multiscale now"),
    ],
)
def test_a_folder_of_a_study_with_other_settings_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    studied(tmp_path, only="*baseline")
    with pytest.raises(StudyError, match=f"{said}.*choose another --out"):
        studied(tmp_path, only="*baseline", protocol=replace(SMALL, **change))


def test_folders_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds other files"):
        studied(tmp_path)
    broken = tmp_path / "broken"
    studied(broken, only="*baseline")
    (broken / "runs.csv").write_text("cell\nx\n")
    with pytest.raises(StudyError, match=r"runs.csv is not a table of this study \(it has no column fold\)"):
        studied(broken, only="*baseline")
    (broken / "study.json").write_text("{")
    with pytest.raises(StudyError, match="does not describe a study"):
        studied(broken, only="*baseline")


def test_a_plan_without_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        studied(tmp_path, data=["digts"])
    with pytest.raises(ValueError, match="no cell matches"):
        studied(tmp_path, only="nothing")
    with pytest.raises(ValueError, match="folds"):
        studied(tmp_path, folds="7")
    with pytest.raises(ValueError, match="workers counts runs at once"):
        studied(tmp_path, workers=0)
    assert not list(tmp_path.iterdir())


def test_a_terminal_shows_a_bar_over_all_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studied(tmp_path, folds="0,", only="*two-*", progress=True)
    said = capsys.readouterr().err
    assert "4/4 runs" in said
    assert "12/12 epochs" in said.replace("\n", " ")


def test_the_bar_moves_with_what_runs_write(tmp_path: Path) -> None:
    from rich.console import Console

    jobs = [job(cell, tmp_path, epochs=10) for cell in cells(["digits"], ["vq"], [1])[:2]]
    with open(os.devnull, "w") as nowhere:
        bar = Bar(jobs, 1, Console(file=nowhere))
        jobs[0].folder.mkdir(parents=True)
        (jobs[0].folder / "metrics.csv").write_text("epoch,loss\n1,2\n2,2\n3,2\n")
        bar._look()
        end = time.monotonic() + 20
        while bar.progress.tasks[0].completed < 13 and time.monotonic() < end:
            time.sleep(0.05)
        assert bar.progress.tasks[0].completed == 13
        assert bar.progress.tasks[0].total == 30
        bar.close()


def test_durations_as_a_person_says_them() -> None:
    assert [duration(seconds) for seconds in (0.4, 89, 100, 5000, 20000)] == [
        "0 s",
        "89 s",
        "2 min",
        "83 min",
        "5 h 33 min",
    ]
