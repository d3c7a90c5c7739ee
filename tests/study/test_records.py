"""Tables of a study that grow by a run at a time: what kills leave, two writers at once, how much is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.study_runs import FAKE, ROOT, fake_result
from polyvae.study import Plan, Protocol, Records, cells, multitask
from polyvae.study import tables as recording
from polyvae.study.records import read_rows, write_rows
from polyvae.study.thesis.records import CURVE, MASK, ROW

TABLES = ("curves.csv", "masks.csv", "runs.csv")  # in the order in which a run is added to them
GRID = cells(["digits"], ["vq"], [1])
SMALL = Protocol(limit=200, epochs=3, widths=(4, 8))


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def test_trap55_a_kill_at_any_byte_loses_at_most_the_run_that_was_being_added(tmp_path: Path) -> None:
    """Every state that a kill can leave is a beginning of what was written; from each the study goes on to the same."""
    records, (one, two, three) = Records(), GRID[1:4]
    for cell in (one, two):
        records.add(fake_result(cell, 0))
    records.write(tmp_path)
    before = tables(tmp_path)
    key = records.add(fake_result(three, 0))
    records.append(tmp_path, key)
    after = tables(tmp_path)
    assert all(after[name].startswith(before[name]) and len(after[name]) > len(before[name]) for name in TABLES)
    whole = Records.read(tmp_path)
    assert whole == records
    for place, name in enumerate(TABLES):
        for end in {*range(len(before[name]), len(after[name]), 7), len(after[name]) - 1, len(after[name])}:
            left = {other: after[other] for other in TABLES[:place]} | {name: after[name][:end]}
            for other in TABLES:
                (tmp_path / other).write_bytes(left.get(other, before[other]))
            found = Records.read(tmp_path)
            done = {
                (each.name, 0)
                for each in ((one, two, three) if left.get("runs.csv") == after["runs.csv"] else (one, two))
            }
            assert set(found.rows) == set(found.curves) == set(found.masks) == done
            assert all(
                found.curves[each] == whole.curves[each] and found.masks[each] == whole.masks[each] for each in done
            )
            if end % 5 == 0:  # each takes three writes to the disk
                whole.append(tmp_path, key)
                assert Records.read(tmp_path) == whole


def test_a_killed_writer_beside_another_and_its_successor_come_to_the_tables_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(only: str) -> Plan:
        return Plan(["digits"], ["vq"], [1], folds=3, only=only, protocol=SMALL)

    code = (
        "import sys; from pathlib import Path; from polyvae.study import *\n"
        f"protocol = {SMALL!r}\n"
        "plan = Plan(['digits'], ['vq'], [1], folds=3, only=sys.argv[1], protocol=protocol)\n"
        f"multitask(plan, Path({str(tmp_path / 'two')!r}), device='cpu', runner={FAKE!r})"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "STUDY_SECONDS": "0.02"}
    writers = [
        subprocess.Popen([sys.executable, "-c", code, only], env=environment, stderr=subprocess.DEVNULL)
        for only in ("*one-*", "*baseline,*two-*")
    ]
    runs, end = tmp_path / "two" / "runs.csv", time.monotonic() + 120
    while (not runs.exists() or runs.read_bytes().count(b"-one-") < 4) and time.monotonic() < end:
        time.sleep(0.001)
    writers[0].kill()
    assert [writer.wait() for writer in writers] == [-9, 0]
    assert 4 <= sum("-one-" in cell for cell, _ in Records.read(tmp_path / "two").rows) < 30
    multitask(plan("*"), tmp_path / "two", device="cpu", runner=FAKE)
    multitask(plan("*"), tmp_path / "one", device="cpu", runner=FAKE)
    assert tables(tmp_path / "two") == tables(tmp_path / "one")


def test_a_run_is_added_without_writing_the_others_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written grows with the runs, not with their square: whole tables at the start and the end alone."""
    whole: list[str] = []
    plain = recording.write_rows

    def noticed(path: Path, *arguments: Any) -> None:
        whole.append(path.name)
        plain(path, *arguments)

    monkeypatch.setattr(recording, "write_rows", noticed)
    multitask(Plan(["digits"], ["vq"], [1], folds=2, protocol=SMALL), tmp_path, device="cpu", runner=FAKE)
    assert sorted(whole) == sorted(2 * TABLES)


def test_tables_of_an_earlier_version_are_gone_on_with(tmp_path: Path) -> None:
    """Their columns are those of then: a row of today's must not come under them."""
    plan = Plan(["digits"], ["vq"], [1], folds=1, only="*two-grid", protocol=SMALL)
    multitask(plan, tmp_path, device="cpu", runner=FAKE)
    text = (tmp_path / "masks.csv").read_text()
    (tmp_path / "masks.csv").write_text("\n".join(line.rpartition(",")[0] for line in text.splitlines()) + "\n")
    more = Plan(["digits"], ["vq"], [1], folds=1, only="*two-uniform", protocol=SMALL)
    multitask(more, tmp_path, device="cpu", runner=FAKE)
    found = Records.read(tmp_path).masks
    assert {line["without"] for line in found["digits-vq-1-two-grid", 0]} == {None}
    assert None not in {line["without"] for line in found["digits-vq-1-two-uniform", 0]}


def test_the_picture_of_a_cell_is_that_of_its_first_fold(tmp_path: Path) -> None:
    """Also where another process has recorded folds that this one has not read."""
    from polyvae.study.thesis.study import kept, picture

    study = kept(tmp_path, keep="all")

    def recorded(records: Records, fold: int) -> bytes:
        job = next(
            job for job in Plan(["digits"], ["vq"], [1], folds=3, only="*two-grid").jobs(tmp_path) if job.fold == fold
        )
        study.record(records, job, {**fake_result(job.cell, fold), "picture": "AAA" + "ABC"[fold]})
        return picture(tmp_path, job.cell.name).read_bytes()

    mine, other = study.settled(), study.settled()
    second = recorded(mine, 1)
    assert recorded(mine, 2) == second
    first = recorded(other, 0)
    assert first != second
    shutil.rmtree(tmp_path / "pictures")
    assert recorded(study.settled(), 0) == first
    assert recorded(Records(), 2) == first


VALUES = {
    str: st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1),
    int: st.none() | st.integers(-(2**60), 2**60),
    float: st.none() | st.floats(allow_nan=False),
}


@given(
    st.sampled_from([ROW, CURVE, MASK]).flatmap(lambda c: st.fixed_dictionaries({n: VALUES[k] for n, k in c.items()}))
)
def test_rows_come_back_from_csv_as_they_were(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    columns = next(each for each in (ROW, CURVE, MASK) if set(each) == set(row))
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    write_rows(path, columns, [row, row])
    assert read_rows(path, columns) == [row, row]


def test_rows_of_an_earlier_version_are_read_with_empty_columns(tmp_path: Path) -> None:
    (tmp_path / "masks.csv").write_text("cell,fold,count,mse\nx,0,10,0.5\n")
    assert read_rows(tmp_path / "masks.csv", MASK) == [
        {"cell": "x", "fold": 0, "count": 10, "mse": 0.5, "without": None}
    ]
